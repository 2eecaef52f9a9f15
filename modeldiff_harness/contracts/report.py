"""Sections of the report, ready for any renderer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from modeldiff_harness.artifacts import TokenWindow

__all__ = ["ExampleGroup", "Figure", "RenderedSection", "ReportSection", "ReportTable"]


@dataclass(frozen=True)
class ReportTable:
    """A table of already formatted cells; renderers escape them.

    Columns stand in order of importance: a narrow terminal leaves out the last ones.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    tones: tuple[str, ...] = ()
    """A tone a row: "", good, bad or muted; empty when no row has one."""
    collapsed: bool = False
    """True for long or secondary tables: closed in HTML, left out in a terminal."""


@dataclass(frozen=True)
class Figure:
    """A static figure as SVG text made by the harness's own code, with its text alternative."""

    title: str
    svg: str
    alt: str


@dataclass(frozen=True)
class ExampleGroup:
    """Token windows of one latent, shaded by activation where the renderer can."""

    title: str
    windows: tuple[TokenWindow, ...]


@dataclass(frozen=True)
class RenderedSection:
    """One section of the report, ready for any renderer; all text is untrusted and plain."""

    key: str
    title: str
    paragraphs: tuple[str, ...]
    tables: tuple[ReportTable, ...] = ()
    figures: tuple[Figure, ...] = ()
    examples: tuple[ExampleGroup, ...] = ()
    """Left out in a terminal."""
    commands: tuple[str, ...] = ()
    """Shell commands, one a block."""
    reading: tuple[str, ...] = ()
    """How to read the section, the same in every report; left out in a terminal."""


class ReportSection(Protocol):
    """Adds a section to the report."""

    order: int
    """Sections are sorted by (order, name); built-ins use hundreds."""

    def render(self, report: Any) -> RenderedSection | None:
        """Return the section, or None when it has nothing to say about this report."""
        ...
