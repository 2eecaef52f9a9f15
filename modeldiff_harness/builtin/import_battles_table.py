"""Battle importer `table`: any flat file (CSV, JSON, JSON lines, Parquet) with a map of columns.

`columns` maps our field to the file's column; a field that is not mapped is looked for under its
own name.  Fields: those of the native format, and `style_a.FEATURE`, `style_b.FEATURE` for counts.
`winners` maps the file's words to model_a, model_b, tie, both_bad or invalid; known without a map
are these five, a, b, draw, and the name of either model.  A word that is a side and a model's name
as well (winner `a` of systems called A and B) is refused: only a map can say which is meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.artifacts.preferences import JUDGE_KINDS, WINNERS
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.preferences.battle_files import container_of, peek_rows
from modeldiff_harness.preferences.row_importer import (
    RowImporter,
    decoded,
    finite,
    number_in,
    prompt_key,
    refuse,
    text_of,
    winner_of,
)

__all__ = ["TableImporter", "create"]

_FIELDS = (
    "battle_id", "prompt_id", "cluster_id", "model_a", "model_b", "winner", "y_a", "strength",
    "judge", "judge_kind", "order", "prompt", "response_a", "response_b", "categories", "language",
    "sides_known",
)  # fmt: skip
_STYLES = ("style_a", "style_b")
_WORDS = {
    **{word: word for word in WINNERS},
    "a": "model_a", "b": "model_b", "draw": "tie", "tie (inconsistent)": "tie",
    "tie (bothbad)": "both_bad", "tie (both bad)": "both_bad", "bothbad": "both_bad",
    "both bad": "both_bad",
}  # fmt: skip
_LETTERS = ("a", "b")
_TRUTH = {True: True, False: False, "true": True, "false": False}
_NATIVE = frozenset({"battle_id", "model_a", "model_b", "judge"})
_OTHER_FORMATS = frozenset(
    {
        "conversation_a", "conversation_b", "messages_a", "messages_b", "full_conversation",
        "conv_metadata", "anony", "dedup_tag", "winner_model_a", "winner_model_b", "winner_tie",
        "g1_winner", "g2_winner", "games", "generator_1", "generator_2",
    }
)  # fmt: skip
"""Columns that say more than a flat table does: who reads them as one ignores what they say."""


class TableImporter(RowImporter):
    """Reads one battle a row through a map of columns and of words."""

    def __init__(
        self,
        *,
        columns: Mapping[str, str] | None = None,
        winners: Mapping[str, str] | None = None,
        judge: str = "imported",
        judge_kind: str = "human",
    ) -> None:
        for field, column in (columns or {}).items():
            if field not in _FIELDS and field.partition(".")[0] not in _STYLES:
                raise UsageError(
                    f"a battle has no field {field!r}.", hint=did_you_mean(field, _FIELDS)
                )
            if not isinstance(column, str):
                raise UsageError(f"the column of {field!r} is {column!r}, which is not a name.")
        for word, winner in (winners or {}).items():
            if winner not in WINNERS:
                raise UsageError(
                    f"{word!r} cannot mean {winner!r}.", hint=f"Known: {', '.join(WINNERS)}."
                )
        if judge_kind not in JUDGE_KINDS:
            raise UsageError(
                f"unknown kind of judge {judge_kind!r}.", hint=did_you_mean(judge_kind, JUDGE_KINDS)
            )
        self.mapped = dict(columns or {})
        self.winners = {str(word).casefold(): winner for word, winner in (winners or {}).items()}
        self.judge, self.judge_kind = judge, judge_kind

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Say whether the row has two models and a result, and is of no other known format."""
        names = set(row)
        has_result = bool({self._column("winner"), self._column("y_a")} & names)
        models = {self._column("model_a"), self._column("model_b")} <= names
        return models and has_result and not _OTHER_FORMATS & names

    def recognises(self, path: Path) -> bool:
        """Say whether the first rows are a flat table; native rows are so in CSV only."""
        rows = peek_rows(path)
        if not any(self.matches(row) for row in rows):
            return False
        native = any(set(row) >= _NATIVE for row in rows)
        return not native or container_of(path) == "csv"

    def battles(self, row: Mapping[str, Any], number: int) -> Iterable[Battle]:
        """Return the row as one battle."""
        found = {field: self._cell(row, field) for field in _FIELDS}
        model_a, model_b = text_of(found, "model_a"), text_of(found, "model_b")
        y_a = None if found["y_a"] is None else number_in(found["y_a"], "y_a", 0.0, 1.0)
        winner = self._winner(found["winner"], y_a, model_a, model_b)
        kind = _text(found, "judge_kind") or self.judge_kind
        if kind not in JUDGE_KINDS:
            refuse("unknown judge_kind")
        prompt = _text(found, "prompt")
        own_id = _text(found, "battle_id") or f"row {number}"
        order = 0.0 if found["order"] is None else number_in(found["order"], "order", 0.0, 1.0)
        if order not in (0.0, 1.0):
            refuse("order neither 0 nor 1")
        style_a, style_b = (self._style(row, side) for side in _STYLES)
        if (style_a is None) != (style_b is None):
            refuse("style counts for one side only")
        yield Battle(
            battle_id=own_id,
            prompt_id=_text(found, "prompt_id") or (prompt_key(prompt) if prompt else own_id),
            model_a=model_a,
            model_b=model_b,
            winner=winner,
            judge=_text(found, "judge") or self.judge,
            judge_kind=kind,
            cluster_id=_text(found, "cluster_id"),
            y_a=y_a,
            strength=None if found["strength"] is None else finite(found["strength"], "strength"),
            order=int(order),
            prompt=prompt,
            response_a=_text(found, "response_a", empty=True),
            response_b=_text(found, "response_b", empty=True),
            style_a=style_a,
            style_b=style_b,
            categories=_categories(found["categories"]),
            language=_text(found, "language"),
            sides_known=_truth(found["sides_known"]),
            invalid_reason="no reason given" if winner == "invalid" else "",
        )

    def _column(self, field: str) -> str:
        return self.mapped.get(field, field)

    def _cell(self, row: Mapping[str, Any], field: str) -> Any:
        column = self._column(field)
        if field in self.mapped and column not in row:
            refuse(f"no column {column[:40]!r}")
        found = row.get(column)
        # CSV cannot tell an empty text from none; an empty answer is an answer.
        return None if found == "" and not field.startswith("response_") else found

    def _winner(self, word: Any, y_a: float | None, model_a: str, model_b: str) -> str:
        if word is None:
            return winner_of(None, y_a)
        if not isinstance(word, str | int | float):
            refuse("winner not text")
        text = f"{word}".strip()
        winner = self.winners.get(text.casefold())
        if winner is None:
            winner = _side_of(text, model_a, model_b)
        return winner_of(winner, y_a)

    def _style(self, row: Mapping[str, Any], side: str) -> dict[str, float] | None:
        counts: dict[str, float] = {}
        whole = decoded(row.get(self._column(side)) or None, side)
        if whole is not None and not isinstance(whole, dict):
            refuse(f"{side} not an object")
        for name, n in (whole or {}).items():
            counts[name] = number_in(n, f"a count in {side}", 0.0, 1e12)
        prefix = f"{side}."
        columns = {name: name for name in row if name.startswith(prefix)}
        columns |= {f: c for f, c in self.mapped.items() if f.startswith(prefix)}
        for field, column in columns.items():
            if column not in row:
                refuse(f"no column {column[:40]!r}")
            feature = field.removeprefix(prefix)
            count = number_in(row[column], column[:40], 0.0, 1e12)
            if counts.setdefault(feature, count) != count:
                refuse(f"two counts of {feature[:40]!r} in {side}")
        return counts or None


