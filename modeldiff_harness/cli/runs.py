"""`mdh runs`: the runs on this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from modeldiff_harness.cli.printing import print_json, print_table
from modeldiff_harness.errors import RunError
from modeldiff_harness.store import default_data_folder, read_run

__all__ = ["runs"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def runs(as_json: bool) -> None:
    """List runs, youngest last: pair, state, stages done, where."""
    found: list[dict[str, Any]] = []
    for file in sorted((default_data_folder() / "runs").glob("*/run.json"), key=_age):
        record: dict[str, Any] = {"pair": ["?", "?"], "state": "unreadable", "stages": []}
        try:
            checked = read_run(file)
            record = {**asdict(checked), "started": checked.started or "?"}
            if as_json:
                record = json.loads(file.read_text(encoding="utf-8"))
        except RunError as error:
            record |= {"started": "?", "error": error.message}
        found.append({"run": file.parent.name, "folder": str(file.parent), **record})
    if as_json:
        print_json(found)
        return
    rows = [
        (r["run"], r["state"], len(r["stages"]), r["started"][:16].replace("T", " ")) for r in found
    ]
    print_table("", ("run", "state", "stages", "started"), rows)


def _age(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:  # removed meanwhile, or a link to nothing
        return 0.0
