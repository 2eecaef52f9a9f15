"""report.html: one static, self-contained page; every text escaped, nothing loaded, no script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from modeldiff_harness.artifacts import Report, TokenWindow
from modeldiff_harness.contracts import RenderedSection, ReportSection
from modeldiff_harness.report.render.plain_text import one_line
from modeldiff_harness.report.render.sections import render_sections
from modeldiff_harness.report.sections.summary import stamp

__all__ = ["render_html", "section_html", "sections_html"]

_SHORT_CELL = 34
"""Longest cell that is kept on one line."""
SHADES = 8
"""Steps of activation shading; classes s1 … s8 of the style sheet."""


def render_html(report: Report, sections: Sequence[ReportSection]) -> str:
    """Return the page; `sections` as in `render_sections`.

    The style sheet is allowed by its digest alone, so that text which escaped its place could
    neither load, run nor restyle anything.
    """
    return _page(
        "report.html.j2",
        report=report,
        sections=render_sections(report, sections),
        stamp=stamp(report),
    )


def section_html(section: RenderedSection, kicker: str) -> str:
    """Return a page of one section, as static and as strict as the report; `kicker` heads it."""
    return sections_html((section,), section.title, kicker)


def sections_html(sections: Sequence[RenderedSection], title: str, kicker: str) -> str:
    """Return a page of several sections under `title`."""
    return _page("section.html.j2", sections=sections, title=title, kicker=kicker)


def _page(template: str, **values: Any) -> str:
    style = resources.files("modeldiff_harness.report.render").joinpath("templates", "report.css")
    css = style.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return _environment().get_template(template).render(**values, css=Markup(css), csp=policy)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("modeldiff_harness.report.render"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["one_line"] = one_line
    environment.filters["shaded"] = _shaded
    environment.filters["cell"] = _cell_class
    # Figures are made by code, not by text; their texts are escaped where they are made.
    environment.filters["svg"] = Markup
    return environment


def _shaded(window: TokenWindow) -> Iterator[tuple[str, int, float]]:
    """Yield (token, shade, activation); shade 0 = inactive, `SHADES` = the window's strongest."""
    top = max(window.activations, default=0.0)
    for token, activation in zip(window.tokens, window.activations, strict=True):
        share = activation / top if top > 0 else 0.0
        yield token, min(SHADES, max(0, -int(-share * SHADES // 1))), activation


def _cell_class(cell: str) -> str:
    """Return how a cell is set: number (whole, tabular), short (whole) or long (wrapped)."""
    if len(cell) > _SHORT_CELL:
        return "long"
    return "number" if cell[:1] in "+−–<0123456789▲▼·" else "short"
