"""One metric of paired samples as numbers: values an item, or statistics for an aggregation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from modeldiff_harness.artifacts import MeasuredTask
from modeldiff_harness.benchmarks.pairing.aggregations import (
    DEFAULT_AGGREGATIONS,
    plain_aggregation,
    sum_aggregation,
)
from modeldiff_harness.benchmarks.pairing.align import PairedSamples
from modeldiff_harness.benchmarks.sample_table import SampleTable
from modeldiff_harness.stats.aggregate import aggregate_difference, summed_difference
from modeldiff_harness.stats.estimates import Floats, PairedEstimate, Undetermined
from modeldiff_harness.stats.paired import paired_difference

__all__ = ["MEAN_OF_SCORED", "AggregationLookup", "MetricValues", "is_printed", "take_values"]

AggregationLookup = Callable[[str], Callable[[list[Any]], float] | None]
"""A task's own aggregation by name, or None when there is none of that name."""

MEAN_OF_SCORED = "mean_of_scored"
"""The mean over items that were scored: what programs report that skip failed items."""

_MEANS = ("mean", "nanmean", MEAN_OF_SCORED)
_SAME_AS_PRINTED = 1e-6
_WRITTEN_DIGITS = 4
"""Decimals from which on a printed number is taken for a rounded one."""


@dataclass(frozen=True)
class MetricValues:
    """What both models have of one metric on the same items, in the same order."""

    metric: str
    table: SampleTable
    rows: Sequence[int]
    """The baseline's rows, in the order of the arrays."""
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
    n_not_scored_by_either: int = 0
    """Of them those that an aggregation over what is a number leaves out for both models."""

    @cached_property
    def keys(self) -> tuple[tuple[int | str, str], ...]:
        """Number and document of the items, in the order of the arrays."""
        return tuple(map(self.table.key, self.rows))

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
    per_item = not (pair.baseline.has_parts(metric) or pair.candidate.has_parts(metric))
    if per_item and (name in _MEANS or _is_printed_mean(task, pair, metric, name, aggregation)):
        values = _item_values(pair, metric, name, labels)
        if isinstance(values, MetricValues) and name == MEAN_OF_SCORED:
            return _checked(values, task, pair)
        return values
    records, answer_labels, rows = _records(pair, metric, labels)
    table = pair.baseline.table
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
        return MetricValues(
            metric, table, rows, left, right, answer_labels, name, combine=sums.combine
        )
    function = plain_aggregation(name) or aggregation(name)
    if function is None:
        return Undetermined(f"the aggregation {name!r} is the task's own", len(pair.baseline))
    nothing = np.empty((0,))
    return MetricValues(
        metric,
        table,
        rows,
        nothing,
        nothing,
        answer_labels,
        name,
        records=records,
        function=function,
    )


def _is_printed_mean(
    task: MeasuredTask, pair: PairedSamples, metric: str, name: str, aggregation: AggregationLookup
) -> bool:
    """Whether an aggregation of the task's own is the mean after all, by what was printed."""
    if sum_aggregation(name) or plain_aggregation(name) or aggregation(name):
        return False
    table = pair.baseline.table
    rows = table.rows_by_filter()[pair.filter]
    values = [x for x in (table.number(row, metric) for row in rows) if x is not None]
    printed = task.printed.get(f"{metric},{pair.filter}")
    if printed is None or not values:
        return False
    return is_printed(sum(values) / len(values), printed)


def _checked(
    values: MetricValues, task: MeasuredTask, pair: PairedSamples
) -> MetricValues | Undetermined:
    """Refuse a mean that is not what the source printed: its aggregation is another."""
    printed = task.printed.get(f"{values.metric},{pair.filter}")
    complete = not values.n_left_out and not pair.n_unmatched and pair.samples_per_item == 1.0
    if printed is None or not complete:
        return values
    mean = float(values.baseline.mean())
    if is_printed(mean, printed):
        return values
    return Undetermined(
        f"the mean over items is {mean:.6g} but {printed:.6g} was printed: the aggregation is not"
        " known",
        len(values.baseline),
    )


def is_printed(ours: float, printed: float) -> bool:
    """Say whether `printed` is our number: but for the order of sums, or rounded when written."""
    distance = abs(ours - printed)
    if distance <= _SAME_AS_PRINTED * max(1.0, abs(printed)):
        return True
    _, _, decimals = repr(printed).partition(".")
    return len(decimals) >= _WRITTEN_DIGITS and distance <= 0.5 * 10.0 ** -len(decimals)


def _item_values(
    pair: PairedSamples, metric: str, name: str, labels: Sequence[str] | None
) -> MetricValues | Undetermined:
    left, right = pair.baseline.values(metric), pair.candidate.values(metric)
    kept = np.isfinite(left) & np.isfinite(right)
    n_missing = int((~kept).sum())
    neither = int((~np.isfinite(left) & ~np.isfinite(right)).sum()) if name == "nanmean" else 0
    if not kept.any():
        return Undetermined("no item has a number for both models", len(left))
    chosen = np.flatnonzero(kept).tolist()
    return MetricValues(
        metric,
        pair.baseline.table,
        [pair.baseline.first[i] for i in chosen],
        left[kept],
        right[kept],
        None if labels is None else [labels[i] for i in chosen],
        name,
        n_left_out=n_missing,
        n_not_scored_by_either=neither,
    )


def _records(
    pair: PairedSamples, metric: str, labels: Sequence[str] | None
) -> tuple[tuple[list[Any], list[Any]], list[str] | None, list[int]]:
    """One record an answer, and its row; several answers to one item are one cluster."""
    left: list[Any] = []
    right: list[Any] = []
    found: list[str] = []
    rows: list[int] = []
    repeated = False
    for i in range(len(pair.baseline)):
        answers = list(zip(pair.baseline.rows_of(i), pair.candidate.rows_of(i), strict=False))
        repeated = repeated or len(answers) > 1
        for mine, theirs in answers:
            left.append(pair.baseline.table.record(mine, metric))
            right.append(pair.candidate.table.record(theirs, metric))
            found.append(labels[i] if labels is not None else str(i))
            rows.append(mine)
    clustered = labels is not None or repeated
    return (left, right), found if clustered else None, rows
