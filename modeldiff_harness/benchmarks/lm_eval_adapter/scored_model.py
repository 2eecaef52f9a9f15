"""lm-eval's Hugging Face model, computing only what it scores.

HFLM runs every choice of a question as a row of its own and takes log-probabilities over the
vocabulary at every position, to read those of the choice.  Here the batches hold whole questions
and `models.scored_logits` computes the rest; scores, caching and order stay HFLM's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from lm_eval.models.huggingface import HFLM
from torch.nn.utils.rnn import pad_sequence

from modeldiff_harness.models.scored_logits import ScoredRow, can_score, scored_logits

__all__ = ["ScoredModel"]

Request = tuple[tuple[str, str], list[int], list[int]]
"""As HFLM passes it on: both texts, tokens of the context, tokens of the continuation."""


class ScoredModel(HFLM):  # type: ignore[misc]  # lm-eval is untyped
    """A causal model in memory; rolling scores and automatic batches are left to HFLM."""

    _rows: list[ScoredRow] | None = None
    """What the batch in progress needs, in HFLM's order; None: leave it to HFLM."""

    def _loglikelihood_tokens(
        self,
        requests: list[Request],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        """Return (log-likelihood, is greedy) of every request, batch by batch."""
        if override_bs is not None or type(self.batch_size) is not int or not can_score(self.model):
            return list(super()._loglikelihood_tokens(requests, disable_tqdm, override_bs))
        found: dict[int, tuple[float, bool]] = {}
        for groups in _batches(requests, self.batch_size, together=self.logits_cache):
            batch = [n for group in groups for n in group]
            longest = [max(group, key=lambda n: len(requests[n][2])) for group in groups]
            self._rows = _rows([requests[n] for n in longest], self.max_length)
            try:
                chosen = [requests[n] for n in batch]
                found |= zip(batch, super()._loglikelihood_tokens(chosen, True), strict=True)
            finally:
                self._rows = None
        return [found[n] for n in range(len(requests))]

    def _model_call(
        self,
        inps: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return logits (B, T, V), or (B, C, V) of scored tokens alone, each row's from 0 on."""
        if self._rows is not None and [row.tokens for row in self._rows] != _unpadded(
            inps, [len(row.tokens) for row in self._rows]
        ):
            self._rows = None  # another order than HFLM has had so far
        if self._rows is None:
            logits: torch.Tensor = super()._model_call(inps, attn_mask, labels)
            return logits
        return pad_sequence(scored_logits(self.model, self._rows), batch_first=True)

    def _select_cont_toks(
        self, logits: torch.Tensor, contlen: int | None = None, inplen: int | None = None
    ) -> torch.Tensor:
        """Return the rows of `logits` (T, V) that score the continuation."""
        if self._rows is None:
            logits = super()._select_cont_toks(logits, contlen, inplen)
            return logits
        return logits[:contlen]


def _batches(
    requests: Sequence[Request], size: int, *, together: bool
) -> Iterator[list[list[int]]]:
    """Yield batches of at most `size` rows, each a group of requests that one row serves.

    Requests that differ in their last token only need one row (`together`).  Rows of one context
    stay side by side; the longest come first.
    """
    rows: dict[tuple[int, ...], list[int]] = {}
    for n, (_, context, continuation) in enumerate(requests):
        rows.setdefault((*context, *continuation[:-1]) if together else (n,), []).append(n)
    questions: dict[tuple[int, ...], list[list[int]]] = {}
    for group in rows.values():
        questions.setdefault(tuple(requests[group[0]][1]), []).append(group)

    def n_tokens(question: list[list[int]]) -> int:
        return max(len(requests[n][1]) + len(requests[n][2]) for group in question for n in group)

    batch: list[list[int]] = []
    for question in sorted(questions.values(), key=n_tokens, reverse=True):
        if batch and len(batch) + len(question) > size:
            yield batch
            batch = []
        for group in question:
            if len(batch) == size:
                yield batch
                batch = []
            batch.append(group)
    if batch:
        yield batch


def _rows(requests: Sequence[Request], max_length: int) -> list[ScoredRow]:
    """Return what HFLM runs for `requests`, in its order: longest first, cut from the left."""
    tokens = {n: (*context, *continuation) for n, (_, context, continuation) in enumerate(requests)}
    order = sorted(tokens, key=lambda n: (-len(tokens[n]), tokens[n]))
    return [ScoredRow(tokens[n][-(max_length + 1) :][:-1], len(requests[n][2])) for n in order]


def _unpadded(ids_BT: torch.Tensor, lengths: Sequence[int]) -> list[tuple[int, ...]]:
    if len(ids_BT) != len(lengths):
        return []
    return [tuple(row[:n]) for row, n in zip(ids_BT.tolist(), lengths, strict=True)]
