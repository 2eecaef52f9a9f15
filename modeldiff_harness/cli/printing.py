"""What commands print on standard output: tables at any width, JSON where asked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from modeldiff_harness.report.render.plain_text import printable

if TYPE_CHECKING:
    from modeldiff_harness.artifacts import Report
    from modeldiff_harness.contracts import RenderedSection, ReportSection
    from modeldiff_harness.pipeline import Plan
    from modeldiff_harness.stages import Stage

__all__ = [
    "json_text",
    "print_json",
    "print_plan",
    "print_report",
    "print_stages",
    "print_table",
    "show_section",
]

_SHORT_COLUMN = 14
_PIPE_WIDTH = 1000


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows without boxes; cells are untrusted text and never read as markup.

    The first column and short ones keep to one line, the others wrap to the terminal's width; into
    a pipe every row is one line.
    """
    console = table_console()
    cells = [[Text(printable(str(cell))) for cell in row] for row in rows]
    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for index, column in enumerate(columns):
        widest = max((len(row[index]) for row in cells), default=0)
        table.add_column(column, overflow="fold", no_wrap=index == 0 or widest <= _SHORT_COLUMN)
    for row in cells:
        table.add_row(*row)
    console.print(table)


def table_console() -> Console:
    """Return standard output as wide as the terminal, or as wide as needed when it is a pipe."""
    console = Console(highlight=False)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(highlight=False, width=_PIPE_WIDTH)


def print_json(value: Any) -> None:
    """Print `value` as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def json_text(value: Any) -> str:
    """Return `value` as one JSON text, indented as report.json is, without NaN."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def show_section(
    section: RenderedSection, output_format: str, kicker: str, *, to_file: bool = False
) -> str:
    """Return one section as text (for the terminal's width), markdown or html."""
    if output_format == "html":
        from modeldiff_harness.report.render.html import section_html

        return section_html(section, kicker)
    if output_format == "markdown":
        from modeldiff_harness.report.render.markdown import section_markdown

        return section_markdown(section)
    from modeldiff_harness.report.render.terminal import print_section

    console = Console(highlight=False)
    if to_file:
        console = Console(highlight=False, width=100, no_color=True)
    with console.capture() as captured:
        print_section(section, console, collapsed=True)
    return captured.get()


def print_plan(plan: Plan) -> None:
    """Print what a run would do."""
    rows = [(row.verb, row.title, row.estimate, row.state) for row in plan.rows]
    print_table("Plan (nothing was run)", ("stage", "what", "work", "state"), rows)
    for line in plan.lines:
        click.echo(line)


def print_stages(stages: Sequence[Stage[Any]]) -> None:
    """Print where the artifacts of finished stages lie."""
    for stage in stages:
        click.echo(f"{stage.verb:<9} {printable(stage.title)}\n  {stage.folder()}")


def print_report(
    report: Report, sections: Sequence[ReportSection], output_format: str, folder: Path | None
) -> None:
    """Print a report as tables, Markdown, HTML or JSON; `folder`: where its files lie, if any."""
    from modeldiff_harness.report.render.html import render_html
    from modeldiff_harness.report.render.markdown import render_markdown
    from modeldiff_harness.report.render.terminal import print_terminal
    from modeldiff_harness.report.schema import to_json

    if output_format == "json":
        click.echo(to_json(report))
    elif output_format in ("md", "markdown"):
        click.echo(render_markdown(report, sections))
    elif output_format == "html":
        click.echo(render_html(report, sections))
    else:
        print_terminal(report, sections, Console())
        if folder is not None:
            click.echo(f"report: {folder / 'report.html'}")
