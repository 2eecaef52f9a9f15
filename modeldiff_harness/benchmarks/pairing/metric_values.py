"""One metric of paired samples as numbers: values an item, or statistics for an aggregation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modeldiff_harness.artifacts import MeasuredTask, TaskSample
from modeldiff_harness.benchmarks.pairing.aggregations import (
    DEFAULT_AGGREGATIONS,
    plain_aggregation,
    sum_aggregation,
)
from modeldiff_harness.benchmarks.pairing.align import PairedSamples
from modeldiff_harness.stats.aggregate import aggregate_difference, summed_difference
from modeldiff_harness.stats.estimates import Floats, PairedEstimate, Undetermined
from modeldiff_harness.stats.paired import paired_difference

__all__ = ["MEAN_OF_SCORED", "AggregationLookup", "MetricValues", "take_values"]

AggregationLookup = Callable[[str], Callable[[list[Any]], float] | None]
"""A task's own aggregation by name, or None when there is none of that name."""

MEAN_OF_SCORED = "mean_of_scored"
"""The mean over items that were scored: what programs report that skip failed items."""

_MEANS = ("mean", "nanmean", MEAN_OF_SCORED)
_SAME_AS_PRINTED = 1e-6


@dataclass(frozen=True)
class MetricValues:
    """What both models have of one metric on the same items, in the same order."""

    metric: str
    keys: tuple[tuple[int | str, str], ...]
    """The items, in the order of the arrays."""
    baseline: Floats
    """(N,) values, or (N, S) statistics of a sum aggregation; empty for other aggregations."""
    candidate: Floats
    clusters: list[str] | None
    """A label an entry."""
    aggregation: str
    combine: Callable[[Floats], float] | None = None
    records: tuple[list[Any], list[Any]] | None = None
    """Both models' records for an aggregation that is no function of sums."""
    function: Callable[[list[Any]], float] | None = None
    n_left_out: int = 0
    """Items without a number for one of the models."""

    @property
    def per_item(self) -> bool:
        """Whether the metric is the mean of one value an item."""
        return self.combine is None and self.function is None

    def compare(self, confidence: float, seed: int) -> PairedEstimate | Undetermined:
        """Estimate candidate − baseline by the method that fits the metric."""
        if self.combine is not None:
            return summed_difference(
                self.baseline, self.candidate, self.combine, self.clusters, confidence, seed
            )
        if self.function is not None and self.records is not None:
            function = self.function
            return aggregate_difference(
                *self.records,
                lambda records: float(function(list(records))),
                clusters=self.clusters,
                confidence=confidence,
                seed=seed,
            )
        return paired_difference(
            self.baseline, self.candidate, self.clusters, confidence=confidence, seed=seed
        )


def _aggregation_name(task: MeasuredTask, metric: str) -> str:
    """Return the name of the metric's aggregation: the task's word, else lm-eval's default."""
    return task.aggregations.get(metric) or DEFAULT_AGGREGATIONS.get(metric, "mean")


def take_values(
    task: MeasuredTask,
    pair: PairedSamples,
    metric: str,
    labels: Sequence[str] | None,
    aggregation: AggregationLookup,
) -> MetricValues | Undetermined:
    """Return the metric's values on the paired items, or why there are none.

    `labels`: the items' clusters.
    """
    name = _aggregation_name(task, metric)
    sides = pair.baseline, pair.candidate
    per_item = all(metric not in s.parts for side in sides for s in side)
    if per_item and (name in _MEANS or _is_printed_mean(task, pair, metric, name, aggregation)):
        values = _item_values(pair, metric, name, labels)
        if isinstance(values, MetricValues) and name == MEAN_OF_SCORED:
            return _checked(values, task, pair)
        return values
    records, answer_labels, keys = _records(pair, metric, labels)
    if any(record is None for side in records for record in side):
        return Undetermined("not every item has it", len(pair.baseline))
    sums = sum_aggregation(name)
    if sums is not None:
        try:
            left, right = sums.statistics(*records)
        except ValueError as error:
            return Undetermined(f"the aggregation {name!r} fails: {error}", len(pair.baseline))
        if not (np.isfinite(left).all() and np.isfinite(right).all()):
            return Undetermined("some values are not numbers", len(pair.baseline))
        return MetricValues(metric, keys, left, right, answer_labels, name, combine=sums.combine)
    function = plain_aggregation(name) or aggregation(name)
    if function is None:
        return Undetermined(f"the aggregation {name!r} is the task's own", len(pair.baseline))
    nothing = np.empty((0,))
    return MetricValues(
        metric, keys, nothing, nothing, answer_labels, name, records=records, function=function
    )


