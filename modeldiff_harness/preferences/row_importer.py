"""What the importers of battles share: rows in, battles out, dropped rows counted by reason."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.clean_text import clean_texts
from modeldiff_harness.preferences.battle_files import BadRow, parse_json, peek_rows, read_rows

__all__ = [
    "CONTRADICTS",
    "REPEATS",
    "RowImporter",
    "decoded",
    "finite",
    "number_in",
    "prompt_key",
    "refuse",
    "same_verdict",
    "text_of",
    "winner_of",
]

CONTRADICTS = "battle_id repeats with another verdict"
REPEATS = "battle_id repeats"
_ITSELF = "a model against itself"
_ROWS_TO_RECOGNISE = 5
_MOST_REASONS = 50
_LONGEST_ID = 40
"""Digits of a number that serves as an id."""


class RowImporter:
    """A `BattleImporter` from three answers: the columns, the signature, one row's battles.

    Satisfies `contracts.BattleImporter`; a subclass gives `matches` and `battles`.
    """

    columns: ClassVar[frozenset[str] | None] = None
    """The only columns that Parquet has to read; None: all."""
    left_out: ClassVar[frozenset[str]] = frozenset({REPEATS, _ITSELF})
    """Reasons that are a choice; every other row that is dropped is a judgment that is missing."""

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Say whether a row has this format's columns."""
        raise NotImplementedError

    def battles(self, row: Mapping[str, Any], number: int) -> Iterable[Battle]:
        """Return the battles of row `number`, from 1; `refuse` drops a row that cannot be used."""
        raise NotImplementedError

    def recognises(self, path: Path) -> bool:
        """Say whether one of the first rows has this format's columns."""
        return any(self.matches(row) for row in peek_rows(path, _ROWS_TO_RECOGNISE))

    def read(self, path: Path) -> tuple[Sequence[Battle], Mapping[str, int]]:
        """Return the battles in file order and, by reason, how many rows were dropped.

        Raises UsageError when the file cannot be read.
        """
        found: list[Battle] = []
        dropped: Counter[str] = Counter()
        seen: dict[str, Battle] = {}
        for number, row in enumerate(read_rows(path, self.columns), start=1):
            try:
                if isinstance(row, BadRow):
                    raise row
                battles = list(self.battles(row, number))
                if any(battle.model_a == battle.model_b for battle in battles):
                    refuse(_ITSELF)
                for battle in battles:
                    if battle.battle_id in seen:
                        same = same_verdict(seen[battle.battle_id], battle)
                        refuse(REPEATS if same else CONTRADICTS)
            except BadRow as bad:
                reason = str(bad)
                known = reason in dropped or len(dropped) < _MOST_REASONS
                dropped[reason if known else "other reasons"] += 1
                continue
            seen.update((battle.battle_id, battle) for battle in battles)
            found += battles
        return found, dict(dropped)


def refuse(reason: str) -> NoReturn:
    """Drop the row for `reason`."""
    raise BadRow(reason)


def same_verdict(one: Battle, other: Battle) -> bool:
    """Say whether two rows of one id say the same of the same two models, on whichever sides."""
    return _said(one) == _said(other)


def _said(battle: Battle) -> tuple[frozenset[str], str]:
    side = {"model_a": battle.model_a, "model_b": battle.model_b}
    return frozenset(side.values()), side.get(battle.winner, battle.winner)


def text_of(row: Mapping[str, Any], name: str) -> str:
    """Return a required text, such as a model's name; numbers that serve as ids are taken too."""
    found = row.get(name)
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 10**_LONGEST_ID:
        return str(found)
    if not isinstance(found, str) or not found:
        refuse(f"{name} missing or not text")
    return found


def finite(found: Any, what: str) -> float:
    """Return a finite number; text is read as one (CSV).  Refuses everything else."""
    if isinstance(found, str):
        try:
            found = float(found)
        except ValueError:
            refuse(f"{what} not a number")
    if isinstance(found, bool) or not isinstance(found, int | float):
        refuse(f"{what} not a number")
    try:
        converted = float(found)
    except OverflowError:
        refuse(f"{what} out of range")
    if not math.isfinite(converted):
        refuse(f"{what} out of range")
    return converted


def number_in(found: Any, what: str, low: float, high: float) -> float:
    """Return a finite number between `low` and `high`; refuses everything else."""
    converted = finite(found, what)
    if not low <= converted <= high:
        refuse(f"{what} out of range")
    return converted


def winner_of(word: str | None, y_a: float | None) -> str:
    """Return the winner that `word` (one of `WINNERS`) says, else the graded outcome for A.

    Refuses rows with neither, and those whose two contradict each other.
    """
    graded = None if y_a is None else "tie" if y_a == 0.5 else "model_a" if y_a > 0.5 else "model_b"
    if word is None:
        if graded is None:
            refuse("neither winner nor y_a")
        return graded
    if graded is not None and graded != ("tie" if word == "both_bad" else word):
        refuse("winner and y_a disagree")
    return word


def prompt_key(prompt: str) -> str:
    """Return the id of a prompt that has none: equal texts are one prompt, and one cluster."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def decoded(found: Any, what: str) -> Any:
    """Return a nested value; CSV holds it as JSON text."""
    if not isinstance(found, str):
        return found
    try:
        return clean_texts(parse_json(found))
    except BadRow as bad:
        refuse(f"{what}: {bad}" if "twice" in str(bad) else f"{what} {bad}")
    except (ValueError, RecursionError):
        refuse(f"{what} not readable")
