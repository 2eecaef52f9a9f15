"""The report in a terminal: complete numbers at any width from 80 columns on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from modeldiff_harness.artifacts import Report
from modeldiff_harness.contracts import RenderedSection, ReportSection, ReportTable
from modeldiff_harness.report.render.plain_text import one_line
from modeldiff_harness.report.render.sections import render_sections

__all__ = ["print_section", "print_table", "print_terminal"]

_STYLES = {"good": "green", "bad": "red", "muted": "dim", "": ""}
_NARROWEST_TEXT = 17
"""A column of words may be folded to this width; columns of numbers are never folded."""
_SHORT = 12
"""Widest column of words that is not folded either."""
_BETWEEN = 2
"""Characters that the frame takes between columns."""
_NUMERIC = re.compile(
    r"[-+−–<▲▼·]? ?[\d.,]*( ?(%|Elo|share|s))?( ?[(/] ?[^A-Za-z]*(to [^A-Za-z]*)?)?"
    r"( to [^A-Za-z]*)?"
)
"""Numbers, counts, intervals and marks of absence."""
_LEFT_OUT = ("items", "models", "cheap-looks")
"""Sections that a terminal leaves to the files."""


def print_terminal(report: Report, sections: Sequence[ReportSection], console: Console) -> None:
    """Print the sections with their open tables; `sections` as in `render_sections`."""
    pair = report.pair
    console.rule(Text(one_line(f"{pair.baseline.name} → {pair.candidate.name}"), style="bold"))
    for check in report.comparability:  # their section is left to the files, a warning is not
        if check.status == "warning":
            console.print(Text(one_line(f"warning: {check.check}: {check.detail}"), style="yellow"))
    for section in render_sections(report, sections):
        if section.key not in _LEFT_OUT:
            print_section(section, console)


def print_section(section: RenderedSection, console: Console, *, collapsed: bool = False) -> None:
    """Print one section; `collapsed` prints the tables that HTML shows closed as well."""
    console.print()
    console.print(Text(one_line(section.title), style="bold underline"))
    for paragraph in section.paragraphs:
        console.print(Text(one_line(paragraph)))
    for command in section.commands:
        # Not wrapped: a command must survive copying.
        console.print(Text(f"  {one_line(command)}", style="cyan"), soft_wrap=True)
    for table in section.tables:
        if collapsed or not table.collapsed:
            print_table(table, console)


def print_table(table: ReportTable, console: Console) -> None:
    """Print a table at the console's width: the last columns are left out, never a number cut."""
    columns = [_Column.of(table, i) for i in range(len(table.columns))]
    n_shown = _columns_that_fit(columns, console.width)
    shown = Table(
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    for column in columns[:n_shown]:
        shown.add_column(
            Text(column.name),
            justify="right" if column.numeric else "left",
            no_wrap=column.whole,
            overflow="fold",
            min_width=column.least,
        )
    tones = table.tones or ("",) * len(table.rows)
    for row, tone in zip(table.rows, tones, strict=True):
        shown.add_row(*(Text(one_line(cell)) for cell in row[:n_shown]), style=_STYLES[tone])
    console.print()
    console.print(Text(one_line(table.title), style="italic"))
    console.print(shown)
    notes = [table.note] if table.note else []
    if n_shown < len(columns):
        left = ", ".join(column.name for column in columns[n_shown:])
        notes.append(f"Not shown at this width: {left}.")
    if notes:
        console.print(Text(one_line(" ".join(notes)), style="dim"))


@dataclass(frozen=True)
class _Column:
    """What a column needs: numbers stay whole, words may be folded."""

    name: str
    widest: int
    numeric: bool
    whole: bool

    @classmethod
    def of(cls, table: ReportTable, i: int) -> _Column:
        name = one_line(table.columns[i])
        cells = [one_line(row[i]) for row in table.rows]
        widest = max(cell_len(text) for text in (name, *cells))
        numeric = all(_NUMERIC.fullmatch(cell) for cell in cells)
        return cls(name, widest, numeric, numeric or widest <= _SHORT)

    @property
    def least(self) -> int:
        return self.widest if self.whole else min(self.widest, _NARROWEST_TEXT)


def _columns_that_fit(columns: Sequence[_Column], width: int) -> int:
    """Return how many leading columns fit beside each other; at least one."""
    total, n = 0, 0
    for column in columns:
        total += column.least + _BETWEEN
        if total > width and n > 0:
            break
        n += 1
    return n
