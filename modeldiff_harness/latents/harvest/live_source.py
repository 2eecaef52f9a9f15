"""What a live stream asks of its models: run documents, leave outliers out, normalise."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from modeldiff_harness.artifacts import ActivationStatistics, TokenisedCorpus
from modeldiff_harness.contracts import ActivationBatch, Runtime
from modeldiff_harness.latents.harvest.live import RunSource, norms_of, run_documents
from modeldiff_harness.latents.harvest.sample import kept_tokens
from modeldiff_harness.latents.harvest.stream import split_index

__all__ = ["LiveSource"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
_SEGMENT_TOKENS = 2**20
"""Tokens of the documents that `ordinary_tokens` hands to the source at a time."""


class LiveSource:
    """Runs a source over documents of one corpus, one thread at a time."""

    def __init__(
        self,
        run: RunSource,
        corpus: TokenisedCorpus,
        statistics: ActivationStatistics,
        runtime: Runtime,
    ) -> None:
        self.corpus, self.statistics, self.runtime = corpus, statistics, runtime
        self.counts_N = kept_tokens(corpus)
        """Kept tokens of every document, outliers among them."""
        self._run = run
        self._means = [
            torch.from_numpy(n.mean_D).to(runtime.device, torch.float32)
            for n in statistics.normalisers
        ]
        self._models = threading.Lock()
        """Held while the source runs: a prefetch and a pass never switch models at once."""

    def documents(self, splits: Sequence[str]) -> Ints:
        """Return the documents of `splits`, in corpus order."""
        wanted = [split_index(split) for split in splits]
        return np.flatnonzero(np.isin(self.corpus.splits_N, wanted))

    def run(self, documents: Ints, batch_tokens: int) -> Iterator[ActivationBatch]:
        """Yield the kept tokens of `documents` as the models give them."""
        views = self.statistics.views
        batches = run_documents(self._run, self.corpus, documents, views, batch_tokens)
        while True:
            with self._models:
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def below_limit(self, batch: ActivationBatch) -> Bools:
        """Mark the tokens that are no outliers in any view, (T,)."""
        norms_VT = norms_of(batch)
        if self.statistics.max_norms is None:
            return np.ones(norms_VT.shape[1], dtype=bool)
        limits_V = np.array(self.statistics.max_norms)
        return np.asarray((norms_VT <= limits_V[:, None]).all(axis=0), dtype=bool)

    def normalised(self, batch: ActivationBatch, chosen_T: Bools) -> ActivationBatch:
        """Return the chosen tokens, normalised, float32, on the runtime's device."""
        index_T = torch.from_numpy(np.flatnonzero(chosen_T))
        acts = tuple(
            x_TD[index_T.to(x_TD.device)]
            .to(self.runtime.device, torch.float32)
            .sub_(mean_D)
            .div_(normaliser.scale)
            for x_TD, mean_D, normaliser in zip(
                batch.acts, self._means, self.statistics.normalisers, strict=True
            )
        )
        return ActivationBatch(
            self.statistics.views, acts, batch.rows_T[chosen_T], batch.document_T[chosen_T]
        )

    def ordinary_tokens(self, documents: Ints) -> Iterator[ActivationBatch]:
        """Yield the normalised tokens of `documents` that are no outliers; one live pass."""
        total = np.cumsum(self.counts_N[documents])
        last = int(total[-1]) if len(total) else 0
        borders = np.searchsorted(total, np.arange(_SEGMENT_TOKENS, last, _SEGMENT_TOKENS))
        for part in np.split(documents, np.unique(borders)):
            if not self.counts_N[part].sum():
                continue
            for batch in self.run(part, self.runtime.batch_tokens):
                yield self.normalised(batch, self.below_limit(batch))
