"""The check of `latent_scorer`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from modeldiff_harness.artifacts import ScoreColumn, TokenisedCorpus, TrainedDictionary
from modeldiff_harness.contracts import LatentScorer, Runtime, ScoreContext
from modeldiff_harness.latents.score.score import SCORED_SPLITS, score
from modeldiff_harness.testing.checks.rules import Subject
from modeldiff_harness.testing.planted import PlantedConfig, planted_stream

__all__ = ["check_scorer"]

_PLANTED = PlantedConfig(
    n_shared=8, n_exclusive=1, n_shrunk=1, n_twins=1, n_rotated=1, widths=(16, 16), n_prompts=60
)
_EPSILON = 1e-9
"""Sums in float64 differ by their order only."""


def check_scorer(factory: Callable[[], LatentScorer], *, name: str | None = None) -> None:
    """Check a scorer on a planted dictionary.

    splits: it never reads the label-test split; columns: distinct names, a unit and a meaning, a
    finite number a latent, `lower` ≤ `upper`; merge: any cut of the pass, merged in any order,
    gives the columns of one pass, an accumulator that saw nothing changes nothing; empty: a pass
    over no token gives columns; reading: the batch is left as it was; determinism.
    Raises CheckFailed.
    """
    subject = Subject("latent_scorer", factory, name)
    splits = tuple(subject.make().splits)
    subject.require(
        "splits", set(splits) <= {"score"}, f"it reads {splits}; labels are tested on label_test"
    )
    dictionary, corpus, contexts = _pass()
    contexts = [context for context in contexts if context.split in splits]

    def accumulate(seen: Iterable[ScoreContext]) -> LatentScorer:
        scorer: LatentScorer = subject.make()
        with subject.rule("columns"):
            scorer.start(dictionary, corpus)
            for context in seen:
                scorer.update(context)
        return scorer

    def finish(scorer: LatentScorer, rule: str) -> list[ScoreColumn]:
        with subject.rule(rule):
            columns = list(scorer.finish())
        _check_columns(subject, rule, columns, dictionary.n_latents)
        return columns

    before = [_bytes(context) for context in contexts]
    whole = finish(accumulate(contexts), "columns")
    subject.require("reading", [_bytes(c) for c in contexts] == before, "it changes the batch")
    subject.require("columns", whole, "it makes no column")
    again = finish(accumulate(contexts), "columns")
    subject.require("determinism", _same(whole, again, exactly=True), "two passes differ")
    empty = finish(accumulate([]), "empty")
    names = [column.name for column in whole]
    subject.require("empty", [c.name for c in empty] == names, "other columns without a token")
    cuts = [(contexts[:n], contexts[n:]) for n in (0, 1, len(contexts) // 2, len(contexts))]
    for first, second in cuts + [(second, first) for first, second in cuts]:
        left, right = accumulate(first), accumulate(second)
        with subject.rule("merge"):
            left.merge(right)
        merged = finish(left, "merge")
        detail = f"{len(first)} + {len(second)} batches, merged, are not one pass"
        subject.require("merge", _same(whole, merged), detail)


class _Recorder:
    """A scorer that keeps the contexts of the pass."""

    splits: Sequence[str] = SCORED_SPLITS

    def __init__(self) -> None:
        self.contexts: list[ScoreContext] = []

    def start(self, dictionary: TrainedDictionary, corpus: TokenisedCorpus) -> None:
        self.contexts.clear()

    def update(self, context: ScoreContext) -> None:
        self.contexts.append(context)

    def merge(self, other: Any) -> None:
        self.contexts += other.contexts

    def finish(self) -> Sequence[ScoreColumn]:
        return ()


def _pass() -> tuple[TrainedDictionary, TokenisedCorpus, list[ScoreContext]]:
    """Return a dictionary, its corpus and every batch of a score pass."""
    stream, truth = planted_stream(_PLANTED)
    dictionary, recorder = truth.dictionary(stream.normalisers), _Recorder()
    score(dictionary, stream, [recorder], runtime=Runtime(batch_tokens=200))
    return dictionary, stream.corpus, recorder.contexts


def _bytes(context: ScoreContext) -> bytes:
    codes = context.codes
    tensors = (*context.acts, *context.reconstructions, *context.errors, context.rows_T,
               codes.token_N, codes.latent_N, codes.activation_N)  # fmt: skip
    return b"".join(tensor.numpy().tobytes() for tensor in tensors)


def _check_columns(
    subject: Subject, rule: str, columns: Sequence[ScoreColumn], n_latents: int
) -> None:
    for column in columns:
        subject.require(rule, isinstance(column, ScoreColumn), f"{column!r:.80}")
        where = f"column {column.name!r}"
        subject.require(rule, column.unit and column.meaning, f"{where} has no unit or meaning")
        for array in (column.values_L, column.defined_L, column.lower_L, column.upper_L):
            if array is not None:
                shaped = np.shape(array) == (n_latents,)
                subject.require(rule, shaped, f"{where}: {np.shape(array)}, not a number a latent")
                finite = np.isfinite(np.asarray(array, dtype=float)).all()
                subject.require(rule, finite, f"{where} is not finite: mark it in defined_L")
        boolean = np.asarray(column.defined_L).dtype == bool
        subject.require(rule, boolean, f"{where}: defined_L is not boolean")
        if column.lower_L is not None and column.upper_L is not None:
            ordered = (column.lower_L <= column.upper_L)[column.defined_L].all()
            subject.require(rule, ordered, f"{where}: lower is above upper")
    names = [column.name for column in columns]
    subject.require(rule, len(names) == len(set(names)), f"names repeat: {names}")


def _same(a: Sequence[ScoreColumn], b: Sequence[ScoreColumn], *, exactly: bool = False) -> bool:
    def close(x: Any, y: Any) -> bool:
        if x is None or y is None:
            return x is y
        tolerance = 0.0 if exactly else _EPSILON
        return bool(np.allclose(x, y, rtol=tolerance, atol=tolerance))

    return [c.name for c in a] == [c.name for c in b] and all(
        np.array_equal(x.defined_L, y.defined_L)
        and close(np.where(x.defined_L, x.values_L, 0), np.where(y.defined_L, y.values_L, 0))
        and close(x.lower_L, y.lower_L)
        and close(x.upper_L, y.upper_L)
        for x, y in zip(a, b, strict=True)
    )
