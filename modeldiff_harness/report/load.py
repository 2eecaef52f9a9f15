"""A finished report from its folder, by name or path; no model and no torch."""

from __future__ import annotations

from pathlib import Path

from modeldiff_harness.artifacts import Report
from modeldiff_harness.report.schema import read_report
from modeldiff_harness.store import default_data_folder, resolve_run_folder

__all__ = ["load"]


def load(run: str | Path = "latest") -> Report:
    """Return the report of a run: its name in `mdh runs`, `latest`, a folder or a report.json.

    Raises UsageError when there is none.
    """
    path = Path(run)
    if path.is_file():
        return read_report(path)
    return read_report(resolve_run_folder(default_data_folder(), str(run)) / "report.json")
