"""A few SVG shapes as escaped text; colours come from the page through classes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10

from modeldiff_harness.report.render.plain_text import one_line

__all__ = ["Axis", "circle", "document", "line", "rectangle", "text"]


class Axis:
    """A linear scale from values to horizontal places, with round ticks; zero is always inside."""

    def __init__(self, values: Sequence[float], left: float, right: float) -> None:
        low, high = min(0.0, *values), max(0.0, *values)
        if high - low <= 0:
            low, high = -1.0, 1.0
        self.step = _round_step((high - low) / 4)
        self.low = floor(low / self.step - 1e-9) * self.step
        self.high = ceil(high / self.step + 1e-9) * self.step
        self.left, self.right = left, right

    def place(self, value: float) -> float:
        """Return the horizontal place of `value`."""
        share = (value - self.low) / (self.high - self.low)
        return self.left + share * (self.right - self.left)

    def ticks(self) -> list[float]:
        """Return the round values of the axis, ends included."""
        n = round((self.high - self.low) / self.step)
        return [round(self.low + i * self.step, 10) for i in range(n + 1)]

    def tick_text(self, value: float) -> str:
        """Return a tick's label, signed, with as many digits as the step needs."""
        if value == 0:
            return "0"
        digits = max(0, -floor(log10(self.step)))
        return f"{value:+.{digits}f}".replace("-", "−")


def _round_step(rough: float) -> float:
    power = 10.0 ** floor(log10(rough))
    return next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= rough * (1 - 1e-9))


def document(width: int, height: float, title: str, description: str, shapes: Sequence[str]) -> str:
    """Return a whole SVG element with its text alternative."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:g}" '
        f'width="{width}" height="{height:g}" role="img" class="figure">'
    )
    named = f"<title>{_safe(title)}</title><desc>{_safe(description)}</desc>"
    return head + named + "".join(shapes) + "</svg>"


def text(x: float, y: float, content: str, *, kind: str = "", anchor: str = "start") -> str:
    """Return a line of text; `y` is its baseline."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}" '
        f'font-size="12" fill="currentColor">{_safe(content)}</text>'
    )


def line(x1: float, y1: float, x2: float, y2: float, *, kind: str) -> str:
    """Return a straight line."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}" '
        'stroke="currentColor"/>'
    )


def circle(x: float, y: float, radius: float, *, kind: str) -> str:
    """Return a filled dot."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{kind}" fill="currentColor"/>'


def rectangle(x: float, y: float, width: float, height: float, *, kind: str) -> str:
    """Return a filled rectangle; a negative width grows to the left."""
    start = min(x, x + width)
    return (
        f'<rect x="{start:.1f}" y="{y:.1f}" width="{abs(width):.1f}" height="{height:g}" '
        f'class="{kind}" fill="currentColor" fill-opacity="0.6"/>'
    )


def _safe(content: str) -> str:
    return escape(one_line(content))
