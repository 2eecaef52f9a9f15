"""Running an activation source over chosen documents, and measuring what a live stream must know.

A live stream cannot look at all activations before it starts, so centre, spread and the norm above
which a token is an outlier come from a sample of whole prompts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modeldiff_harness.artifacts import (
    SPLITS,
    ActivationStatistics,
    Normaliser,
    TokenisedCorpus,
    View,
)
from modeldiff_harness.contracts import ActivationBatch, Runtime
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.latents.harvest.sample import sample_documents, take_documents

__all__ = ["RunSource", "measure_activations", "norms_of", "run_documents"]

RunSource = Callable[[TokenisedCorpus, int], Iterator[ActivationBatch]]
"""(corpus, tokens a forward pass) → its kept tokens' activations in all views, in corpus order."""

_HELD_BYTES = 512 * 2**20
"""A sample of up to this size stays in memory; a larger one is run twice."""


def run_documents(
    run: RunSource,
    corpus: TokenisedCorpus,
    documents: NDArray[np.int64],
    views: Sequence[View] | None,
    batch_tokens: int,
) -> Iterator[ActivationBatch]:
    """Run `documents` in the order given; rows and documents are those of the whole `corpus`.

    The same documents and `batch_tokens` give the same bits.  Raises RunError when the source
    yields other tokens or other views than it was asked for.
    """
    part = take_documents(corpus, documents)
    expected_T = np.flatnonzero(part.keep_T)
    shift_N = corpus.offsets_N1[documents] - part.offsets_N1[:-1]
    done = 0
    for batch in run(part, batch_tokens):
        end = done + len(batch.rows_T)
        if not np.array_equal(batch.rows_T, expected_T[done:end]):
            raise RunError("the activation source left the order of the corpus.")
        if views is not None and batch.views != tuple(views):
            raise RunError("the activation source gave other views than it was measured with.")
        done = end
        yield replace(
            batch,
            rows_T=batch.rows_T + shift_N[batch.document_T],
            document_T=documents[batch.document_T],
        )
    if done != len(expected_T):
        raise RunError(f"the activation source ended after {done} of {len(expected_T)} tokens.")


def norms_of(batch: ActivationBatch) -> NDArray[np.float64]:
    """Return ‖x‖ of every token in every view, (V, T); RunError for NaN and infinite values."""
    norms = []
    for view, x_TD in zip(batch.views, batch.acts, strict=True):
        norm_T = torch.linalg.vector_norm(x_TD.to(torch.float64), dim=1).cpu().numpy()
        if not np.isfinite(norm_T).all():
            raise RunError(
                f"activations of {view.model} at {view.site} hold NaN or infinite values.",
                hint="Harvest in float32: latents.dtype.",
            )
        norms.append(norm_T)
    return np.stack(norms)


def measure_activations(
    run: RunSource,
    corpus: TokenisedCorpus,
    *,
    sample_tokens: int,
    max_norm_factor: float | None = 4.0,
    runtime: Runtime,
) -> ActivationStatistics:
    """Measure medians of the norm, then centre and spread of train-split tokens below the limit.

    The limit is `max_norm_factor` times the median norm of the sample, by view; None: no limit.
    Sums are float64.  When the corpus holds no more than `sample_tokens`, the numbers are those
    of `MatrixStream` over the cached activations.

    Raises UsageError when the sample has no token to learn from, RunError for activations that are
    not finite or never vary.
    """
    began = time.monotonic()
    documents = sample_documents(corpus, sample_tokens)
    sample = _Sample(run, corpus, documents, runtime)
    norms_VT = np.concatenate([norms_of(batch) for batch in sample.batches()], axis=1)
    medians = np.median(norms_VT, axis=1)
    ordinary_T = np.ones(norms_VT.shape[1], dtype=bool)
    if max_norm_factor is not None:
        ordinary_T = (norms_VT <= max_norm_factor * medians[:, None]).all(axis=0)
    sums, position = _Sums(), 0
    views: tuple[View, ...] = ()
    for batch in sample.batches():
        views = batch.views
        end = position + len(batch.rows_T)
        train_T = corpus.splits_N[batch.document_T] == SPLITS.index("train")
        wanted_T = torch.from_numpy(np.flatnonzero(train_T & ordinary_T[position:end]))
        sums.add([x_TD[wanted_T.to(x_TD.device)].double().cpu() for x_TD in batch.acts])
        position = end
    return ActivationStatistics(
        views=views,
        normalisers=sums.normalisers(views),
        max_norms=(
            None if max_norm_factor is None else tuple(float(max_norm_factor * m) for m in medians)
        ),
        median_norms=tuple(float(m) for m in medians),
        n_tokens=int(ordinary_T.shape[0]),
        n_outliers=int((~ordinary_T).sum()),
        complete=len(documents) == corpus.n_documents,
        seconds=time.monotonic() - began,
    )


