"""The history of a pair as one static SVG: a line of deltas with intervals for every number."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from modeldiff_harness.contracts import Figure
from modeldiff_harness.history.records import HistoryEntry, PairHistory
from modeldiff_harness.report import svg
from modeldiff_harness.report.wording import interval, signed

__all__ = ["history_figure", "sparkline"]

_WIDTH = 760
_NAMES = 200
_NUMBERS = 190
_ROW = 54
_TOP = 34
_BARS = "▁▂▃▄▅▆▇█"
_LONGEST_NAME = 24


def history_figure(pair: PairHistory) -> Figure | None:
    """Return every number over the reports, or None when nothing was measured twice.

    Reports stand at equal distances in the order of their dates; a mark above says the verdict.
    """
    names = _names(pair.entries)
    if len(pair.entries) < 2 or not names:
        return None
    shapes, told = list(_verdicts(pair.entries)), []
    for i, name in enumerate(names):
        shapes += _line_of(name, pair.entries, _TOP + _ROW * i)
        estimates = [e.numbers[name].estimate for e in pair.entries if name in e.numbers]
        told.append(f"{name}: " + ", ".join(signed(value, 1) for value in estimates))
    bottom = _TOP + _ROW * len(names)
    first, last = pair.entries[0].date[:10], pair.entries[-1].date[:10]
    shapes.append(svg.text(_place(0, len(pair.entries)), bottom + 14, first, kind="tick"))
    shapes.append(
        svg.text(
            _place(len(pair.entries) - 1, len(pair.entries)),
            bottom + 14,
            last,
            kind="tick",
            anchor="end",
        )
    )
    title = "Deltas over the stored reports, candidate − baseline, with 95 % intervals"
    alt = "; ".join(told)
    return Figure(title, svg.document(_WIDTH, bottom + 24, title, alt, shapes), alt)


def sparkline(values: Sequence[float | None]) -> str:
    """Return one bar a value, from the lowest to the highest; a dot where there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    if high == low:
        return "".join("·" if value is None else _BARS[3] for value in values)
    step = (high - low) / (len(_BARS) - 1)
    return "".join("·" if value is None else _BARS[round((value - low) / step)] for value in values)


def _names(entries: Sequence[HistoryEntry]) -> list[str]:
    """Names of numbers that at least two reports have, in the order of the youngest report."""
    counts: dict[str, int] = {}
    for entry in reversed(entries):
        for name in entry.numbers:
            counts[name] = counts.get(name, 0) + 1
    return [name for name, n in counts.items() if n > 1]


def _place(i: int, n: int) -> float:
    room = _WIDTH - _NUMBERS - _NAMES - 20
    return _NAMES + 10 + room * (i / (n - 1) if n > 1 else 0.5)


def _verdicts(entries: Sequence[HistoryEntry]) -> list[str]:
    marks = {"PASS": ("✓", "good"), "FAIL": ("✗", "bad"), "INCONCLUSIVE": ("?", "plain")}
    shapes = []
    for i, entry in enumerate(entries):
        if entry.outcome in marks:
            mark, kind = marks[entry.outcome]
            x = _place(i, len(entries))
            shapes.append(svg.text(x, 16, mark, kind=f"number {kind}", anchor="middle"))
    return shapes


def _line_of(name: str, entries: Sequence[HistoryEntry], top: float) -> list[str]:
    known = [(i, e.numbers[name]) for i, e in enumerate(entries) if name in e.numbers]
    ends = [v for _, number in known for v in (number.lower, number.upper)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    room = (high - low) or 1.0

    def height(value: float) -> float:
        return top + 6 + (_ROW - 14) * (high - value) / room

    last = known[-1][1]
    middle = top + _ROW / 2
    short = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
    numbers = f"{signed(last.estimate, 1)} ({interval(last.lower, last.upper, 1)})"
    left, right = _place(0, len(entries)), _place(len(entries) - 1, len(entries))
    shapes = [
        svg.line(left, height(0.0), right, height(0.0), kind="zero"),
        svg.text(_NAMES - 8, middle + 4, short, anchor="end"),
        svg.text(_WIDTH, middle + 4, numbers, kind="number", anchor="end"),
    ]
    for (i, before), (j, after) in pairwise(known):
        shapes.append(
            svg.line(
                _place(i, len(entries)),
                height(before.estimate),
                _place(j, len(entries)),
                height(after.estimate),
                kind="grid",
            )
        )
    for i, number in known:
        x = _place(i, len(entries))
        confirmed = number.lower > 0 or number.upper < 0
        better = (number.estimate > 0) == number.higher_is_better
        tone = ("good" if better else "bad") if confirmed else "plain"
        shapes.append(
            svg.line(x, height(number.lower), x, height(number.upper), kind=f"interval {tone}")
        )
        shapes.append(svg.circle(x, height(number.estimate), 4, kind=f"dot {tone}"))
    return shapes
