"""The report's figures as static SVG with text alternatives; tables hold the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modeldiff_harness.artifacts import BenchmarkRow, PreferenceDeltas, ProfileRow
from modeldiff_harness.contracts import Figure
from modeldiff_harness.report import svg
from modeldiff_harness.report.wording import (
    capability_title,
    interval,
    on_unit_scale,
    signed,
    tone_of,
)

__all__ = ["forest_plot", "preference_bar", "share_chart"]

WIDTH = 760
_NAMES = 210
"""Room for names on the left."""
_NUMBERS = 170
"""Room for numbers on the right."""
_ROW = 24
_TOP = 26
LONGEST_NAME = 30


@dataclass(frozen=True)
class _Line:
    """One row of an interval plot."""

    name: str
    estimate: float
    lower: float
    upper: float
    tone: str
    band: tuple[float, float] | None = None


def forest_plot(rows: Sequence[BenchmarkRow]) -> Figure | None:
    """Return deltas with 95 % intervals, one row a task, coloured by q, and ±MDE as a pale band.

    Only metrics between 0 and 1 share the axis; None when there is none.
    """
    lines = [
        _Line(
            name=row.task + ("" if row.higher_is_better else " ↓"),
            estimate=row.delta,
            lower=row.lower,
            upper=row.upper,
            tone=tone_of(row) or "plain",
            band=(-row.mde, row.mde) if row.mde is not None else None,
        )
        for row in rows
        if on_unit_scale(row)
    ]
    if not lines:
        return None
    title = "Benchmark deltas, candidate − baseline, with 95 % intervals; pale: ±MDE"
    if left := [row.task for row in rows if not on_unit_scale(row)]:
        title += f"; not drawn, in another unit: {', '.join(left)}"
    return _interval_plot(title, lines, digits=3)


def share_chart(rows: Sequence[ProfileRow]) -> Figure | None:
    """Return differences of latent shares with intervals over the null band, or None."""
    lines = []
    for row in rows:
        difference = row.comparison.share_difference
        if difference is None:
            continue
        band = None
        if row.null_lower is not None and row.null_upper is not None:
            band = (row.null_lower, row.null_upper)
        lines.append(
            _Line(
                capability_title(row.key),
                difference.estimate,
                difference.lower,
                difference.upper,
                "plain",
                band,
            )
        )
    if not lines:
        return None
    title = "Share of specific latents, candidate − baseline (exploratory); pale: null band"
    return _interval_plot(title, lines, digits=2)


def preference_bar(deltas: PreferenceDeltas) -> Figure:
    """Return raw Elo and the parts that are known as bars with intervals."""
    known = tuple(deltas.elo_parts.items())
    axis = svg.Axis([v for _, p in known for v in (p.lower, p.upper)], _NAMES, WIDTH - _NUMBERS)
    bottom = _TOP + _ROW * len(known)
    shapes = _frame(axis, bottom)
    told = []
    for i, (name, part) in enumerate(known):
        middle = _TOP + _ROW * (i + 0.5)
        zero, end = axis.place(0.0), axis.place(part.estimate)
        shapes += [
            svg.text(_NAMES - 12, middle + 4, name, anchor="end"),
            svg.rectangle(zero, middle - 7, end - zero, 14, kind=name),
            svg.line(
                axis.place(part.lower), middle, axis.place(part.upper), middle, kind="whisker"
            ),
            _numbers(part.estimate, part.lower, part.upper, middle, 0),
        ]
        told.append(f"{name} {signed(part.estimate, 0)} ({interval(part.lower, part.upper, 0)})")
    title = "Preference in Elo, candidate − baseline: raw = substance + style + dispersion"
    alt = "; ".join(told)
    return Figure(title, svg.document(WIDTH, bottom + 24, title, alt, shapes), alt)


def _interval_plot(title: str, lines: Sequence[_Line], digits: int) -> Figure:
    values = [v for row in lines for v in (row.lower, row.upper, *(row.band or ()))]
    axis = svg.Axis(values, _NAMES, WIDTH - _NUMBERS)
    bottom = _TOP + _ROW * len(lines)
    shapes = []
    for i, row in enumerate(lines):
        if row.band is not None:
            start, end = (axis.place(v) for v in row.band)
            shapes.append(
                svg.rectangle(start, _TOP + _ROW * i + 2, end - start, _ROW - 4, kind="band")
            )
    shapes += _frame(axis, bottom)
    for i, row in enumerate(lines):
        middle = _TOP + _ROW * (i + 0.5)
        left, right = axis.place(row.lower), axis.place(row.upper)
        shapes += [
            svg.text(_NAMES - 12, middle + 4, _short(row.name), anchor="end"),
            svg.line(left, middle, right, middle, kind=f"interval {row.tone}"),
            svg.circle(axis.place(row.estimate), middle, 4, kind=f"dot {row.tone}"),
            _numbers(row.estimate, row.lower, row.upper, middle, digits),
        ]
    alt = "; ".join(
        f"{row.name} {signed(row.estimate, digits)} ({interval(row.lower, row.upper, digits)})"
        for row in lines
    )
    return Figure(title, svg.document(WIDTH, bottom + 24, title, alt, shapes), alt)


def _frame(axis: svg.Axis, bottom: float) -> list[str]:
    shapes = []
    for tick in axis.ticks():
        x = axis.place(tick)
        shapes.append(svg.line(x, _TOP - 4, x, bottom + 4, kind="zero" if tick == 0 else "grid"))
        shapes.append(svg.text(x, bottom + 18, axis.tick_text(tick), kind="tick", anchor="middle"))
    return shapes


def _numbers(estimate: float, lower: float, upper: float, middle: float, digits: int) -> str:
    content = f"{signed(estimate, digits)} ({interval(lower, upper, digits)})"
    return svg.text(WIDTH, middle + 4, content, kind="number", anchor="end")


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
