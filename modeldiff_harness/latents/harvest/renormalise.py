"""A stream read in the normalised space of a dictionary that was made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from modeldiff_harness.artifacts import Normaliser, TokenisedCorpus, TrainedDictionary, View
from modeldiff_harness.contracts import ActivationBatch, ActivationStream

__all__ = ["RenormalisedStream", "in_space_of"]


def in_space_of(dictionary: TrainedDictionary, stream: ActivationStream) -> ActivationStream:
    """Return `stream` in the space of `dictionary`: itself, when the normalisers are the same.

    A dictionary trained here has its stream's normalisers.  An imported one brings its own, and
    its threshold on f·w holds in that space only: latent weights of views whose scales differ
    are not proportional between two spaces.
    """
    pairs = zip(dictionary.normalisers, stream.normalisers, strict=True)
    if all(a.scale == b.scale and np.array_equal(a.mean_D, b.mean_D) for a, b in pairs):
        return stream
    return RenormalisedStream(stream, dictionary.normalisers)


class RenormalisedStream:
    """An `ActivationStream` whose activations are normalised by other means and scales."""

    views: tuple[View, ...]
    normalisers: tuple[Normaliser, ...]
    corpus: TokenisedCorpus

    def __init__(self, stream: ActivationStream, normalisers: Sequence[Normaliser]) -> None:
        self._stream = stream
        self.views, self.corpus = stream.views, stream.corpus
        self.normalisers = tuple(normalisers)
        self._steps: list[tuple[float, Tensor]] = []
        for given, wanted in zip(stream.normalisers, self.normalisers, strict=True):
            # (x − m)/s of x = z·t + n is z·(t/s) + (n − m)/s
            shift_D = (given.mean_D - wanted.mean_D) / wanted.scale
            self._steps.append((given.scale / wanted.scale, torch.from_numpy(shift_D)))

    def n_rows(self, split: str) -> int:
        """Return the number of kept tokens of `split`."""
        return self._stream.n_rows(split)

    def shuffled(
        self, split: str, batch_tokens: int, *, seed: int, start_step: int = 0
    ) -> Iterator[ActivationBatch]:
        """Yield the stream's batches, renormalised."""
        batches = self._stream.shuffled(split, batch_tokens, seed=seed, start_step=start_step)
        return map(self._renormalised, batches)

    def ordered(self, splits: Sequence[str], batch_tokens: int) -> Iterator[ActivationBatch]:
        """Yield the stream's batches, renormalised."""
        return map(self._renormalised, self._stream.ordered(splits, batch_tokens))

    def _renormalised(self, batch: ActivationBatch) -> ActivationBatch:
        acts = tuple(
            torch.add(shift_D.to(acts_TD), acts_TD, alpha=ratio)
            for acts_TD, (ratio, shift_D) in zip(batch.acts, self._steps, strict=True)
        )
        return ActivationBatch(batch.views, acts, batch.rows_T, batch.document_T)