def _is_printed_mean(
    task: MeasuredTask, pair: PairedSamples, metric: str, name: str, aggregation: AggregationLookup
) -> bool:
    """Whether an aggregation of the task's own is the mean after all, by what was printed."""
    if sum_aggregation(name) or plain_aggregation(name) or aggregation(name):
        return False
    mine = (s for s in task.samples if s.filter == pair.filter)
    values = [s.values[metric] for s in mine if metric in s.values]
    printed = task.printed.get(f"{metric},{pair.filter}")
    if printed is None or not values:
        return False
    return abs(sum(values) / len(values) - printed) <= _SAME_AS_PRINTED * max(1.0, abs(printed))


def _checked(
    values: MetricValues, task: MeasuredTask, pair: PairedSamples
) -> MetricValues | Undetermined:
    """Refuse a mean that is not what the source printed: its aggregation is another."""
    printed = task.printed.get(f"{values.metric},{pair.filter}")
    complete = not values.n_left_out and not pair.n_unmatched and pair.samples_per_item == 1.0
    if printed is None or not complete:
        return values
    mean = float(values.baseline.mean())
    if abs(mean - printed) <= _SAME_AS_PRINTED * max(1.0, abs(printed)):
        return values
    return Undetermined(
        f"the mean over items is {mean:.6g} but {printed:.6g} was printed: the aggregation is not"
        " known",
        len(values.baseline),
    )


def _item_values(
    pair: PairedSamples, metric: str, name: str, labels: Sequence[str] | None
) -> MetricValues | Undetermined:
    left = np.array([s.values.get(metric, math.nan) for s in pair.baseline], dtype=np.float64)
    right = np.array([s.values.get(metric, math.nan) for s in pair.candidate], dtype=np.float64)
    kept = np.isfinite(left) & np.isfinite(right)
    n_missing = int((~kept).sum())
    if n_missing and name not in ("nanmean", MEAN_OF_SCORED):
        return Undetermined(f"{n_missing} values are not numbers", len(left))
    if not kept.any():
        return Undetermined("no item has a number for both models", len(left))
    chosen = np.flatnonzero(kept).tolist()
    return MetricValues(
        metric,
        tuple(pair.baseline[i].key for i in chosen),
        left[kept],
        right[kept],
        None if labels is None else [labels[i] for i in chosen],
        name,
        n_left_out=n_missing,
    )


def _records(
    pair: PairedSamples, metric: str, labels: Sequence[str] | None
) -> tuple[tuple[list[Any], list[Any]], list[str] | None, tuple[tuple[int | str, str], ...]]:
    """One record an answer; several answers to one item are one cluster."""
    left: list[Any] = []
    right: list[Any] = []
    found: list[str] = []
    keys = []
    repeated = False
    for i, (mine, theirs) in enumerate(
        zip(pair.baseline_answers, pair.candidate_answers, strict=True)
    ):
        n_answers = min(len(mine), len(theirs))
        repeated = repeated or n_answers > 1
        for a, b in zip(mine[:n_answers], theirs[:n_answers], strict=True):
            left.append(_part(a, metric))
            right.append(_part(b, metric))
            found.append(labels[i] if labels is not None else str(i))
            keys.append(a.key)
    clustered = labels is not None or repeated
    return (left, right), found if clustered else None, tuple(keys)


def _part(sample: TaskSample, metric: str) -> Any:
    part = sample.parts.get(metric, sample.values.get(metric))
    return tuple(part) if isinstance(part, list) else part