class _Sample:
    """The sample's activations: run once and held when they are few, else run again."""

    def __init__(
        self,
        run: RunSource,
        corpus: TokenisedCorpus,
        documents: NDArray[np.int64],
        runtime: Runtime,
    ) -> None:
        self._run, self._corpus, self._documents = run, corpus, documents
        self._runtime = runtime
        self._held: list[ActivationBatch] | None = None

    def batches(self) -> Iterator[ActivationBatch]:
        if self._held is not None:
            yield from self._held
            return
        held: list[ActivationBatch] | None = []
        n_bytes = 0
        title = "measure activations"
        with self._runtime.progress.task(title, None, unit="tok") as task:
            for batch in run_documents(
                self._run, self._corpus, self._documents, None, self._runtime.batch_tokens
            ):
                n_bytes += sum(x.numel() * x.element_size() for x in batch.acts)
                if n_bytes > _HELD_BYTES:
                    held = None
                elif held is not None:
                    held.append(batch)
                task.advance(len(batch.rows_T))
                yield batch
        self._held = held


@dataclass
class _Sums:
    """Shifted float64 sums: one pass, and no cancellation when the mean is large."""

    n: int = 0
    shift_D: tuple[Tensor, ...] = ()
    first_D: tuple[Tensor, ...] = ()
    second: tuple[float, ...] = ()

    def add(self, acts: Sequence[Tensor]) -> None:
        if not len(acts[0]):
            return
        if not self.n:
            self.shift_D = tuple(x.mean(dim=0) for x in acts)
            self.first_D = tuple(torch.zeros_like(s) for s in self.shift_D)
            self.second = (0.0,) * len(acts)
        moved = [x - s for x, s in zip(acts, self.shift_D, strict=True)]
        self.n += len(acts[0])
        self.first_D = tuple(f + x.sum(dim=0) for f, x in zip(self.first_D, moved, strict=True))
        self.second = tuple(
            s + float(x.square().sum()) for s, x in zip(self.second, moved, strict=True)
        )

    def normalisers(self, views: Sequence[View]) -> tuple[Normaliser, ...]:
        if not self.n:
            raise UsageError(
                "no token of the sample lies in split 'train'.",
                hint="Give the corpus more documents, or raise sample_tokens.",
            )
        found = []
        for view, shift_D, first_D, second in zip(
            views, self.shift_D, self.first_D, self.second, strict=True
        ):
            offset_D = first_D / self.n
            scale = float(
                np.sqrt(max(0.0, second / self.n - float(offset_D @ offset_D)) / view.width)
            )
            if scale <= 1e-12 * float(shift_D.norm()):
                raise RunError(
                    f"activations of {view.model} at {view.site} are the same for every token.",
                    hint="Choose a later site or more text.",
                )
            found.append(Normaliser(mean_D=(shift_D + offset_D).numpy(), scale=scale))
        return tuple(found)
