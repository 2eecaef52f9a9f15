"""Paired, normalised activations of one dictionary's views, in shuffled or corpus order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modeldiff_harness.artifacts import (
    SPLITS,
    HarvestedActivations,
    Normaliser,
    TokenisedCorpus,
    View,
)
from modeldiff_harness.contracts import ActivationBatch
from modeldiff_harness.errors import RunError, UsageError

__all__ = ["MatrixStream", "split_index", "stream_from_harvests"]

_CHUNK_ROWS = 8192


@dataclass(frozen=True)
class _Statistics:
    mean_D: Tensor
    scale: float


class MatrixStream:
    """An `ActivationStream` over one (R, D_v) matrix a view, in memory or memory-mapped.

    Row r of every matrix is corpus token `rows_R[r]`.  Rows whose norm exceeds `max_norm_factor`
    times the median norm in ANY view are dropped (attention sinks and other outliers would
    dominate the mean squared error); None keeps all.  Normalisers come from the train split's
    remaining rows, accumulated in float64: x − mean, divided by one scalar, so that the mean
    squared norm is D.

    Batches are of `dtype`.  Raises UsageError when shapes, views and rows do not fit together, and
    RunError for activations that are not finite or never vary.
    """

    def __init__(
        self,
        corpus: TokenisedCorpus,
        views: Sequence[View],
        matrices: Sequence[Tensor | NDArray[Any]],
        rows_R: NDArray[np.int64] | None = None,
        *,
        max_norm_factor: float | None = 4.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.corpus = corpus
        self.views = tuple(views)
        self._matrices = tuple(torch.as_tensor(m) for m in matrices)
        self._dtype = dtype
        if rows_R is None:
            rows_R = np.flatnonzero(corpus.keep_T).astype(np.int64)
        self._check_shapes(rows_R)
        document_R = np.searchsorted(corpus.offsets_N1, rows_R, side="right") - 1
        kept = self._inliers(max_norm_factor)
        self.n_dropped = int(rows_R.shape[0] - kept.shape[0])
        """Rows left out because of their norm."""
        self._kept = kept
        self._rows = rows_R[kept]
        self._documents = document_R[kept].astype(np.int64)
        self._splits = corpus.splits_N[self._documents]
        train = kept[self._splits == SPLITS.index("train")]
        if not train.shape[0]:
            raise UsageError(
                "no token of the corpus lies in split 'train'.", hint="Give it more documents."
            )
        statistics = [_statistics(m, train, v) for m, v in zip(self._matrices, views, strict=True)]
        self.normalisers = tuple(
            Normaliser(mean_D=s.mean_D.numpy(), scale=s.scale) for s in statistics
        )
        self._mean = tuple(s.mean_D.to(dtype) for s in statistics)

    def n_rows(self, split: str) -> int:
        """Return the number of kept tokens of `split`."""
        return int((self._splits == split_index(split)).sum())

    def shuffled(
        self, split: str, batch_tokens: int, *, seed: int, start_step: int = 0
    ) -> Iterator[ActivationBatch]:
        """Yield normalised batches of exactly `batch_tokens` for ever, from step `start_step`.

        The epochs' permutations lie end to end and step s takes positions s·B … (s+1)·B − 1, so
        every batch is full and any step can be reached at once.  Raises UsageError when the split
        is empty.
        """
        rows = np.flatnonzero(self._splits == split_index(split))
        n = rows.shape[0]
        if not n:
            raise UsageError(f"no token of the corpus lies in split {split!r}.")
        epoch, order = -1, rows
        step = start_step
        while True:
            position, parts, missing = step * batch_tokens, [], batch_tokens
            while missing:
                wanted_epoch, offset = divmod(position, n)
                if wanted_epoch != epoch:
                    epoch, order = wanted_epoch, rows[_permutation(seed, wanted_epoch, n)]
                part = order[offset : offset + missing]
                parts.append(part)
                position += part.shape[0]
                missing -= part.shape[0]
            yield self._batch(np.concatenate(parts))
            step += 1

    def ordered(self, splits: Sequence[str], batch_tokens: int) -> Iterator[ActivationBatch]:
        """Yield every kept token of `splits` once, normalised, in corpus order."""
        wanted = [split_index(split) for split in splits]
        rows = np.flatnonzero(np.isin(self._splits, wanted))
        for start in range(0, rows.shape[0], batch_tokens):
            yield self._batch(rows[start : start + batch_tokens])

    def _batch(self, index_T: NDArray[np.int64]) -> ActivationBatch:
        rows_T = torch.from_numpy(self._kept[index_T])
        acts = tuple(
            matrix[rows_T].to(self._dtype).sub_(mean_D).div_(normaliser.scale)
            for matrix, mean_D, normaliser in zip(
                self._matrices, self._mean, self.normalisers, strict=True
            )
        )
        return ActivationBatch(self.views, acts, self._rows[index_T], self._documents[index_T])

    def _check_shapes(self, rows_R: NDArray[np.int64]) -> None:
        if len(self._matrices) != len(self.views):
            raise UsageError(f"{len(self._matrices)} matrices for {len(self.views)} views.")
        for view, matrix in zip(self.views, self._matrices, strict=True):
            if tuple(matrix.shape) != (rows_R.shape[0], view.width):
                raise UsageError(
                    f"activations of {view.model} at {view.site} are {tuple(matrix.shape)}, "
                    f"expected {(rows_R.shape[0], view.width)}: a row a kept token."
                )
        if rows_R.shape[0] and (np.diff(rows_R) <= 0).any():
            raise UsageError("rows of activations are not in corpus order.")

    def _inliers(self, max_norm_factor: float | None) -> NDArray[np.int64]:
        n_rows = int(self._matrices[0].shape[0])
        inlier_R = np.ones(n_rows, dtype=bool)
        for view, matrix in zip(self.views, self._matrices, strict=True):
            norm_R = np.concatenate(
                [np.zeros(0)]
                + [torch.linalg.vector_norm(c, dim=1).numpy() for c in _chunks(matrix)]
            )
            if not np.isfinite(norm_R).all():
                raise RunError(
                    f"activations of {view.model} at {view.site} hold NaN or infinite values.",
                    hint="Harvest again in float32.",
                )
            if max_norm_factor is not None and n_rows:
                inlier_R &= norm_R <= max_norm_factor * np.median(norm_R)
        return np.flatnonzero(inlier_R).astype(np.int64)


def stream_from_harvests(
    corpus: TokenisedCorpus,
    harvests: Sequence[HarvestedActivations],
    views: Sequence[View],
    max_norm_factor: float | None = 4.0,
) -> MatrixStream:
    """Join harvests of several models into the stream of a dictionary over `views`.

    The matrices stay memory-mapped in the harvests' folders.  Raises UsageError for a view nobody
    harvested and RunError when two models were harvested at different tokens.
    """
    from safetensors import safe_open

    matrices: list[Tensor] = []
    rows_R: NDArray[np.int64] | None = None
    for view in views:
        harvest = next((h for h in harvests if view in h.views), None)
        if harvest is None:
            raise UsageError(f"nothing was harvested for {view.model} at {view.site}.")
        if rows_R is None:
            rows_R = harvest.rows_T
        elif not np.array_equal(rows_R, harvest.rows_T):
            raise RunError(
                f"activations of {view.model} belong to other tokens than those of "
                f"{views[0].model}.",
                hint="Harvest both from one corpus.",
            )
        with safe_open(harvest.folder / "activations.safetensors", framework="pt") as file:
            matrices.append(file.get_tensor(view.site))
    return MatrixStream(corpus, views, matrices, rows_R, max_norm_factor=max_norm_factor)


def _permutation(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(n)


def split_index(split: str) -> int:
    """Return the place of `split` in SPLITS; UsageError when there is none of that name."""
    if split not in SPLITS:
        raise UsageError(f"unknown split {split!r}; known: {', '.join(SPLITS)}.")
    return SPLITS.index(split)


def _chunks(matrix: Tensor, index: NDArray[np.int64] | None = None) -> Iterator[Tensor]:
    """Yield the rows (all, or those of `index`) in float64."""
    n = int(matrix.shape[0]) if index is None else index.shape[0]
    for start in range(0, n, _CHUNK_ROWS):
        if index is None:
            yield matrix[start : start + _CHUNK_ROWS].to(torch.float64)
        else:
            rows = torch.from_numpy(index[start : start + _CHUNK_ROWS])
            yield matrix[rows].to(torch.float64)


def _statistics(matrix: Tensor, train: NDArray[np.int64], view: View) -> _Statistics:
    """Mean and scale over the rows `train`, in two float64 passes."""
    n = train.shape[0]
    mean_D = torch.zeros(view.width, dtype=torch.float64)
    for chunk in _chunks(matrix, train):
        mean_D += chunk.sum(dim=0)
    mean_D /= n
    squares = sum(float((chunk - mean_D).square().sum()) for chunk in _chunks(matrix, train))
    scale = float(np.sqrt(squares / n / view.width))
    if scale <= 0:
        raise RunError(
            f"activations of {view.model} at {view.site} are the same for every token.",
            hint="Choose a later site or more text.",
        )
    return _Statistics(mean_D, scale)
