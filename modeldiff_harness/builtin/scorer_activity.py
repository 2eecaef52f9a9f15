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
    """Running counts, one number a latent; documents by distinct (latent, document) pairs."""

    splits: Sequence[str] = ("score",)

    def start(self, dictionary: TrainedDictionary, corpus: TokenisedCorpus) -> None:
        """Allocate the running sums."""
        n = dictionary.n_latents
        self._n_documents = corpus.n_documents
        self._n_tokens = 0
        self._tokens_L = np.zeros(n, dtype=np.int64)
        self._mass_L = np.zeros(n)
        self._max_L = np.zeros(n)
        self._pairs = np.zeros(0, dtype=np.int64)

    def update(self, context: ScoreContext) -> None:
        """Add one batch."""
        codes, n = context.codes, self._tokens_L.shape[0]
        latent_N = codes.latent_N.cpu().numpy()
        activation_N = codes.activation_N.cpu().numpy().astype(np.float64)
        document_N = context.document_T.cpu().numpy()[codes.token_N.cpu().numpy()]
        self._n_tokens += codes.n_tokens
        self._tokens_L += np.bincount(latent_N, minlength=n)
        self._mass_L += np.bincount(latent_N, activation_N, minlength=n)
        np.maximum.at(self._max_L, latent_N, activation_N)
        self._pairs = np.union1d(self._pairs, latent_N * self._n_documents + document_N)

    def merge(self, other: Activity) -> None:
        """Add the counts of another pass over other tokens."""
        self._n_tokens += other._n_tokens
        self._tokens_L += other._tokens_L
        self._mass_L += other._mass_L
        self._max_L = np.maximum(self._max_L, other._max_L)
        self._pairs = np.union1d(self._pairs, other._pairs)

    def finish(self) -> Sequence[ScoreColumn]:
        """Return the columns; means and maxima are undefined for a latent that never fired."""
        alive = self._tokens_L > 0
        always = np.ones(alive.shape, dtype=bool)
        documents = np.bincount(self._pairs // self._n_documents, minlength=alive.shape[0])
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
            column("n_active_documents", "documents", "Documents it fired in.", documents, always),
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
