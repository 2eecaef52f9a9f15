"""Results from a file or folder: finds the importer that reads it and takes what it gives."""

from __future__ import annotations

import fnmatch
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from modeldiff_harness.artifacts import ImportedResults
from modeldiff_harness.contracts import ResultImporter
from modeldiff_harness.errors import UsageError, did_you_mean

__all__ = ["AUTO", "import_results", "keep_tasks", "require_results"]

AUTO = "auto"


def import_results(
    path: Path, importers: Mapping[str, ResultImporter], format: str = AUTO
) -> ImportedResults:
    """Read one model's results at `path` with the importer named `format`.

    `importers`: name → importer.  `auto` takes the one importer that recognises the path.

    Raises:
        UsageError: there is nothing at `path`, it holds no samples, the format is unknown, or
            `auto` finds no importer or several.
    """
    require_results(path)
    if format == AUTO:
        found = sorted(name for name, reader in importers.items() if reader.recognises(path))
        if len(found) != 1:
            what = "no importer recognises" if not found else f"{' and '.join(found)} recognise"
            raise UsageError(
                f"{what} {path}.",
                hint="It takes the folder of lm-eval --log_samples, Inspect's .eval or .json logs, "
                "or lighteval's details; --format_in names one of "
                f"{', '.join(sorted(importers))}.",
            )
        format = found[0]
    if format not in importers:
        raise UsageError(f"unknown result format {format!r}.", hint=did_you_mean(format, importers))
    try:
        results = importers[format].read(path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}.") from error
    if not any(task.samples for task in results.tasks):
        raise UsageError(
            f"{path} holds no samples.", hint="Paired statistics need every item: log samples."
        )
    return results


def require_results(path: Path) -> None:
    """Raise UsageError unless there is a file or a folder at `path`: nothing that never ends."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        hint = "Give a folder or file that exists."
        raise UsageError(f"there are no results at {path}.", hint=hint) from None
    except (OSError, ValueError) as error:  # a name of 300 bytes, a NUL, no permission
        problem = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read results at {str(path)[:200]!r}: {problem}.") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UsageError(
            f"{path} is neither a file nor a folder.", hint="Name the results themselves."
        )


def keep_tasks(results: ImportedResults, wanted: Sequence[str]) -> ImportedResults:
    """Return the results of the tasks whose names fit one of the patterns, groups included.

    Raises UsageError with near names for a pattern that fits none.
    """
    if not wanted:
        return results
    known = [task.task for task in results.tasks]
    kept: set[str] = set()
    for pattern in wanted:
        members = results.groups.get(pattern, ())
        fitting = [t for t in known if t in members or fnmatch.fnmatchcase(t, pattern)]
        if not fitting:
            raise UsageError(
                f"{results.model} has no results of task {pattern!r}.",
                hint=did_you_mean(pattern, [*known, *results.groups]),
            )
        kept.update(fitting)
    return replace(
        results,
        tasks=tuple(task for task in results.tasks if task.task in kept),
        groups={group: leaves for group, leaves in results.groups.items() if set(leaves) <= kept},
    )
