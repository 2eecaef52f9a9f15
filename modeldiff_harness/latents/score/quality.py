"""Quality of a dictionary on held-out tokens: FVE, L0, dead and dense shares."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import DictionaryQuality, TrainedDictionary
from modeldiff_harness.contracts import ScoreContext
from modeldiff_harness.latents.compiled.threads import over_ranges
from modeldiff_harness.latents.dictionaries.encode import side_by_side

__all__ = ["QualityCounter"]

DENSE_SHARE = 0.1
"""A latent active on more than this share of tokens is dense."""
_TOKENS_A_RANGE = 256
"""Tokens a thread sums at a time."""


class QualityCounter:
    """Accumulates the quality numbers of one dictionary over the score split."""

    def __init__(self, dictionary: TrainedDictionary) -> None:
        self._k = dictionary.k
        self._order = [
            v
            for model in dictionary.models
            for v, view in enumerate(dictionary.views)
            if view.model == model
        ]
        self._spans = _Spans.of(dictionary)
        self._active_L: NDArray[np.int64] = np.zeros(dictionary.n_latents, dtype=np.int64)
        self._n_topk = self._n_tokens = self._n_documents = 0

    def update(self, context: ScoreContext, n_positive: int) -> None:
        """Add one batch; `n_positive` is the number of positive pre-activations in it."""
        acts_TC, error_TC = (
            side_by_side([parts[v] for v in self._order]).cpu().numpy()
            for parts in (context.acts, context.errors)
        )
        self._spans.add(acts_TC, error_TC)
        codes = context.codes
        self._active_L += np.bincount(
            codes.latent_N.cpu().numpy(), minlength=self._active_L.shape[0]
        )
        self._n_topk += min(self._k * codes.n_tokens, n_positive)
        self._n_tokens += codes.n_tokens
        self._n_documents += int(np.unique(context.document_T.cpu().numpy()).shape[0])

    def finish(self) -> DictionaryQuality:
        """Return the numbers; FVE of a difference is left out where widths differ."""
        n_tokens = max(self._n_tokens, 1)
        return DictionaryQuality(
            fve=self._spans.explained(n_tokens, difference=False),
            fve_delta=self._spans.explained(n_tokens, difference=True),
            l0=float(self._active_L.sum()) / n_tokens,
            l0_topk=self._n_topk / n_tokens,
            dead_fraction=float((self._active_L == 0).mean()),
            dense_fraction=float((self._active_L > DENSE_SHARE * n_tokens).mean()),
            n_tokens=self._n_tokens,
            n_documents=self._n_documents,
        )


@dataclass(frozen=True)
class _Spans:
    """Running float64 sums of S vectors: each model's activation, and every pair's difference."""

    names: tuple[str, ...]
    """A model, or "a|b" for the difference b − a."""
    first_S: NDArray[np.int64]
    """First column; of the later model for a difference."""
    second_S: NDArray[np.int64]
    """First column of the earlier model, −1 where nothing is subtracted."""
    width_S: NDArray[np.int64]
    sum_SC: NDArray[np.float64]
    square_S: NDArray[np.float64]
    error_S: NDArray[np.float64]

    @classmethod
    def of(cls, dictionary: TrainedDictionary) -> _Spans:
        """Lay the spans out over the models' columns, model by model."""
        models = dictionary.models
        widths = {
            m: sum(view.width for view in dictionary.views if view.model == m) for m in models
        }
        start = dict(zip(models, np.cumsum([0, *widths.values()]).tolist(), strict=False))
        rows = [(m, start[m], -1, widths[m]) for m in models]
        rows += [
            (f"{a}|{b}", start[b], start[a], widths[a])
            for a, b in itertools.combinations(models, 2)
            if widths[a] == widths[b]
        ]
        names, first, second, width = zip(*rows, strict=True)
        n = len(rows)
        return cls(
            names=names,
            first_S=np.array(first, dtype=np.int64),
            second_S=np.array(second, dtype=np.int64),
            width_S=np.array(width, dtype=np.int64),
            sum_SC=np.zeros((n, max(width))),
            square_S=np.zeros(n),
            error_S=np.zeros(n),
        )

    def add(self, acts_TC: NDArray[Any], error_TC: NDArray[Any]) -> None:
        """Add a batch.  Ranges are summed apart and added in order, however many threads run."""
        from modeldiff_harness.latents.compiled import score_loops as loops

        n_tokens = acts_TC.shape[0]
        parts = {
            start: tuple(np.zeros_like(a) for a in (self.sum_SC, self.square_S, self.error_S))
            for start in range(0, n_tokens, _TOKENS_A_RANGE)
        }
        over_ranges(
            n_tokens,
            _TOKENS_A_RANGE,
            lambda start, stop: loops.add_spreads(
                acts_TC,
                error_TC,
                self.first_S,
                self.second_S,
                self.width_S,
                start,
                stop,
                *parts[start],
            ),
        )
        for start in sorted(parts):
            for total, part in zip(
                (self.sum_SC, self.square_S, self.error_S), parts[start], strict=True
            ):
                total += part

    def explained(self, n_tokens: int, *, difference: bool) -> dict[str, float]:
        """Return 1 − Σ‖e‖² / (Σ‖x‖² − ‖Σx‖²/N) by name; 0 where nothing varied."""
        spread_S = self.square_S - np.square(self.sum_SC).sum(axis=1) / n_tokens
        return {
            name: float(1.0 - self.error_S[s] / spread_S[s]) if spread_S[s] > 0 else 0.0
            for s, name in enumerate(self.names)
            if (self.second_S[s] >= 0) == difference
        }
