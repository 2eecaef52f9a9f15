"""What commands print on standard output: tables at any width, JSON where asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from modeldiff_harness.artifacts import Report
    from modeldiff_harness.pipeline import Plan
    from modeldiff_harness.stages import Stage

__all__ = ["print_json", "print_plan", "print_report", "print_stages", "print_table"]


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows as a table; cells are untrusted text and never read as markup."""
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console().print(table)


def print_json(value: Any) -> None:
    """Print `value` as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_plan(plan: Plan) -> None:
    """Print what a run would do."""
    rows = [(row.verb, row.title, row.estimate, row.state) for row in plan.rows]
    print_table("Plan (nothing was run)", ("stage", "what", "work", "state"), rows)
    for line in plan.lines:
        click.echo(line)


def print_stages(stages: Sequence[Stage[Any]]) -> None:
    """Print where the artifacts of finished stages lie."""
    rows = [(s.verb, s.title, s.key[:12], str(s.folder())) for s in stages]
    print_table("", ("stage", "what", "key", "folder"), rows)


def print_report(report: Report, folder: Path, output_format: str) -> None:
    """Print the report as terminal tables, Markdown or JSON."""
    from modeldiff_harness.report.markdown import render_markdown
    from modeldiff_harness.report.schema import to_json
    from modeldiff_harness.report.terminal import print_terminal

    if output_format == "json":
        click.echo(to_json(report))
    elif output_format == "md":
        click.echo(render_markdown(report))
    else:
        print_terminal(report, Console())
        click.echo(f"report: {folder / 'report.html'}")
