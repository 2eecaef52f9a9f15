"""Latent scorer `activity`: how often and how strongly a latent fires on the score split.

Columns:
    n_active_tokens, n_active_documents    counts
    firing_rate                            share of scored tokens
    mean_activation                        mean f·w over the latent's active tokens
    max_activation                         largest f·w
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import ScoreColumn, TokenisedCorpus, TrainedDictionary
from modeldiff_harness.contracts import ScoreContext

__all__ = ["Activity", "create"]


def create() -> Activity:
    """Return the scorer."""
    return Activity()


class Activity:
    """Running counts, one number a latent; documents add up since batches hold whole ones."""

    splits: Sequence[str] = ("score",)

    def start(self, dictionary: TrainedDictionary, corpus: TokenisedCorpus) -> None:
        """Allocate the running sums."""
        n = dictionary.n_latents
        self._n_tokens = 0
        self._tokens_L = np.zeros(n, dtype=np.int64)
        self._documents_L = np.zeros(n, dtype=np.int64)
        self._mass_L = np.zeros(n)
        self._max_L = np.zeros(n)

    def update(self, context: ScoreContext) -> None:
        """Add one batch."""
        found, n = context.by_document, self._tokens_L.shape[0]
        n_tokens_P = np.diff(found.start_P1)
        self._n_tokens += context.codes.n_tokens
        self._documents_L += np.bincount(found.latent_P, minlength=n)
        self._tokens_L += np.bincount(found.latent_P, n_tokens_P, minlength=n).astype(np.int64)
        self._mass_L += np.bincount(found.latent_P, found.mass_P, minlength=n)
        np.maximum.at(self._max_L, found.latent_P, found.peak_P.astype(np.float64))

    def merge(self, other: Activity) -> None:
        """Add the counts of another pass over other documents."""
        self._n_tokens += other._n_tokens
        self._documents_L += other._documents_L
        self._tokens_L += other._tokens_L
        self._mass_L += other._mass_L
        self._max_L = np.maximum(self._max_L, other._max_L)

    def finish(self) -> Sequence[ScoreColumn]:
        """Return the columns; means and maxima are undefined for a latent that never fired."""
        alive = self._tokens_L > 0
        always = np.ones(alive.shape, dtype=bool)
        mean = self._mass_L / np.maximum(self._tokens_L, 1)

        def column(
            name: str,
            unit: str,
            meaning: str,
            values: NDArray[np.generic],
            defined: NDArray[np.bool_],
        ) -> ScoreColumn:
            return ScoreColumn(name, unit, meaning, values.astype(np.float64), defined)

        return [
            column("n_active_tokens", "tokens", "Tokens it fired on.", self._tokens_L, always),
            column(
                "n_active_documents",
                "documents",
                "Documents it fired in.",
                self._documents_L,
                always,
            ),
            column(
                "firing_rate",
                "share of tokens",
                "Share of scored tokens it fired on.",
                self._tokens_L / max(self._n_tokens, 1),
                always,
            ),
            column("mean_activation", "f·w", "Mean over its active tokens.", mean, alive),
            column("max_activation", "f·w", "Largest activation.", self._max_L, alive),
        ]
