"""Importers of benchmark results."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from modeldiff_harness.artifacts import ImportedResults

__all__ = ["ResultImporter"]


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
