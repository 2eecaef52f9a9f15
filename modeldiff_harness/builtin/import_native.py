"""Battle importer `native`: one JSON object a line (or a JSON list, or Parquet) of `Battle` fields.

Required: battle_id, prompt_id, model_a, model_b, judge, judge_kind, and `winner` or `y_a`.
Optional (null is as good as absent): cluster_id, strength, order, prompt, response_a, response_b,
style_a, style_b, categories, language, invalid_reason, sides_known.  Everything in a row is data:
text is kept as it is, never rendered or run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.errors import UsageError
from modeldiff_harness.preferences.battle import WINNERS
from modeldiff_harness.preferences.battle_files import container_of
from modeldiff_harness.preferences.row_importer import RowImporter, refuse

__all__ = ["NativeImporter", "create"]

JUDGE_KINDS = ("human", "llm", "reward_model", "verifiable", "heuristic")
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
    if record["model_a"] == record["model_b"]:
        refuse("a model against itself")
    if record["judge_kind"] not in JUDGE_KINDS:
        refuse("unknown judge_kind")
    y_a = _number(record.get("y_a"), "y_a", 0.0, 1.0)
    winner = _winner(record, y_a)
    invalid_reason = record.get("invalid_reason") or ""
    texts: dict[str, Any] = {name: record.get(name) for name in (*_IDS, *_TEXTS[:-1])}
    return Battle(
        **texts,
        winner=winner,
        y_a=y_a,
        strength=_number(record.get("strength"), "strength", -math.inf, math.inf),
        order=_order(record),
        style_a=_style(record, "style_a", "style_b"),
        style_b=_style(record, "style_b", "style_a"),
        categories=_categories(record),
        sides_known=_flag(record, "sides_known", default=True),
        invalid_reason=invalid_reason or ("no reason given" if winner == "invalid" else ""),
    )


def _winner(record: dict[str, Any], y_a: float | None) -> str:
    winner = record.get("winner")
    if winner is None:
        if y_a is None:
            refuse("neither winner nor y_a")
        return "tie" if y_a == 0.5 else "model_a" if y_a > 0.5 else "model_b"
    if not isinstance(winner, str) or winner not in WINNERS:
        refuse("unknown winner")
    if y_a is not None:
        side = {"model_a": 1, "model_b": -1}.get(winner, 0)
        if winner == "invalid" or (y_a > 0.5) - (y_a < 0.5) != side:
            refuse("winner and y_a disagree")
    return winner


def _number(number: Any, what: str, low: float, high: float) -> float | None:
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int | float):
        refuse(f"{what} not a number")
    try:
        converted = float(number)
    except OverflowError:
        refuse(f"{what} out of range")
    if not math.isfinite(converted) or not low <= converted <= high:
        refuse(f"{what} out of range")
    return converted


def _order(record: dict[str, Any]) -> int:
    order = record.get("order", 0)
    if order is None:
        return 0
    if isinstance(order, bool) or not isinstance(order, int) or order not in (0, 1):
        refuse("order neither 0 nor 1")
    return order


def _flag(record: dict[str, Any], name: str, *, default: bool) -> bool:
    flag = record.get(name, default)
    if flag is None:
        return default
    if not isinstance(flag, bool):
        refuse(f"{name} neither true nor false")
    return flag


def _style(record: dict[str, Any], name: str, other: str) -> dict[str, float] | None:
    style = record.get(name)
    if style is None:
        if record.get(other) is not None:
            refuse("style counts for one side only")
        return None
    if not isinstance(style, dict):
        refuse(f"{name} not an object")
    counts: dict[str, float] = {}
    for feature, number in style.items():
        count = _number(number, f"a count in {name}", 0.0, math.inf)
        if count is None:
            refuse(f"a count in {name} not a number")
        counts[feature] = count
    return counts


def _categories(record: dict[str, Any]) -> tuple[str, ...]:
    categories = record.get("categories")
    if categories is None:
        return ()
    if not isinstance(categories, list) or not all(isinstance(c, str) and c for c in categories):
        refuse("categories not a list of texts")
    return tuple(dict.fromkeys(categories))
