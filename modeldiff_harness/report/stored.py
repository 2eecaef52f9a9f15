"""The report that a person names: a run, a folder, or the file itself."""

from __future__ import annotations

from pathlib import Path

from modeldiff_harness.artifacts import Report
from modeldiff_harness.report.schema import read_report
from modeldiff_harness.store import default_data_folder, resolve_run_folder

__all__ = ["stored_report"]


def stored_report(name: str) -> tuple[Report, Path]:
    """Return the report of a run (a name of `mdh runs`, a folder, `latest`) and its folder.

    A report.json may be named too.  UsageError when there is none, or it cannot be read.
    """
    path = Path(name)
    if not path.is_file():
        path = resolve_run_folder(default_data_folder(), name) / "report.json"
    return read_report(path), path.parent
