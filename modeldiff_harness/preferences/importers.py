"""Battles from a file: finds the importer that reads it and takes what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from modeldiff_harness.artifacts import Battles
from modeldiff_harness.contracts import BattleImporter
from modeldiff_harness.errors import UsageError, did_you_mean

__all__ = ["import_battles"]

AUTO = "auto"


def import_battles(
    path: Path, importers: Mapping[str, BattleImporter], format: str = AUTO
) -> Battles:
    """Read the battles of `path` with the importer named `format`.

    `importers`: name → importer.  `auto` takes the one importer that recognises the file.  Rows
    that cannot be used are counted by reason in `dropped`.

    Raises:
        UsageError: the file is missing or holds no usable row, the format is unknown, or `auto`
            finds no importer or several.
    """
    if not path.is_file():
        raise UsageError(f"there is no file of battles at {path}.")
    if format == AUTO:
        found = sorted(name for name, reader in importers.items() if reader.recognises(path))
        if len(found) != 1:
            what = "no importer recognises" if not found else f"{' and '.join(found)} recognise"
            raise UsageError(
                f"{what} {path}.",
                hint="Name one as preferences.battle_format in --config: "
                f"{', '.join(sorted(importers))}.",
            )
        format = found[0]
    if format not in importers:
        raise UsageError(f"unknown battle format {format!r}.", hint=did_you_mean(format, importers))
    battles, dropped = importers[format].read(path)
    if not battles:
        reasons = "; ".join(f"{reason}: {n}" for reason, n in sorted(dropped.items()))
        raise UsageError(
            f"{path} holds no usable battle in the format {format!r}"
            f"{f' (dropped: {reasons})' if reasons else ''}."
        )
    return Battles(tuple(battles), source=format, generated=False, dropped=dict(dropped))
