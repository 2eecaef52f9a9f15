"""The residual stream after a block: finding the blocks, and forward passes that stop early."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from modeldiff_harness.errors import RunError, UsageError

__all__ = ["capture", "find_blocks", "parse_site"]

_SITE = re.compile(r"resid_post\.(\d+)")


class _Stop(Exception):
    """Ends a forward pass after the last block that is needed."""


def parse_site(site: str, n_blocks: int, model: str = "the model") -> int:
    """Return the 0-based block of `resid_post.i`.

    Raises UsageError, naming the range, when the site is malformed or beyond the last block.
    """
    match = _SITE.fullmatch(site)
    if match is None:
        raise UsageError(
            f"site {site!r} is not of the form resid_post.i.",
            hint=f"{model} has resid_post.0 to resid_post.{n_blocks - 1}.",
        )
    block = int(match.group(1))
    if block >= n_blocks:
        raise UsageError(
            f"site {site!r} does not exist.",
            hint=f"{model} has resid_post.0 to resid_post.{n_blocks - 1}.",
        )
    return block


def find_blocks(model: nn.Module) -> nn.ModuleList:
    """Return the list of the language model's transformer blocks.

    It is the outermost ModuleList that has as many entries as the text configuration has layers;
    that holds for Llama, Gemma, Qwen, Mistral, GPT-2, GPT-NeoX and, inside the decoder, for
    multimodal models.  Raises RunError when there is none.
    """
    config: Any = getattr(model, "config", None)
    text_config = config.get_text_config() if config is not None else None
    n_blocks = getattr(text_config, "num_hidden_layers", None)
    roots: list[nn.Module] = []
    decoder = getattr(model, "get_decoder", lambda: None)()
    if isinstance(decoder, nn.Module):
        roots.append(decoder)
    roots.append(model)
    for root in roots:
        lists = [
            (name.count("."), module)
            for name, module in root.named_modules()
            if isinstance(module, nn.ModuleList) and len(module) == n_blocks
        ]
        if lists:
            return min(lists, key=lambda entry: entry[0])[1]
    raise RunError(
        f"the blocks of {type(model).__name__} were not found: this architecture is new."
    )


@contextmanager
def _recording(model: nn.Module, blocks: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """Record block outputs (B, T, D) and stop the forward pass after the last of `blocks`."""
    stack, last = find_blocks(model), max(blocks)
    recorded: dict[int, Tensor] = {}

    def hook_of(block: int) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            recorded[block] = output[0] if isinstance(output, tuple) else output
            if block == last:
                raise _Stop

        return hook

    handles = [stack[block].register_forward_hook(hook_of(block)) for block in sorted(set(blocks))]
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


@torch.inference_mode()
def capture(
    model: nn.Module,
    input_ids_BT: Tensor,
    blocks: Sequence[int],
    *,
    position_ids_BT: Tensor | None = None,
    attention_mask: Tensor | Mapping[str, Tensor] | None = None,
) -> dict[int, Tensor]:
    """Return the residual stream after each of `blocks` as (B, T, D) tensors.

    The pass stops at the last block asked for.  What the last block of the model gives is its
    residual stream too, before the final norm that transformers' hidden states include.  Positions
    and masks are for packed rows: see `models/packing.py`.
    """
    given: dict[str, Any] = {"input_ids": input_ids_BT, "use_cache": False}
    if position_ids_BT is not None:
        given["position_ids"] = position_ids_BT
    if attention_mask is not None:
        given["attention_mask"] = attention_mask
    with _recording(model, blocks) as recorded:
        try:
            model(**given)
        except _Stop:
            return recorded
    raise RunError(f"{type(model).__name__} ran through without passing block {max(blocks)}.")
