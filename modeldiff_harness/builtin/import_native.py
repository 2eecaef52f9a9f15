"""Battle importer `native`: one JSON object a line (or a JSON list, or Parquet) of `Battle` fields.

Required: battle_id, prompt_id, model_a, model_b, judge, judge_kind, and `winner` or `y_a`.
Optional (null is as good as absent): cluster_id, strength, order, prompt, response_a, response_b,
style_a, style_b, categories, language, invalid_reason, sides_known.  Everything in a row is data:
text is cleaned (`modeldiff_harness.clean_text`), never rendered or run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.artifacts.preferences import JUDGE_KINDS, WINNERS
from modeldiff_harness.errors import UsageError
from modeldiff_harness.preferences.battle_files import container_of
from modeldiff_harness.preferences.row_importer import (
    RowImporter,
    number_in,
    refuse,
    winner_of,
)

__all__ = ["NativeImporter", "create"]

_FIELDS = frozenset(field.name for field in fields(Battle))
_IDS = ("battle_id", "prompt_id", "model_a", "model_b", "judge", "judge_kind")
_TEXTS = ("cluster_id", "prompt", "response_a", "response_b", "language", "invalid_reason")


class NativeImporter(RowImporter):
    """Reads the harness's own rows; one that breaks a rule is dropped and counted by reason."""

    columns: ClassVar[frozenset[str] | None] = None

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Say whether the row has the fields of a battle and no other."""
        return {"battle_id", "model_a", "model_b", "judge"} <= set(row) <= _FIELDS

    def recognises(self, path: Path) -> bool:
        """Say whether one of the first rows is a battle; CSV, which has only text, is `table`'s."""
        try:
            if container_of(path) == "csv":
                return False
        except UsageError:
            return False
        return super().recognises(path)

    def battles(self, row: Mapping[str, Any], number: int) -> Iterable[Battle]:
        """Return the row as a battle."""
        yield _battle(dict(row))


def create() -> NativeImporter:
    """Make the importer; it has no options."""
    return NativeImporter()


def _battle(record: dict[str, Any]) -> Battle:
    unknown = sorted(set(record) - _FIELDS)
    if unknown:
        refuse(f"unknown field {unknown[0][:40]!r}")
    for name in _IDS:
        if not isinstance(record.get(name), str) or not record[name]:
            refuse(f"{name} missing or not text")
    for name in _TEXTS:
        if not isinstance(record.get(name), str | None):
            refuse(f"{name} not text")
    if record["judge_kind"] not in JUDGE_KINDS:
        refuse("unknown judge_kind")
    word, y_a = record.get("winner"), _number(record, "y_a", 0.0, 1.0)
    if word is not None and (not isinstance(word, str) or word not in WINNERS):
        refuse("unknown winner")
    winner = winner_of(word, y_a)
    style_a, style_b = _style(record, "style_a"), _style(record, "style_b")
    if (style_a is None) != (style_b is None):
        refuse("style counts for one side only")
    sides_known = record.get("sides_known")
    if not isinstance(sides_known, bool | None):
        refuse("sides_known neither true nor false")
    texts: dict[str, Any] = {name: record.get(name) for name in (*_IDS, *_TEXTS[:-1])}
    reason = record.get("invalid_reason") or ("no reason given" if winner == "invalid" else "")
    return Battle(
        **texts,
        winner=winner,
        y_a=y_a,
        strength=_number(record, "strength", -math.inf, math.inf),
        order=_order(record),
        style_a=style_a,
        style_b=style_b,
        categories=_categories(record),
        sides_known=sides_known is not False,
        invalid_reason=reason,
    )


def _number(record: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    found = record.get(name)
    return None if found is None else _strict(found, name, low, high)


def _strict(found: Any, what: str, low: float, high: float) -> float:
    """A number in range that is no text: JSON has numbers of its own."""
    return number_in(None if isinstance(found, str) else found, what, low, high)


def _order(record: Mapping[str, Any]) -> int:
    order = record.get("order")
    if isinstance(order, bool) or order not in (None, 0, 1) or isinstance(order, float):
        refuse("order neither 0 nor 1")
    return order or 0


def _style(record: Mapping[str, Any], name: str) -> dict[str, float] | None:
    style = record.get(name)
    if style is None:
        return None
    if not isinstance(style, dict):
        refuse(f"{name} not an object")
    what = f"a count in {name}"
    return {feature: _strict(count, what, 0.0, math.inf) for feature, count in style.items()}


def _categories(record: Mapping[str, Any]) -> tuple[str, ...]:
    categories = record.get("categories")
    if categories is None:
        return ()
    if not isinstance(categories, list) or not all(isinstance(c, str) and c for c in categories):
        refuse("categories not a list of texts")
    return tuple(dict.fromkeys(categories))
