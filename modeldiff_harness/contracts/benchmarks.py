"""Importers of benchmark results, and suites of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from modeldiff_harness.artifacts import ImportedResults

__all__ = ["ResultImporter", "TaskSuite"]


class ResultImporter(Protocol):
    """Reads the benchmark results of one model that another program wrote."""

    def recognises(self, path: Path) -> bool:
        """Say whether the file or folder looks like this format (reads little, never raises)."""
        ...

    def read(self, path: Path) -> ImportedResults:
        """Return one model's results item by item.

        The content is hostile: nothing of it is executed or unpacked to disk, and sizes are
        bounded.  Raises UsageError in one line for a path that holds no readable results, or those
        of several models.
        """
        ...


class TaskSuite(Protocol):
    """The factory itself: finds tasks that arrive in an installed distribution."""

    def __call__(self) -> Path | None:
        """Return a folder of lm-eval tasks; None when its data are not installed.

        Nothing is downloaded.  The component's summary says how to install the data.
        """
        ...
