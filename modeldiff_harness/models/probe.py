"""What the models do with a few sentences: finite, padded alike, moved by adapters, different."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from modeldiff_harness.artifacts import ComparabilityCheck
from modeldiff_harness.models.blocks import capture, parse_site
from modeldiff_harness.models.loading import ModelPool

__all__ = ["LEAST_DIFFERENCE_ENERGY", "PROBES", "Status", "answered", "probe"]

LEAST_DIFFERENCE_ENERGY = 1e-6
"""Relative difference energy ‖x^c − x^b‖²/‖x^b‖² at or below which models are identical there."""

PROBES = (
    "The harbour was quiet that morning, and only two boats had come in before the rain.",
    "Write a short list of three things to pack for a day in the mountains. 1. Water 2.",
    "def area(radius): return 3.14159 * radius ** 2  # square metres",
    "Pouvez-vous m'expliquer pourquoi le ciel est bleu ? Bien sûr : la lumière",
    "I cannot help with that request, because it could hurt somebody. As an AI model, I",
)
"""Sentences that every model is run on."""

Status = Literal["ok", "warning", "latents_refused", "refused", "skipped"]

_MOST_PADDING_ENERGY = {"float32": 1e-6}
_MOST_ROUNDED_PADDING_ENERGY = 1e-2
"""Relative energy by which padding on the left may move the next token's logits: roundings."""


def answered(check: str, status: Status, detail: str) -> ComparabilityCheck:
    """Return the answer to one question."""
    return ComparabilityCheck(check, status, detail)


def probe(
    pool: ModelPool, names: Sequence[str], sites: Sequence[str], allow_identical: bool
) -> list[ComparabilityCheck]:
    """Run every model once on the probe sentences; at most one base is in memory at a time.

    `names` are baseline, candidate and, if there is one, base.  Energies are written so that NaN
    refuses.
    """
    checks: list[ComparabilityCheck] = []
    streams: dict[str, list[Tensor]] = {}
    heads: list[str] = []
    padded: list[str] = []
    for name in names:
        model, tokenizer = pool.activate(name)
        most = pool.identity(name).n_positions
        ids = [tokenizer(text)["input_ids"][:most] for text in PROBES]
        rows = [torch.tensor(row, device=pool.device)[None] for row in ids]
        heads += _untied(name, model)
        found = _logits(model, rows)
        if not torch.isfinite(found).all():
            checks.append(
                answered(
                    "finite_logits",
                    "refused",
                    f"{name} does not give finite logits in {pool.dtype}: try --dtype float32 or "
                    "bfloat16, or the checkpoint is broken",
                )
            )
            continue
        padded += _padding(name, model, ids, tokenizer.padding_side, pool.dtype)
        blocks = [parse_site(site, pool.identity(name).n_blocks) for site in sites]
        if blocks:
            streams[name] = _streams(model, rows, blocks)
        if pool.ref(name).adapter is not None:
            with pool.without_adapter(name) as plain:
                moved = relative_energy(found, _logits(plain, rows))
            checks.append(adapter_check(name, moved))
    if not any(c.check == "finite_logits" for c in checks):
        checks.append(answered("finite_logits", "ok", "every model gives finite logits"))
    checks.append(
        answered("padding", "warning", "; ".join(padded))
        if padded
        else answered("padding", "ok", "prompts beside others in a batch are answered alike")
    )
    checks.append(
        answered("tied_head", "warning", "; ".join(heads))
        if heads
        else answered("tied_head", "ok", "heads are tied as the configurations say")
    )
    pairs = [(names[0], names[1])] if len(names) > 1 else []
    pairs += [(names[2], name) for name in names[:2]] if len(names) > 2 else []
    for i, site in enumerate(sites):
        for one, other in pairs:
            if one in streams and other in streams:
                energy = relative_energy(streams[other][i], streams[one][i])
                checks.append(site_check(site, one, other, energy, allow_identical))
    return checks


