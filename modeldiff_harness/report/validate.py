"""What no report can hold: numbers that are none, ends that are swapped, counts below zero.

Types are checked when report.json is read; here stands what types do not say.  Whatever is wrong is
one clause with the path that leads to it, since a report may come from anywhere and a verdict
follows from it.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from modeldiff_harness.artifacts import BenchmarkRow, PreferenceDeltas, Report

__all__ = ["impossible"]

_SHARES = frozenset({"p", "q", "p_exact", "p_value", "q_value", "heterogeneity_p", "tie_rate",
                     "flip_rate"})  # fmt: skip
"""Names of fields that lie between 0 and 1."""
_NOT_NEGATIVE = frozenset({"se", "n", "mde", "item_range", "df", "samples_per_item", "limit"})
_ROUNDING = 1e-6
"""Relative distance that the order of sums explains."""


def impossible(report: Report) -> str:
    """Return the first thing that no measurement can give, with its path; nothing if all can be."""
    found = (*_everywhere(report, "report"), *_benchmarks(report), *_preferences(report))
    return next(iter(found), "")


def _everywhere(value: Any, path: str) -> Iterator[str]:
    """Walk dataclasses, lists and mappings; fields mean the same wherever they stand."""
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        lower, upper = fields.get("lower"), fields.get("upper")
        if lower is not None and upper is not None and lower > upper:
            yield f"{path}: the lower end {lower:g} is above the upper end {upper:g}"
        for name, found in fields.items():
            yield from _one(name, found, f"{path}.{name}")
            yield from _everywhere(found, f"{path}.{name}")
    elif isinstance(value, dict):
        for key, found in value.items():
            yield from _everywhere(found, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for i, found in enumerate(value):
            yield from _everywhere(found, f"{path}.{i}")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{path} is {value}, which is no number"


def _one(name: str, value: Any, path: str) -> Iterator[str]:
    if not _is_number(value) or not math.isfinite(value):
        return
    if name in _SHARES and not 0 <= value <= 1:
        yield f"{path} is {value:g}; it lies between 0 and 1"
    if (name in _NOT_NEGATIVE or name.startswith("n_")) and value < 0:
        yield f"{path} is {value:g}; it cannot be negative"


def _benchmarks(report: Report) -> Iterator[str]:
    rows = report.benchmarks.rows
    for i, row in enumerate(rows):
        path = f"report.benchmarks.rows.{i} ({row.task})"
        if row.n < 1:
            yield f"{path} has no items: n is {row.n}"
        yield from (f"{path}: {clause}" for clause in _contradictions(row))
    primary = Counter(row.task for row in rows if row.primary)
    for task, n in primary.items():
        if n > 1:
            yield f"report.benchmarks.rows: {task} has {n} primary rows"
    if report.benchmarks.status == "measured" and not rows:
        yield "report.benchmarks is measured and holds no rows"


def _contradictions(row: BenchmarkRow) -> Iterator[str]:
    difference = row.candidate - row.baseline
    size = max(1.0, abs(row.candidate), abs(row.baseline))
    if abs(difference - row.delta) > _ROUNDING * size:
        yield f"delta is {row.delta:g}, but candidate − baseline is {difference:g}"
    if row.counts is not None and row.counts.n != row.n:
        yield f"n is {row.n}, but its items are counted as {row.counts.n}"
    if row.clusters is not None and not 1 <= row.clusters.n <= row.n:
        yield f"{row.n} items cannot make {row.clusters.n} clusters"


def _preferences(report: Report) -> Iterator[str]:
    deltas: PreferenceDeltas | None = report.preferences.deltas
    if deltas is None:
        return
    if deltas.n_battles < 1 or deltas.n_prompts < 1:
        yield (
            f"report.preferences is measured with {deltas.n_battles} battles on"
            f" {deltas.n_prompts} prompts"
        )
    if not 0 <= deltas.win_rate.estimate <= 1:
        yield f"report.preferences.deltas.win_rate is {deltas.win_rate.estimate:g}, not a share"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
