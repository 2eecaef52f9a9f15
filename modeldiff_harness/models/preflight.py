"""Can these models be compared?  Asked before any long work, answered check by check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from modeldiff_harness.artifacts import Comparability, ComparabilityCheck
from modeldiff_harness.models.blocks import capture, parse_site
from modeldiff_harness.models.loading import ModelPool
from modeldiff_harness.models.templates import ChatTemplate

__all__ = ["LEAST_DIFFERENCE_ENERGY", "preflight"]

LEAST_DIFFERENCE_ENERGY = 1e-6
"""Relative difference energy ‖x^c − x^b‖²/‖x^b‖² at or below which models are identical there."""

_PROBES = (
    "The harbour was quiet that morning, and only two boats had come in before the rain.",
    "Write a short list of three things to pack for a day in the mountains. 1. Water 2.",
    "def area(radius): return 3.14159 * radius ** 2  # square metres",
    "Pouvez-vous m'expliquer pourquoi le ciel est bleu ? Bien sûr : la lumière",
    "I cannot help with that request, because it could hurt somebody. As an AI model, I",
)

_Status = Literal["ok", "warning", "latents_refused", "refused", "skipped"]


def preflight(
    pool: ModelPool,
    baseline: str,
    candidate: str,
    base: str | None,
    sites: Sequence[str],
    *,
    template: ChatTemplate | None = None,
    template_named: bool = False,
    allow_identical: bool = False,
) -> Comparability:
    """Return what speaks against comparing the models, running each on a few sentences.

    `template` is the run's chat template; `template_named` says the caller chose it.  With an empty
    `sites` nothing is asked of the latent arm.  `allow_identical` lets a model be compared with
    itself, which tests the plumbing only.

    Raises UsageError for a site that comparable models do not have, and what opening them raises.
    """
    names = tuple(dict.fromkeys(n for n in (baseline, candidate, base) if n is not None))
    checks = [
        _same_model(pool, baseline, candidate, allow_identical),
        _tokenizers(pool, names),
        _template(pool, baseline, candidate, template, template_named),
        _double_bos(pool, baseline, template),
        ComparabilityCheck("dtype", "ok", f"all models run in {pool.dtype}"),
        _widths(pool, names),
    ]
    refused = {c.check for c in checks if c.status == "latents_refused"}
    shared_sites = () if refused & {"tokenizer", "width"} else tuple(sites)
    for site in shared_sites:
        parse_site(site, pool.identity(baseline).n_blocks, baseline)
    if shared_sites or any(pool.ref(name).adapter is not None for name in names):
        checks += _probe(pool, names, shared_sites, allow_identical)
    return Comparability(tuple(checks))


def _same_model(
    pool: ModelPool, baseline: str, candidate: str, allow_identical: bool
) -> ComparabilityCheck:
    if pool.identity(baseline).digest() != pool.identity(candidate).digest():
        return _check("identical_pair", "ok", "the two models differ")
    detail = f"{baseline} and {candidate} are one and the same model"
    if allow_identical:
        return _check("identical_pair", "warning", f"{detail}: this tests the plumbing only")
    return _check("identical_pair", "latents_refused", f"{detail}: there is nothing to diff")


def _tokenizers(pool: ModelPool, names: Sequence[str]) -> ComparabilityCheck:
    first = names[0]
    for name in names[1:]:
        if pool.identity(name).tokenizer_digest == pool.identity(first).tokenizer_digest:
            continue
        one, other = pool.tokenizer(first), pool.tokenizer(name)
        vocabularies_equal = one.get_vocab() == other.get_vocab()
        ids_equal = all(one(t)["input_ids"] == other(t)["input_ids"] for t in _PROBES)
        if not (vocabularies_equal and ids_equal):
            return _check(
                "tokenizer",
                "latents_refused",
                f"{first} and {name} have different tokenizers: the same token ids cannot be "
                "given to both",
            )
        return _check(
            "tokenizer",
            "latents_refused",
            f"{first} and {name} have the same vocabulary but different tokenizer settings: save "
            "one tokenizer beside both checkpoints",
        )
    return _check("tokenizer", "ok", "one tokenizer")


def _template(
    pool: ModelPool,
    baseline: str,
    candidate: str,
    template: ChatTemplate | None,
    template_named: bool,
) -> ComparabilityCheck:
    digests = {pool.identity(name).chat_template_digest for name in (baseline, candidate)}
    if template is None:
        status: _Status = "warning" if digests == {None} else "refused"
        detail = (
            "neither model has a chat template: chats cannot be rendered"
            if digests == {None}
            else f"{baseline} and {candidate} have different chat templates and none was named"
        )
        return _check("chat_template", status, detail)
    if digests == {template.digest}:
        return _check("chat_template", "ok", "one chat template")
    if template_named:
        return _check(
            "chat_template", "warning", f"the template of {template.origin} is used for all models"
        )
    return _check(
        "chat_template",
        "warning",
        f"only {template.origin} has a chat template; it is used for both models",
    )


def _double_bos(
    pool: ModelPool, baseline: str, template: ChatTemplate | None
) -> ComparabilityCheck:
    tokenizer = pool.tokenizer(baseline)
    if template is None or tokenizer.bos_token_id is None:
        return _check("double_bos", "skipped", "no chat template or no BOS token")
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}], chat_template=template.text, tokenize=False
    )
    ids = tokenizer(rendered)["input_ids"][:2]
    if ids == [tokenizer.bos_token_id] * 2:
        return _check(
            "double_bos",
            "warning",
            "template and tokenizer both write BOS: rendered chats are read without special tokens",
        )
    return _check("double_bos", "ok", "chats start with at most one BOS")


def _widths(pool: ModelPool, names: Sequence[str]) -> ComparabilityCheck:
    shapes = {name: (pool.identity(name).width, pool.identity(name).n_blocks) for name in names}
    if len(set(shapes.values())) == 1:
        width, n_blocks = shapes[names[0]]
        return _check("width", "ok", f"{n_blocks} blocks of width {width}")
    told = ", ".join(f"{name} {blocks} × {width}" for name, (width, blocks) in shapes.items())
    return _check("width", "latents_refused", f"residual streams differ in shape: {told}")


def _probe(
    pool: ModelPool, names: Sequence[str], sites: Sequence[str], allow_identical: bool
) -> list[ComparabilityCheck]:
    """Run every model once on the probe sentences; at most one base is in memory at a time."""
    checks: list[ComparabilityCheck] = []
    streams: dict[str, list[Tensor]] = {}
    for name in names:
        model, tokenizer = pool.activate(name)
        rows = [torch.tensor(tokenizer(t)["input_ids"], device=pool.device)[None] for t in _PROBES]
        blocks = [parse_site(site, pool.identity(name).n_blocks) for site in sites]
        if blocks:
            streams[name] = _streams(model, rows, blocks)
        if pool.ref(name).adapter is not None:
            with_adapter = _logits(model, rows)
            with pool.without_adapter(name) as plain:
                moved = _relative_energy(with_adapter, _logits(plain, rows))
            checks.append(_adapter_check(name, moved))
    pairs = [(names[0], names[1])] if len(names) > 1 else []
    pairs += [(names[2], name) for name in names[:2]] if len(names) > 2 else []
    for i, site in enumerate(sites):
        for one, other in pairs:
            energy = _relative_energy(streams[other][i], streams[one][i])
            checks.append(_site_check(site, one, other, energy, allow_identical))
    return checks


def _adapter_check(name: str, moved: float) -> ComparabilityCheck:
    if moved > 0:
        return _check(
            "adapter_applied", "ok", f"{name}: the adapter moves the logits by {moved:.2g} (energy)"
        )
    return _check(
        "adapter_applied",
        "refused",
        f"the adapter of {name} changes nothing: its weights are zero or were not applied",
    )


def _site_check(
    site: str, one: str, other: str, energy: float, allow_identical: bool
) -> ComparabilityCheck:
    name = f"differs_at_site[{site},{one},{other}]"
    if energy > LEAST_DIFFERENCE_ENERGY:
        return _check(name, "ok", f"{one} and {other} differ by {energy:.2%} of energy at {site}")
    detail = f"{one} and {other} are identical at {site}"
    if allow_identical:
        return _check(name, "warning", detail)
    return _check(
        name,
        "latents_refused",
        f"{detail}: does the adapter touch only later blocks? Choose a later site",
    )


def _streams(model: Any, rows: Sequence[Tensor], blocks: Sequence[int]) -> list[Tensor]:
    found = [capture(model, row, blocks) for row in rows]
    return [torch.cat([f[block][0, 1:].double().cpu() for f in found]) for block in blocks]


@torch.inference_mode()
def _logits(model: Any, rows: Sequence[Tensor]) -> Tensor:
    return torch.cat([model(row, use_cache=False).logits[0].double().cpu() for row in rows])


def _relative_energy(x: Tensor, reference: Tensor) -> float:
    return float((x - reference).square().sum() / reference.square().sum().clamp_min(1e-30))


def _check(check: str, status: _Status, detail: str) -> ComparabilityCheck:
    return ComparabilityCheck(check, status, detail)