def adapter_check(name: str, moved: float) -> ComparabilityCheck:
    """Say whether an adapter moves the logits; `moved` is the relative energy of the change."""
    if math.isfinite(moved) and moved > 0:
        return answered(
            "adapter_applied", "ok", f"{name}: the adapter moves the logits by {moved:.2g} (energy)"
        )
    if not math.isfinite(moved):
        detail = f"what the adapter of {name} does to the logits is not a finite number"
    else:
        detail = f"the adapter of {name} changes nothing: its weights are zero or were not applied"
    return answered("adapter_applied", "refused", detail)


def site_check(
    site: str, one: str, other: str, energy: float, allow_identical: bool
) -> ComparabilityCheck:
    """Say whether two models differ at `site`, by the relative energy of their difference."""
    name = f"differs_at_site[{site},{one},{other}]"
    if not math.isfinite(energy):
        return answered(
            name, "latents_refused", f"{one} or {other} is not finite at {site}: try another dtype"
        )
    if energy > LEAST_DIFFERENCE_ENERGY:
        return answered(name, "ok", f"{one} and {other} differ by {energy:.2%} of energy at {site}")
    detail = f"{one} and {other} are identical at {site}"
    if allow_identical:
        return answered(name, "warning", detail)
    return answered(
        name,
        "latents_refused",
        f"{detail}: does the adapter touch only later blocks? Choose a later site",
    )


def _untied(name: str, model: Any) -> list[str]:
    """Say when head and embedding are two though the configuration ties them, or one though not."""
    head = getattr(model.get_output_embeddings(), "weight", None)
    embedding = getattr(model.get_input_embeddings(), "weight", None)
    told = bool(getattr(model.config.get_text_config(), "tie_word_embeddings", False))
    if head is None or embedding is None or told == (head is embedding):
        return []
    if told:
        return [
            f"the configuration of {name} ties head and embedding, its files hold two: "
            "both are used as they are"
        ]
    return [f"{name} runs with one weight for head and embedding, its configuration names two"]


def _padding(name: str, model: Any, ids: Sequence[list[int]], side: str, dtype: str) -> list[str]:
    """Compare the next token's logits of a short prompt alone and beside a longer one."""
    short, long = min(ids, key=len), max(ids, key=len)
    alone = _next_logits(model, [short])
    beside = _next_logits(model, [short, long])[:1]
    gap = relative_energy(beside, alone)
    most = _MOST_PADDING_ENERGY.get(dtype, _MOST_ROUNDED_PADDING_ENERGY)
    if side == "left" and gap <= most:
        return []
    why = f"by {gap:.2g} (energy)" if side == "left" else f"its tokenizer pads on the {side}"
    return [
        f"the answers of {name} depend on the prompts beside them in a batch, {why}: run with "
        "--batch_size 1"
    ]


@torch.inference_mode()
def _next_logits(model: Any, ids: Sequence[list[int]]) -> Tensor:
    width = max(map(len, ids))
    device = model.device
    ids_BT = torch.tensor([[0] * (width - len(row)) + row for row in ids], device=device)
    mask_BT = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids])
    given = {"attention_mask": mask_BT.to(device)}
    if "position_ids" in inspect.signature(model.forward).parameters:  # as generate() counts them
        given["position_ids"] = (mask_BT.cumsum(1) - 1).clamp_min(0).to(device)
    logits_BTV: Tensor = model(ids_BT, use_cache=False, **given).logits
    return logits_BTV[:, -1].double().cpu()


def _streams(model: Any, rows: Sequence[Tensor], blocks: Sequence[int]) -> list[Tensor]:
    found = [capture(model, row, blocks) for row in rows]
    return [torch.cat([f[block][0, 1:].double().cpu() for f in found]) for block in blocks]


@torch.inference_mode()
def _logits(model: Any, rows: Sequence[Tensor]) -> Tensor:
    return torch.cat([model(row, use_cache=False).logits[0].double().cpu() for row in rows])


def relative_energy(x: Tensor, reference: Tensor) -> float:
    """Return ‖x − reference‖² / ‖reference‖²; NaN when either is not finite."""
    return float((x - reference).square().sum() / reference.square().sum().clamp_min(1e-30))
