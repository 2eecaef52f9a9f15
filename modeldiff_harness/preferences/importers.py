"""Battles from a file: finds the importer that reads it and takes what it gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from modeldiff_harness.artifacts import Battle, Battles
from modeldiff_harness.contracts import BattleImporter
from modeldiff_harness.errors import MdhError, RunError, UsageError, did_you_mean, first_line
from modeldiff_harness.preferences.battle_files import container_of, read_rows
from modeldiff_harness.preferences.battle_rules import problem_of
from modeldiff_harness.preferences.parquet_rows import DecodesToTooMuch
from modeldiff_harness.preferences.row_importer import CONTRADICTS, REPEATS, same_verdict

__all__ = ["import_battles", "import_files"]

AUTO = "auto"


def import_files(
    paths: Sequence[Path], importers: Mapping[str, BattleImporter], format: str = AUTO
) -> Battles:
    """Read several files of one format as one, such as the shards of a data set.

    A battle that stands in two files is counted once.  Raises UsageError as `import_battles` does,
    and when `auto` finds different formats.
    """
    parts = [import_battles(path, importers, format) for path in paths]
    if len(parts) == 1:
        return parts[0]
    sources = sorted({part.source for part in parts})
    if len(sources) > 1:
        raise UsageError(f"the files have different formats: {', '.join(sources)}.")
    dropped: Counter[str] = Counter()
    battles: dict[str, Battle] = {}
    n_missing = sum(part.n_missing for part in parts)
    for n, part in enumerate(parts):
        dropped.update(part.dropped)
        for battle in part.battles:
            # Rows that have no id of their own are numbered anew in every file.
            numbered = battle.battle_id.startswith("row ")
            key = f"file {n + 1}, {battle.battle_id}" if numbered else battle.battle_id
            if key not in battles:
                battles[key] = replace(battle, battle_id=key) if numbered else battle
            elif same_verdict(battles[key], battle):
                dropped[REPEATS] += 1
            else:
                dropped[CONTRADICTS] += 1
                n_missing += 1
    return Battles(
        tuple(battles.values()),
        sources[0],
        generated=False,
        dropped=dict(dropped),
        n_missing=n_missing,
    )


def import_battles(
    path: Path, importers: Mapping[str, BattleImporter], format: str = AUTO
) -> Battles:
    """Read the battles of `path` with the importer named `format`.

    `importers`: name → importer.  `auto` takes the one importer that recognises the file.  Rows
    that cannot be used are counted by reason in `dropped`; those that the importer does not leave
    out by choice (its `left_out`) are judgments that are missing.

    Raises:
        UsageError: the file is missing or holds no usable row, the format is unknown, or `auto`
            finds no importer or several.
        RunError: the importer breaks its contract.
    """
    if not path.is_file():
        raise UsageError(f"there is no file of battles at {path}.")
    if format == AUTO:
        container_of(path)  # an empty or unreadable file is said to be that
        found = sorted(name for name, reader in importers.items() if reader.recognises(path))
        if len(found) != 1:
            _refuse_amplified(path)
            what = "no importer recognises" if not found else f"{' and '.join(found)} recognise"
            raise UsageError(
                f"{what} {path}.",
                hint="Name one with --format_in, or as preferences.battle_format in --config: "
                f"{', '.join(sorted(importers))}.",
            )
        format = found[0]
    if format not in importers:
        raise UsageError(f"unknown battle format {format!r}.", hint=did_you_mean(format, importers))
    battles, dropped = _given(importers[format], format, path)
    if not battles:
        reasons = "; ".join(f"{reason}: {n}" for reason, n in sorted(dropped.items()))
        raise UsageError(
            f"{path} holds no usable battle in the format {format!r}"
            f"{f' (dropped: {reasons})' if reasons else ''}."
        )
    left_out: frozenset[str] = getattr(importers[format], "left_out", frozenset())
    return Battles(
        battles,
        source=format,
        generated=False,
        dropped=dropped,
        n_missing=sum(n for reason, n in dropped.items() if reason not in left_out),
    )


def _refuse_amplified(path: Path) -> None:
    """Say of a file that nobody recognised that it is too large, when that is why."""
    try:
        next(iter(read_rows(path)), None)
    except DecodesToTooMuch:
        raise
    except UsageError:
        return


def _given(
    importer: BattleImporter, name: str, path: Path
) -> tuple[tuple[Battle, ...], dict[str, int]]:
    """What the importer gives, or a RunError that names it and the rule it breaks."""
    try:
        battles, dropped = importer.read(path)
        battles, dropped = tuple(battles), dict(dropped)
    except MdhError:
        raise
    except Exception as error:
        raise RunError(
            f"the battle importer {name!r} failed on {path}: {type(error).__name__}: "
            f"{first_line(error)}."
        ) from error
    for battle in battles:
        if problem := problem_of(battle):
            raise RunError(f"the battle importer {name!r} gave {problem}.")
    for reason, n in dropped.items():
        if not isinstance(reason, str) or isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise RunError(
                f"the battle importer {name!r} dropped {n!r:.40} rows for {reason!r:.40}: it owes "
                "a text and a count."
            )
    return battles, dropped
