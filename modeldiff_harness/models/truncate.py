"""Doing without the blocks after a site: what they weigh, and freeing them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from modeldiff_harness.models.blocks import find_blocks

__all__ = ["ModelSize", "drop_after", "size_of"]


@dataclass(frozen=True)
class ModelSize:
    """Parameters of a causal model, tied ones counted once."""

    n_parameters: int
    n_up_to_site: int
    """Without the blocks after the site and without an output head of its own."""


def drop_after(model: nn.Module, last_block: int) -> None:
    """Free the weights that a forward pass which stops after `last_block` never reads.

    The modules stay in place without data: the model can be captured up to `last_block`, and
    nothing else.
    """
    for module in _unread(model, last_block):
        module.to("meta")


def size_of(config: Any, last_block: int) -> ModelSize:
    """Count the parameters of the architecture of `config` (transformers) without any weights."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model: nn.Module = AutoModelForCausalLM.from_config(config)
    unread = {id(p) for module in _unread(model, last_block) for p in module.parameters()}
    sizes = {id(p): p.numel() for p in model.parameters()}
    total = sum(sizes.values())
    return ModelSize(total, total - sum(n for key, n in sizes.items() if key in unread))


def _unread(model: nn.Module, last_block: int) -> list[nn.Module]:
    found: list[nn.Module] = list(find_blocks(model)[last_block + 1 :])
    head: Any = getattr(model, "get_output_embeddings", lambda: None)()
    embedding: Any = getattr(model, "get_input_embeddings", lambda: None)()
    tied = getattr(head, "weight", None) is getattr(embedding, "weight", None)
    if isinstance(head, nn.Module) and not tied:
        found.append(head)
    return found