def create(
    *,
    columns: Mapping[str, str] | None = None,
    winners: Mapping[str, str] | None = None,
    judge: str = "imported",
    judge_kind: str = "human",
) -> TableImporter:
    """Make the importer; `judge` and `judge_kind` stand for columns that the file lacks."""
    return TableImporter(columns=columns, winners=winners, judge=judge, judge_kind=judge_kind)


def _side_of(word: str, model_a: str, model_b: str) -> str:
    """Return what a word says of a row: a side, a tie, or the name of one of the models.

    Refuses unknown words.  Raises UsageError for a word that may mean two things: dropped by
    themselves, such rows would leave those that one model won.
    """
    lower = word.casefold()
    names = {model_a: "model_a", model_b: "model_b"}
    if word not in names:
        folded = {model_a.casefold(): "model_a", model_b.casefold(): "model_b"}
        names = {word: folded[lower]} if lower in folded else {}
        if model_a.casefold() == model_b.casefold() == lower:
            raise _ambiguous(word, model_a, model_b)
    by_name, by_word = names.get(word), _WORDS.get(lower)
    if by_name and by_word and (by_name != by_word or lower in _LETTERS):
        raise _ambiguous(word, model_a, model_b)
    winner = by_name or by_word
    if winner is None:
        refuse(f"unknown winner {word[:40]!r}")
    return winner


def _ambiguous(word: str, model_a: str, model_b: str) -> UsageError:
    return UsageError(
        f"the winner {word[:40]!r} may be a side or a model: the models of its row are "
        f"{model_a[:40]!r} and {model_b[:40]!r}.",
        hint=f"Say what it means with --winners {word[:40]}=model_a or model_b, or rename the "
        "models.",
    )


def _truth(cell: Any) -> bool:
    if cell is None:
        return True
    said = cell.strip().casefold() if isinstance(cell, str) else cell
    if not isinstance(said, str | bool) or said not in _TRUTH:
        refuse("sides_known neither true nor false")
    return _TRUTH[said]


def _text(found: Mapping[str, Any], name: str, *, empty: bool = False) -> str | None:
    cell = found[name]
    if cell is None or (cell == "" and not empty):
        return None
    if isinstance(cell, float) and not empty:
        return str(cell)
    if isinstance(cell, int) and not isinstance(cell, bool) and not empty:
        return text_of(found, name)
    if not isinstance(cell, str):
        refuse(f"{name} not text")
    return cell


def _categories(cell: Any) -> tuple[str, ...]:
    """Return the categories: a list, a JSON list as text, or names with semicolons between."""
    if cell is None:
        return ()
    if isinstance(cell, str):
        cell = decoded(cell, "categories") if cell.lstrip().startswith("[") else cell.split(";")
    if not isinstance(cell, list) or not all(isinstance(name, str) for name in cell):
        refuse("categories not a list of texts")
    return tuple(dict.fromkeys(name.strip() for name in cell if name.strip()))
