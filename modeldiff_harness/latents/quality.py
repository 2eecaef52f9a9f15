"""Quality of a dictionary on held-out tokens: FVE, L0, dead and dense shares."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modeldiff_harness.artifacts import DictionaryQuality, TrainedDictionary
from modeldiff_harness.contracts import ScoreContext

__all__ = ["ExplainedVariance", "QualityCounter"]

DENSE_SHARE = 0.1
"""A latent active on more than this share of tokens is dense."""


class ExplainedVariance:
    """1 − Σ‖e‖² / (Σ‖x‖² − ‖Σx‖²/N), in running float64 sums."""

    def __init__(self, width: int) -> None:
        self._error = self._square = 0.0
        self._sum_D = torch.zeros(width, dtype=torch.float64)
        self._n = 0

    def update(self, acts_TD: Tensor, errors_TD: Tensor) -> None:
        """Add a batch of vectors and of what is left of them."""
        acts_TD = acts_TD.to("cpu", torch.float64)
        self._error += float(errors_TD.to(torch.float64).square().sum())
        self._square += float(acts_TD.square().sum())
        self._sum_D += acts_TD.sum(dim=0)
        self._n += int(acts_TD.shape[0])

    def value(self) -> float:
        """Return the fraction of variance explained; 0 when nothing varied."""
        spread = self._square - float(self._sum_D.square().sum()) / max(self._n, 1)
        return 1.0 - self._error / spread if spread > 0 else 0.0


class QualityCounter:
    """Accumulates the quality numbers of one dictionary over the score split."""

    def __init__(self, dictionary: TrainedDictionary) -> None:
        self._k = dictionary.k
        self._views = {
            model: [v for v, view in enumerate(dictionary.views) if view.model == model]
            for model in dictionary.models
        }
        widths = {
            model: sum(dictionary.views[v].width for v in views)
            for model, views in self._views.items()
        }
        self._fve = {model: ExplainedVariance(width) for model, width in widths.items()}
        self._fve_delta = {
            (a, b): ExplainedVariance(widths[a])
            for a, b in itertools.combinations(dictionary.models, 2)
            if widths[a] == widths[b]
        }
        self._active_L: NDArray[np.int64] = np.zeros(dictionary.n_latents, dtype=np.int64)
        self._n_topk = self._n_tokens = 0
        self._documents: set[int] = set()

    def update(self, context: ScoreContext, n_positive: int) -> None:
        """Add one batch; `n_positive` is the number of positive pre-activations in it."""
        for model, variance in self._fve.items():
            variance.update(self._of(context.acts, model), self._of(context.errors, model))
        for (a, b), variance in self._fve_delta.items():
            variance.update(
                self._of(context.acts, b) - self._of(context.acts, a),
                self._of(context.errors, b) - self._of(context.errors, a),
            )
        codes = context.codes
        self._active_L += np.bincount(
            codes.latent_N.cpu().numpy(), minlength=self._active_L.shape[0]
        )
        self._n_topk += min(self._k * codes.n_tokens, n_positive)
        self._n_tokens += codes.n_tokens
        self._documents.update(np.unique(context.document_T.cpu().numpy()).tolist())

    def finish(self) -> DictionaryQuality:
        """Return the numbers; FVE of a difference is left out where widths differ."""
        n_tokens = max(self._n_tokens, 1)
        return DictionaryQuality(
            fve={model: variance.value() for model, variance in self._fve.items()},
            fve_delta={f"{a}|{b}": v.value() for (a, b), v in self._fve_delta.items()},
            l0=float(self._active_L.sum()) / n_tokens,
            l0_topk=self._n_topk / n_tokens,
            dead_fraction=float((self._active_L == 0).mean()),
            dense_fraction=float((self._active_L > DENSE_SHARE * n_tokens).mean()),
            n_tokens=self._n_tokens,
            n_documents=len(self._documents),
        )

    def _of(self, parts: Sequence[Tensor], model: str) -> Tensor:
        """Return a model's views side by side, (T, D)."""
        views = self._views[model]
        return parts[views[0]] if len(views) == 1 else torch.cat([parts[v] for v in views], dim=1)
