"""What the latent arm needs of disk and memory, with cached activations and with a live stream."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from modeldiff_harness.artifacts import TokenisedCorpus
from modeldiff_harness.errors import MdhError, RunError
from modeldiff_harness.pipeline.context import RunContext
from modeldiff_harness.store import existing_folder

__all__ = ["LatentCost", "cost_lines", "refuse_full_disk"]

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_TRAINER_COPIES = 4
"""Weights, Adam's two moments and at most one copy of gradients, float32: all gradients with the
plain torch kernels, those of the auxiliary term with the others."""
_STREAM_HINT = "Free disk space, set MDH_STORE to another disk, or use --activations stream."


@dataclass(frozen=True)
class LatentCost:
    """Sizes in bytes; memory is that of the device the run uses."""

    n_harvests: int
    disk_a_harvest: int
    """Cached activations of one model at all sites, at most."""
    buffer: int
    """The mixing buffer of one dictionary at its fullest."""
    trainer: int
    """One dictionary: weights, gradients, Adam."""
    batch: int
    """One step's encoder product, at most: backends compute it a chunk at a time."""
    models: int
    """Weights that are loaded together in stream mode, without the blocks after the site."""
    one_model: int
    """The largest single model, whole: what a cached harvest loads."""

    @property
    def disk_cached(self) -> int:
        """Disk of all cached activations."""
        return self.n_harvests * self.disk_a_harvest

    @property
    def memory_cached(self) -> int:
        """Peak memory of the cached way: harvesting and training do not overlap."""
        return max(self.one_model, self.trainer + self.batch)

    @property
    def memory_stream(self) -> int:
        """Peak memory of the live way: everything at once."""
        return self.buffer + self.models + self.trainer + self.batch


def latent_cost(
    context: RunContext,
    sites: Sequence[str],
    dictionaries: Sequence[Sequence[str]],
    n_nulls: int,
) -> LatentCost:
    """Return the cost of the configured corpus and learner; `dictionaries` list their models.

    Numbers of tokens are the configured limits: the real ones are known when the corpus is.
    """
    config = context.config.latents
    names = list(dict.fromkeys(n for d in ((*context.config.pair,), *dictionaries) for n in d))
    widths = {n: context.harvested_identity(n).width for n in names}
    sizes = {n: _model_bytes(context, n, sites) for n in names}
    together = max((_loaded_together(context, models, sizes) for models in dictionaries), default=0)
    width = max(sum(widths[n] for n in models) for models in dictionaries)
    learner = _learner_config(context)
    n_latents, batch = int(learner.get("n_latents", 0)), int(learner.get("batch_tokens", 0))
    return LatentCost(
        n_harvests=len(names) + n_nulls,
        disk_a_harvest=config.max_tokens
        * max(widths.values())
        * len(sites)
        * _BYTES.get(config.stored_dtype, 4),
        buffer=min(config.buffer_tokens, config.max_tokens)
        * width
        * _BYTES.get(config.buffer_dtype, 4),
        trainer=2 * n_latents * width * 4 * _TRAINER_COPIES,
        batch=n_latents * batch * 4,
        models=together,
        one_model=max(whole for whole, _ in sizes.values()),
    )


