"""Logits of a few last tokens of many rows, of which several begin alike.

The choices of one question share its text, and only their own tokens are scored.  So the common
beginning is run once and its keys and values are given to every row; logits are computed where they
are read.  Both save what a padded pass over whole rows computes in vain.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modeldiff_harness.errors import RunError
from modeldiff_harness.models.caches import fresh_cache

__all__ = ["ScoredRow", "can_score", "scored_logits"]

_WORTH_SHARING = 0.8
"""Two passes are made if they run fewer tokens than this share of one."""
_NEEDED = {"attention_mask", "logits_to_keep", "past_key_values", "position_ids"}


@dataclass(frozen=True)
class ScoredRow:
    """Tokens to run, and which logits of them are wanted."""

    tokens: tuple[int, ...]
    n_scored: int
    """The logits after this many last tokens."""

    @property
    def beginning(self) -> tuple[int, ...]:
        """What comes before the scored tokens: other rows may begin with it too."""
        return self.tokens[: len(self.tokens) - self.n_scored]


def can_score(model: Any) -> bool:
    """Say whether the model's forward pass takes what `scored_logits` gives it."""
    return set(inspect.signature(model.forward).parameters) >= _NEEDED


@torch.no_grad()
def scored_logits(model: Any, rows: Sequence[ScoredRow], *, share: bool = True) -> list[Tensor]:
    """Return the (n_scored, V) logits of each of `rows`, those of a padded pass up to rounding.

    `share` False runs every row whole.  Raises RunError for logits that are NaN.
    """
    beginnings = {row.beginning: None for row in rows}
    n_tokens = _padded([row.tokens for row in rows])
    n_split = _padded(beginnings) + _padded([row.tokens[-row.n_scored :] for row in rows])
    pays = share and n_split < _WORTH_SHARING * n_tokens
    cache = fresh_cache(model) if pays else None
    if cache is None or () in beginnings:
        found = _in_one_pass(model, rows)
    else:
        found = _after_beginnings(model, rows, list(beginnings), cache)
    if any(bool(torch.isnan(logits_TV).any()) for logits_TV in found):
        raise RunError(
            "the model's logits are not numbers.", hint="Try --dtype float32 or bfloat16."
        )
    return found


def _padded(rows: Any) -> int:
    return len(rows) * max(map(len, rows))


def _in_one_pass(model: Any, rows: Sequence[ScoredRow]) -> list[Tensor]:
    width = max(len(row.tokens) for row in rows)
    ids_BT = _right_padded([row.tokens for row in rows], model.device)
    # rows end at different places: enough of the last positions to hold every scored one
    n_kept = max(width - len(row.tokens) + row.n_scored for row in rows)
    logits_BTV = model(input_ids=ids_BT, logits_to_keep=n_kept, use_cache=False).logits
    ends = [len(row.tokens) - (width - n_kept) for row in rows]
    return [
        logits_TV[end - row.n_scored : end]
        for logits_TV, row, end in zip(logits_BTV, rows, ends, strict=True)
    ]


def _after_beginnings(
    model: Any, rows: Sequence[ScoredRow], beginnings: Sequence[tuple[int, ...]], cache: Any
) -> list[Tensor]:
    """Run every beginning once, padded on the left, then what follows it in each row."""
    device = model.device
    longest = max(map(len, beginnings))
    padding = [longest - len(one) for one in beginnings]
    ids_UT = torch.tensor(
        [[0] * n + list(one) for n, one in zip(padding, beginnings, strict=True)], device=device
    )
    place_T = torch.arange(longest, device=device)
    padding_U1 = torch.tensor(padding, device=device)[:, None]
    mask_UT = (place_T >= padding_U1).long()
    model(
        input_ids=ids_UT,
        attention_mask=mask_UT,
        position_ids=(place_T - padding_U1).clamp(min=0),
        past_key_values=cache,
        logits_to_keep=1,
    )
    number = {one: n for n, one in enumerate(beginnings)}
    which_B = torch.tensor([number[row.beginning] for row in rows], device=device)
    cache.batch_select_indices(which_B)
    endings = [row.tokens[-row.n_scored :] for row in rows]
    ids_BT = _right_padded(endings, device)
    follows_T = torch.arange(ids_BT.shape[1], device=device)
    length_B1 = torch.tensor([len(ending) for ending in endings], device=device)[:, None]
    logits_BTV = model(
        input_ids=ids_BT,
        attention_mask=torch.cat([mask_UT[which_B], (follows_T < length_B1).long()], dim=1),
        position_ids=longest - padding_U1[which_B] + follows_T,
        past_key_values=cache,
    ).logits
    return [logits_TV[: len(ending)] for logits_TV, ending in zip(logits_BTV, endings, strict=True)]


def _right_padded(rows: Sequence[tuple[int, ...]], device: Any) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
