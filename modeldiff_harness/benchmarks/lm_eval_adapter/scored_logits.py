"""lm-eval's Hugging Face model, asked only for the logits that are scored.

HFLM computes log-probabilities over the vocabulary at every position of a request and then reads
those of the continuation; with short continuations and a large vocabulary that costs more than the
attention.  Batches, scores and order are HFLM's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence

import torch
from lm_eval.models.huggingface import HFLM

__all__ = ["ScoredLogitsLM"]

Request = tuple[tuple[str, str], list[int], list[int]]
"""As HFLM passes it on: (context, continuation) as texts, as tokens of the context, of the other"""


class ScoredLogitsLM(HFLM):  # type: ignore[misc]  # lm-eval is untyped
    """A causal model in memory; anything else than fixed batches is left to HFLM."""

    _n_kept: int | None = None
    """Last positions whose logits the call in progress needs; None: all."""

    def _loglikelihood_tokens(
        self,
        requests: list[Request],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        """Score HFLM's batches one call at a time, so that each knows its longest continuation."""
        known = "logits_to_keep" in inspect.signature(self.model.forward).parameters
        if not known or override_bs is not None or not isinstance(self.batch_size, int):
            found: list[tuple[float, bool]] = super()._loglikelihood_tokens(
                requests, disable_tqdm, override_bs
            )
            return found
        scored: dict[int, tuple[float, bool]] = {}
        for batch in _batches(requests, self.batch_size, together=self.logits_cache):
            chosen = [requests[n] for n in batch]
            self._n_kept = _n_scored(chosen, self.max_length)
            try:
                scored |= zip(batch, super()._loglikelihood_tokens(chosen, True), strict=True)
            finally:
                self._n_kept = None
        return [scored[n] for n in range(len(requests))]

    def _model_call(
        self,
        inps: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return logits (B, T, V), or of the last positions (B, n_kept, V).

        HFLM reads rows shorter than what it gave as shifted to the right, which is what these are.
        """
        if self._n_kept is None:
            logits: torch.Tensor = super()._model_call(inps, attn_mask, labels)
        else:
            with torch.no_grad():
                logits = self.model(inps, logits_to_keep=self._n_kept).logits
        return logits


def _batches(requests: Sequence[Request], size: int, *, together: bool) -> Iterator[list[int]]:
    """Yield the batches that HFLM would make, as numbers of requests.

    Requests that differ in their last token only are run once (`together`): they count as one.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for n, (_, context, continuation) in enumerate(requests):
        key = (*context, *continuation[:-1]) if together else (n,)
        groups.setdefault(key, []).append(n)

    def longest_first(group: list[int]) -> tuple[int, tuple[int, ...]]:
        run = max(group, key=lambda n: len(requests[n][2]))
        tokens = (*requests[run][1], *requests[run][2])
        return -len(tokens), tokens

    ordered = sorted(groups.values(), key=longest_first)
    for first in range(0, len(ordered), size):
        yield [n for group in ordered[first : first + size] for n in group]


def _n_scored(requests: Sequence[Request], max_length: int) -> int:
    """Return how many of a batch's last positions hold every token that is scored.

    Rows are padded on the right, so a short row's continuation ends before the last position.
    """
    lengths = [
        min(len(context) + len(continuation) - 1, max_length)
        for _, context, continuation in requests
    ]
    return max(
        max(lengths) - length + len(continuation)
        for length, (_, _, continuation) in zip(lengths, requests, strict=True)
    )