def cost_lines(
    context: RunContext,
    sites: Sequence[str],
    dictionaries: Sequence[Sequence[str]],
    n_nulls: int,
) -> list[str]:
    """Return what `--plan` prints of the arm: both ways, which one is configured, what is short."""
    cost = latent_cost(context, sites, dictionaries, n_nulls)
    mode = context.config.latents.activations
    disk = shutil.disk_usage(existing_folder(context.store.root)).free
    memory, where = _available_memory(context.device)
    lines = [
        f"activations cached{_mark(mode, 'cached')}: at most {_gib(cost.disk_cached)} of disk "
        f"({cost.n_harvests} harvests of {_gib(cost.disk_a_harvest)}), memory "
        f"{_gib(cost.memory_cached)}",
        f"activations stream{_mark(mode, 'stream')}: no disk, memory {_gib(cost.memory_stream)} "
        f"(buffer {_gib(cost.buffer)}, models up to the site {_gib(cost.models)}, dictionary with "
        f"Adam {_gib(cost.trainer)}, one batch of codes {_gib(cost.batch)})",
    ]
    half = context.harvest_dtype != "float32"
    lines.append(
        f"forward passes: {context.harvest_dtype}"
        + (", which moves single tokens by up to 25 %; latents.dtype float32 is exact" * half)
    )
    if mode == "cached" and cost.disk_cached > disk:
        lines.append(
            f"warning: {_gib(cost.disk_cached)} of activations may not fit on a disk with "
            f"{_gib(disk)} free. {_STREAM_HINT}"
        )
    needed = cost.memory_stream if mode == "stream" else cost.memory_cached
    if needed > memory:
        lines.append(
            f"warning: {_gib(needed)} may not fit into {_gib(memory)} of {where} memory. "
            f"{_memory_hint(cost, mode)}"
        )
    return lines


def refuse_full_disk(
    context: RunContext,
    corpus: TokenisedCorpus,
    n_missing: int,
    sites: Sequence[str],
) -> None:
    """Raise RunError, before the first harvest, when the missing ones cannot fit on the disk."""
    width = context.harvested_identity(context.baseline).width
    item = _BYTES.get(context.config.latents.stored_dtype, 4)
    needed = n_missing * int(corpus.keep_T.sum()) * width * len(sites) * item
    free = shutil.disk_usage(existing_folder(context.store.root)).free
    if needed > free:
        raise RunError(
            f"{n_missing} harvests need {_gib(needed)} of disk and {_gib(free)} are free.",
            hint=_STREAM_HINT,
        )


def _memory_hint(cost: LatentCost, mode: str) -> str:
    if mode == "stream" and cost.buffer > 0.2 * cost.memory_stream:
        return "Lower --buffer_tokens, set latents.buffer_dtype bfloat16, or n_latents lower."
    if mode == "stream":
        return "Give n_latents lower, or use --activations cached: it loads one model at a time."
    return "Give n_latents lower, or use a larger device."


def _learner_config(context: RunContext) -> dict[str, Any]:
    config = context.config.latents
    chosen = context.choice("dictionary_learner", config.learner, config.learner_config)
    return dict(chosen.config)


def _model_bytes(context: RunContext, name: str, sites: Sequence[str]) -> tuple[int, int]:
    """Return (whole, up to the last site) weights of a model; estimated where it is unknown."""
    from modeldiff_harness.models.blocks import parse_site

    identity = context.harvested_identity(name)
    last = max(parse_site(site, identity.n_blocks, name) for site in sites)
    item = _BYTES.get(context.harvest_dtype, 4)
    try:
        whole, up_to_site = context.models.n_parameters(name, last)
    except (MdhError, ValueError, OSError, KeyError, AttributeError, RuntimeError):
        # an architecture that does not build without weights: 12 D² a block, and the embedding
        embedding, block = identity.vocab_size * identity.width, 12 * identity.width**2
        return (
            (embedding + identity.n_blocks * block) * item,
            (embedding + (last + 1) * block) * item,
        )
    return whole * item, up_to_site * item


def _loaded_together(
    context: RunContext, models: Sequence[str], sizes: dict[str, tuple[int, int]]
) -> int:
    """Return the weights of the distinct bases of `models`; adapters are counted as nothing."""
    bases = {(context.refs[n].path, context.refs[n].revision): sizes[n][1] for n in models}
    return sum(bases.values())


def _available_memory(device: str) -> tuple[int, str]:
    if device.startswith("cuda"):
        import torch

        if torch.cuda.is_available():
            return int(torch.cuda.mem_get_info(device)[0]), device
    return int(psutil.virtual_memory().available), "main"


def _mark(mode: str, this: str) -> str:
    return " (chosen)" if mode == this else ""


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:,.2f} GiB"
