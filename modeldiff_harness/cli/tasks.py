"""`mdh tasks`: everything --tasks understands."""

from __future__ import annotations

import dataclasses
import fnmatch

import click

from modeldiff_harness.cli.printing import print_json, print_table
from modeldiff_harness.errors import UsageError, did_you_mean

__all__ = ["tasks"]


@click.command(short_help="List what --tasks understands.")
@click.argument("pattern", default="")
@click.option("--include_path", multiple=True, help="Folders with more lm-eval tasks.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def tasks(pattern: str, include_path: tuple[str, ...], as_json: bool) -> None:
    """List tasks whose name contains PATTERN, or fits it where it has `*`, `?` or `[…]`.

    lm-eval's, ours, and the words for whole arms.
    """
    from modeldiff_harness.benchmarks.tasks import list_tasks

    every = list_tasks(include_path)
    glob = any(mark in pattern for mark in "*?[")
    rows = [
        row
        for row in every
        if (fnmatch.fnmatchcase(row.name, pattern) if glob else pattern in row.name)
    ]
    if not rows:
        hint = did_you_mean(pattern.strip("*?"), (row.name for row in every))
        raise UsageError(f"no task matches {pattern!r}.", hint=hint)
    if as_json:
        print_json([dataclasses.asdict(row) for row in rows])
        return
    cells = [(row.name, row.kind, row.source, row.capability or "") for row in rows]
    print_table("", ("task", "kind", "source", "capability"), cells)
