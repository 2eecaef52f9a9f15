"""All criteria of a gate on one axis: differences in margins, so that −1 is the line to hold."""

from __future__ import annotations

from collections.abc import Sequence

from modeldiff_harness.artifacts import CriterionVerdict
from modeldiff_harness.contracts import Figure
from modeldiff_harness.gate.words import amount, criterion_interval, outcome_text
from modeldiff_harness.report import svg
from modeldiff_harness.report.figures import LONGEST_NAME, WIDTH

__all__ = ["margin_plot"]

_NAMES = 210
_NUMBERS = 210
_ROW = 24
_TOP = 26
_WIDEST = 6.0
"""Intervals are cut at this many margins either way: one wide one must not squeeze the others."""
_TONES = {"PASS": "good", "FAIL": "bad", "INCONCLUSIVE": "plain"}


def margin_plot(criteria: Sequence[CriterionVerdict]) -> Figure | None:
    """Return intervals in units of each criterion's margin, better to the right, or None."""
    shown = [c for c in criteria if c.delta is not None and c.lower is not None]
    if not shown:
        return None
    spans = [_in_margins(c) for c in shown]
    inside = [_cut(v) for span in spans for v in span]
    axis = svg.Axis([-1.5, 1.0, *inside], _NAMES, WIDTH - _NUMBERS)
    bottom = _TOP + _ROW * len(shown)
    shapes = [
        svg.rectangle(
            axis.place(axis.low), _TOP - 4, axis.place(-1.0) - axis.place(axis.low),
            bottom - _TOP + 8, kind="band",
        )
    ]  # fmt: skip
    for tick in axis.ticks():
        x = axis.place(tick)
        shapes.append(svg.line(x, _TOP - 4, x, bottom + 4, kind="zero" if tick == 0 else "grid"))
        shapes.append(svg.text(x, bottom + 18, axis.tick_text(tick), kind="tick", anchor="middle"))
    for i, (found, (low, middle, high)) in enumerate(zip(shown, spans, strict=True)):
        y = _TOP + _ROW * (i + 0.5)
        tone = _TONES[found.outcome]
        name = found.name if len(found.name) <= LONGEST_NAME else found.name[:29] + "…"
        shapes += [
            svg.text(_NAMES - 12, y + 4, name, anchor="end"),
            svg.line(axis.place(_cut(low)), y, axis.place(_cut(high)), y, kind=f"interval {tone}"),
            *_ends(axis, y, low, high),
            *([svg.circle(axis.place(middle), y, 4, kind=f"dot {tone}")] if _fits(middle) else []),
            svg.text(
                WIDTH, y + 4,
                f"{amount(found.delta, found.unit)} ({criterion_interval(found)})",
                kind="number", anchor="end",
            ),
        ]  # fmt: skip
    title = (
        "Differences in margins, better to the right, with the gate's intervals; pale: losses "
        "beyond the margin"
    )
    if not all(_fits(v) for span in spans for v in span):
        title += f"; arrows: goes on beyond {_WIDEST:g} margins"
    alt = "; ".join(
        f"{c.name} {outcome_text(c)} {amount(c.delta, c.unit)} ({criterion_interval(c)})"
        for c in shown
    )
    return Figure(title, svg.document(WIDTH, bottom + 24, title, alt, shapes), alt)


def _in_margins(found: CriterionVerdict) -> tuple[float, float, float]:
    sign = 1.0 if found.higher_is_better else -1.0
    values = (found.lower or 0.0, found.delta or 0.0, found.upper or 0.0)
    low, middle, high = sorted(sign * value / found.margin for value in values)
    return low, middle, high


def _fits(value: float) -> bool:
    return abs(value) <= _WIDEST


def _cut(value: float) -> float:
    return max(-_WIDEST, min(_WIDEST, value))


def _ends(axis: svg.Axis, y: float, low: float, high: float) -> list[str]:
    """Return an arrow for each end of an interval that lies outside."""
    ends = [(low, "◂", "end")] if low < -_WIDEST else []
    ends += [(high, "▸", "start")] if high > _WIDEST else []
    return [
        svg.text(axis.place(_cut(value)), y + 4, arrow, kind="tick", anchor=anchor)
        for value, arrow, anchor in ends
    ]
