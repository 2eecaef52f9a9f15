"""Which items a comparison rests on: aligned, told, and faulty ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from modeldiff_harness.artifacts import (
    AnswerFaults,
    BenchmarkItem,
    ItemAlignment,
    MeasuredTask,
)
from modeldiff_harness.benchmarks.answer_faults import count_faults
from modeldiff_harness.benchmarks.pairing.align import PairedSamples

__all__ = ["alignment_of", "answer_faults_of", "items_of"]

_ITEMS_AT_ONCE = 1024


def alignment_of(pair: PairedSamples, n_left_out: int) -> ItemAlignment:
    """Return how the items of one filter were aligned."""
    return ItemAlignment(
        task=pair.task,
        filter=pair.filter,
        n_paired=len(pair.baseline),
        n_only_baseline=pair.n_only_baseline,
        n_only_candidate=pair.n_only_candidate,
        n_changed=pair.n_changed,
        n_duplicates=pair.n_duplicates,
        n_not_numbers=n_left_out,
        n_prompts_differ=pair.n_prompts_differ,
        named=pair.named,
    )


def answer_faults_of(
    baseline: MeasuredTask, candidate: MeasuredTask, pairs: Sequence[PairedSamples]
) -> tuple[AnswerFaults, ...]:
    """Count each model's answers that say little, filter by filter."""
    found = []
    for pair in pairs:
        for model, task, side in (
            ("baseline", baseline, pair.baseline),
            ("candidate", candidate, pair.candidate),
        ):
            answers = side.faults()
            found.append(count_faults(pair.task, pair.filter, model, answers, task.faults_recorded))
    return tuple(found)


def items_of(pairs: Sequence[PairedSamples], chosen: tuple[str, str]) -> tuple[BenchmarkItem, ...]:
    """Return the scored items of the `chosen` (metric, filter)."""
    metric, filter_name = chosen
    by_length = metric == "acc_norm"
    pair = next(pair for pair in pairs if pair.filter == filter_name)
    values = pair.baseline.values(metric), pair.candidate.values(metric)
    scored = np.flatnonzero(np.isfinite(values[0]) & np.isfinite(values[1]))
    left, right = pair.baseline.table, pair.candidate.table
    items: list[BenchmarkItem] = []
    for start in range(0, len(scored), _ITEMS_AT_ONCE):
        some = scored[start : start + _ITEMS_AT_ONCE]
        heads = [pair.baseline.first[i] for i in some.tolist()]
        told = [_told(pair, i, metric) for i in some.tolist()]
        first, second = [row for row, _ in told], [row for _, row in told]
        items += map(
            partial(BenchmarkItem, pair.task, metric, filter_name),
            [left.doc_id[row] for row in heads],
            left.doc_hash.take(heads),
            left.target.take(heads),
            values[0][some].tolist(),
            values[1][some].tolist(),
            left.answers(first, by_length),
            right.answers(second, by_length),
            left.prompt.take(heads),
            left.generation.take(first),
            right.generation.take(second),
        )
    return tuple(items)


def _told(pair: PairedSamples, i: int, metric: str) -> tuple[int, int]:
    """Of several answers to an item the first two that differ in value: they show the change."""
    if i in pair.baseline.further or i in pair.candidate.further:
        for rows in zip(pair.baseline.rows_of(i), pair.candidate.rows_of(i), strict=False):
            if pair.baseline.table.number(rows[0], metric) != pair.candidate.table.number(
                rows[1], metric
            ):
                return rows
    return pair.baseline.first[i], pair.candidate.first[i]
