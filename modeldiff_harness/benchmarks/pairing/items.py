"""Which items a comparison rests on: aligned, told, and faulty ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

from modeldiff_harness.artifacts import (
    AnswerFaults,
    BenchmarkItem,
    ItemAlignment,
    MeasuredTask,
    TaskSample,
)
from modeldiff_harness.benchmarks.answer_faults import count_faults
from modeldiff_harness.benchmarks.pairing.align import PairedSamples

__all__ = ["alignment_of", "answer_faults_of", "items_of"]


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
        for model, side, answers in (
            ("baseline", baseline, pair.baseline_answers),
            ("candidate", candidate, pair.candidate_answers),
        ):
            listed = (sample for one in answers for sample in one)
            found.append(count_faults(pair.task, pair.filter, model, listed, side.faults_recorded))
    return tuple(found)


def items_of(pairs: Sequence[PairedSamples], chosen: tuple[str, str]) -> tuple[BenchmarkItem, ...]:
    """Return the scored items of the `chosen` (metric, filter)."""
    metric, filter_name = chosen
    by_length = metric == "acc_norm"
    pair = next(pair for pair in pairs if pair.filter == filter_name)
    items = []
    for i, (left, right) in enumerate(zip(pair.baseline, pair.candidate, strict=True)):
        values = left.values.get(metric, math.nan), right.values.get(metric, math.nan)
        if not all(map(math.isfinite, values)):
            continue
        first, second = _told(pair, i, metric)
        items.append(
            BenchmarkItem(
                task=pair.task,
                metric=metric,
                filter=filter_name,
                doc_id=left.doc_id,
                doc_hash=left.doc_hash,
                target=left.target,
                baseline=values[0],
                candidate=values[1],
                baseline_response=first.response_by_length if by_length else first.response,
                candidate_response=second.response_by_length if by_length else second.response,
                prompt=left.prompt,
                baseline_generation=first.generation,
                candidate_generation=second.generation,
            )
        )
    return tuple(items)


def _told(pair: PairedSamples, i: int, metric: str) -> tuple[TaskSample, TaskSample]:
    """Of several answers to an item the first two that differ in value: they show the change."""
    answers = zip(pair.baseline_answers[i], pair.candidate_answers[i], strict=False)
    for first, second in answers:
        if first.values.get(metric) != second.values.get(metric):
            return first, second
    return pair.baseline[i], pair.candidate[i]
