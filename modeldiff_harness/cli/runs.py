"""`mdh runs`: the runs on this machine."""

from __future__ import annotations

import json

import click

from modeldiff_harness.cli.printing import print_json, print_table
from modeldiff_harness.store import default_data_folder

__all__ = ["runs"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def runs(as_json: bool) -> None:
    """List runs, youngest last: pair, state, stages done, where."""
    found = []
    files = (default_data_folder() / "runs").glob("*/run.json")
    for file in sorted(files, key=lambda p: p.stat().st_mtime):
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            record = {"pair": ["?", "?"], "state": "unreadable", "stages": [], "started": "?"}
        found.append({"run": file.parent.name, "folder": str(file.parent), **record})
    if as_json:
        print_json(found)
        return
    rows = [
        (r["run"], r["state"], len(r["stages"]), r["started"][:16].replace("T", " ")) for r in found
    ]
    print_table("", ("run", "state", "stages", "started"), rows)
