"""What a difference does not speak of: items that enter none, sides that are not alike.

A release is decided on what was measured of both models.  Items that are missing are counted here,
whatever the reason, so that the gate can take them at their worst (C. F. Manski, Partial
Identification of Probability Distributions, 2003); whatever else makes the two sides two different
measurements is told as a clause.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from modeldiff_harness.artifacts import MeasuredTask
from modeldiff_harness.benchmarks.pairing.align import (
    MOST_UNMATCHED_SHARE,
    PairedSamples,
    primary_metric,
)
from modeldiff_harness.benchmarks.pairing.metric_values import MetricValues, is_printed
from modeldiff_harness.benchmarks.pairing.sides import PairedSide
from modeldiff_harness.benchmarks.sample_table import SampleTable
from modeldiff_harness.errors import RunError, UsageError

__all__ = [
    "count_missing",
    "item_range",
    "other_primary_metric",
    "printed_otherwise",
    "repeated_documents",
    "require_all_samples",
    "settings_not_recorded",
]

Sides = tuple[MeasuredTask, MeasuredTask]
"""Baseline and candidate."""

_SIDES = ("baseline", "candidate")


def require_all_samples(sides: Sides, *, allow_unmatched: bool) -> None:
    """Raise RunError when a side's samples lack more than 1 % of the items its results count.

    The results say how many items were scored, the samples hold them: fewer are a file that was
    cut, also when both sides' files were cut alike.
    """
    for name, side in zip(_SIDES, sides, strict=True):
        n_read, n_said = _n_items_read(side), _n_items_said(side)
        if n_said is None or allow_unmatched:
            continue
        if n_said - n_read > MOST_UNMATCHED_SHARE * n_said:
            raise RunError(
                f"task {side.task!r}: the {name}'s results count {n_said:,} items, its samples hold"
                f" {n_read:,}.",
                hint="The samples are cut off: copy or write them again, or pass"
                " --allow_unmatched.",
            )


def count_missing(sides: Sides, pair: PairedSamples, values: MetricValues) -> int:
    """Count the items of the task that enter no difference of the metric.

    Of the union of both sides' items, and of the number that either side's results state, the part
    without a difference.  Items that an aggregation over numbers leaves out for both models are no
    part of the metric.
    """
    n_compared = len(pair.baseline) - values.n_left_out
    n_known = len(pair.baseline) + pair.n_unmatched
    n_said = max(_n_items_said(side) or 0 for side in sides)
    return max(0, max(n_known, n_said) - n_compared - values.n_not_scored_by_either)


def item_range(values: MetricValues) -> float | None:
    """Return how far apart two values of one item can lie: 1 between 0 and 1, else not known."""
    if not values.per_item:
        return None
    both = np.concatenate([values.baseline, values.candidate])
    return 1.0 if bool(((both >= 0.0) & (both <= 1.0)).all()) else None


def settings_not_recorded(sides: Sides) -> Iterator[str]:
    """Say which settings one side records and the other does not, and which run is not whole.

    Settings that both record and that differ are refused before.
    """
    for what, none, recorded in (
        ("number of shots", None, [side.num_fewshot for side in sides]),
        ("task version", "", [side.version for side in sides]),
    ):
        known = [found != none for found in recorded]
        if known[0] != known[1]:
            has, lacks = (0, 1) if known[0] else (1, 0)
            yield (
                f"the {what} is {recorded[has]} for the {_SIDES[has]} and not recorded for the"
                f" {_SIDES[lacks]}"
            )
    for name, side in zip(_SIDES, sides, strict=True):
        if side.unfinished:
            yield f"the {name}'s run is not whole: it {side.unfinished}"
        n_read = _n_items_read(side)
        if side.n_items is not None and n_read > side.n_items:
            yield (
                f"the {name}'s results count {side.n_items:,} items, its samples hold {n_read:,}"
            )


def other_primary_metric(
    sides: Sides, pairs: Sequence[PairedSamples], chosen: tuple[str, str]
) -> Iterator[str]:
    """Say where a side's own primary metric is another than the one that both have."""
    for name, side in zip(_SIDES, sides, strict=True):
        own = [
            (metric, pair.filter)
            for pair in pairs
            for metric in (pair.baseline if name == "baseline" else pair.candidate).metrics()
        ]
        try:
            wanted = primary_metric(side.task, own, None, side.primary_metrics)
        except UsageError:
            continue
        if wanted != chosen and wanted[0] != chosen[0]:
            yield (
                f"the {name}'s primary metric is {wanted[0]}, which the other model lacks:"
                f" {chosen[0]} stands in (--metric {side.task}={chosen[0]} says so)"
            )


def printed_otherwise(
    sides: Sides, pair: PairedSamples, values: MetricValues, ours: tuple[float, float]
) -> Iterator[str]:
    """Say where a side's printed number is not what all its own samples give.

    `ours`: the metric over the items that are compared.  A mean is taken over everything the side
    answered, with or without a partner; another aggregation is checked where nothing is missing.
    """
    for name, side, paired, told in zip(
        _SIDES, sides, (pair.baseline, pair.candidate), ours, strict=True
    ):
        printed = side.printed.get(f"{values.metric},{pair.filter}")
        if printed is None or not math.isfinite(printed):
            continue
        found: float | None = told
        if values.per_item:
            found = _mean_of_all(paired, pair, values.metric)
        elif count_missing(sides, pair, values) or pair.samples_per_item != 1.0:
            found = None
        if found is not None and not is_printed(found, printed):
            yield (
                f"{values.metric} is {found:.6g} over the {name}'s samples, but {printed:.6g} was"
                " printed"
            )


def repeated_documents(pair: PairedSamples) -> int:
    """Count the items that are another item again, under another number.

    The same document, or the same question with the same target where the document holds a number.
    """
    table, rows = pair.baseline.table, pair.baseline.first
    documents = table.doc_hash.take(rows)
    asked = [
        (prompt, target)
        for prompt, target, text in zip(
            table.prompt_hash.take(rows), table.target_hash.take(rows), table.prompt.take(rows),
            strict=True,
        )
        if text.strip()
    ]  # fmt: skip
    return max(len(found) - len(set(found)) for found in (documents, asked))


def _mean_of_all(side: PairedSide, pair: PairedSamples, metric: str) -> float | None:
    """The mean over a side's items, partnerless ones too; None without a number."""
    table, column = side.table, side.table.values.get(metric)
    if column is None:
        return None
    rows = table.rows_by_filter()[pair.filter]
    values = column.values()[np.asarray(rows)]
    if side.further or pair.n_duplicates:
        by_item: dict[tuple[int | str, str], set[tuple[int, float]]] = {}
        for row, value in zip(rows, values.tolist(), strict=True):
            if math.isfinite(value):  # a set: a row that was written twice is one answer
                answer = table.repeat.get(row, 0), value
                by_item.setdefault(table.key(row), set()).add(answer)
        answers = by_item.values()
        values = np.array([sum(value for _, value in one) / len(one) for one in answers])
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def _n_items_said(side: MeasuredTask) -> int | None:
    """Items that the results count; where they count the answers to them, those items."""
    table = SampleTable.of(side.samples)
    n_answers = max((len(rows) for rows in table.rows_by_filter().values()), default=0)
    return _n_items_read(side) if side.n_items == n_answers else side.n_items


def _n_items_read(side: MeasuredTask) -> int:
    """Items among the samples, under all filters together."""
    table = SampleTable.of(side.samples)
    n_numbers = len(set(table.doc_id))
    if side.n_items is None or n_numbers == side.n_items:
        return n_numbers
    return len(set(map(table.key, range(len(table)))))
