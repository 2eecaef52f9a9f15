"""The report in a terminal: complete numbers at any width from 80 columns on."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from modeldiff_harness.artifacts import Report
from modeldiff_harness.contracts import RenderedSection, ReportSection, ReportTable
from modeldiff_harness.report.plain_text import one_line
from modeldiff_harness.report.sections import render_sections

__all__ = ["print_terminal"]

_STYLES = {"good": "green", "bad": "red", "muted": "dim", "": ""}
_NARROWEST_TEXT = 18
"""A column of words may be folded to this width; columns of numbers are never folded."""
_LEFT_OUT = ("items", "models", "cheap-looks")
"""Sections that a terminal leaves to the files."""


def print_terminal(
    report: Report, console: Console, sections: Sequence[ReportSection] | None = None
) -> None:
    """Print the sections with their open tables; `sections` as in `render_sections`."""
    pair = report.pair
    console.rule(Text(one_line(f"{pair.baseline.name} → {pair.candidate.name}"), style="bold"))
    for section in render_sections(report, sections):
        if section.key not in _LEFT_OUT:
            _print_section(section, console)


def _print_section(section: RenderedSection, console: Console) -> None:
    console.print()
    console.print(Text(one_line(section.title), style="bold underline"))
    for paragraph in section.paragraphs:
        console.print(Text(one_line(paragraph)))
    for command in section.commands:
        # Not wrapped: a command must survive copying.
        console.print(Padding(Text(one_line(command), style="cyan"), (0, 2)), soft_wrap=True)
    for table in section.tables:
        if not table.collapsed:
            _print_table(table, console)


def _print_table(table: ReportTable, console: Console) -> None:
    numeric = [_is_numeric(table, i) for i in range(len(table.columns))]
    n_shown = _columns_that_fit(table, numeric, console.width)
    shown = Table(
        title=Text(one_line(table.title), style="italic"),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    for i, name in enumerate(table.columns[:n_shown]):
        shown.add_column(
            Text(one_line(name)),
            justify="right" if numeric[i] else "left",
            no_wrap=numeric[i],
            overflow="fold",
            min_width=_least(table, numeric, i),
        )
    tones = table.tones or ("",) * len(table.rows)
    for row, tone in zip(table.rows, tones, strict=True):
        shown.add_row(*(Text(one_line(cell)) for cell in row[:n_shown]), style=_STYLES[tone])
    console.print(shown)
    notes = [table.note] if table.note else []
    if n_shown < len(table.columns):
        notes.append(f"At this width without: {', '.join(table.columns[n_shown:])}.")
    if notes:
        console.print(Text(one_line(" ".join(notes)), style="dim"))


def _is_numeric(table: ReportTable, i: int) -> bool:
    """Say whether every cell of a column is short and numeric, so that it must stay whole."""
    return all(re.fullmatch(r"[^A-Za-z]*(to[^A-Za-z]*)?|.{0,11}", row[i]) for row in table.rows)


def _least(table: ReportTable, numeric: Sequence[bool], i: int) -> int:
    widths = [cell_len(one_line(row[i])) for row in table.rows]
    widest = max([*widths, cell_len(one_line(table.columns[i]))])
    return widest if numeric[i] else min(widest, _NARROWEST_TEXT)


def _columns_that_fit(table: ReportTable, numeric: Sequence[bool], width: int) -> int:
    total, n = 0, 0
    for i in range(len(table.columns)):
        total += _least(table, numeric, i) + 1
        if total > width and n > 0:
            break
        n += 1
    return n
