"""`mdh tasks`: everything --tasks understands."""

from __future__ import annotations

import dataclasses

import click

from modeldiff_harness.cli.printing import print_json, print_table

__all__ = ["tasks"]


@click.command(short_help="List what --tasks understands.")
@click.argument("pattern", default="")
@click.option("--include_path", multiple=True, help="Folders with more lm-eval tasks.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def tasks(pattern: str, include_path: tuple[str, ...], as_json: bool) -> None:
    """List tasks whose name contains PATTERN: lm-eval's, ours, and the words for whole arms."""
    from modeldiff_harness.benchmarks.tasks import list_tasks

    rows = [row for row in list_tasks(include_path) if pattern in row.name]
    if as_json:
        print_json([dataclasses.asdict(row) for row in rows])
        return
    cells = [(row.name, row.kind, row.source, row.capability or "") for row in rows]
    print_table("", ("task", "kind", "source", "capability"), cells)
