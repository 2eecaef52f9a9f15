"""Battle importer `native`: one JSON object a line, with the fields of `Battle`.

Required: battle_id, prompt_id, model_a, model_b, judge, judge_kind, and `winner` or `y_a`.
Optional (null is as good as absent): cluster_id, strength, order, prompt, response_a, response_b,
style_a, style_b, categories, language, invalid_reason.  Everything in a row is data: text is kept
as it is, never rendered or run.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.errors import UsageError
from modeldiff_harness.preferences.battle import WINNERS

__all__ = ["NativeImporter", "create"]

JUDGE_KINDS = ("human", "llm", "reward_model", "verifiable", "heuristic")
_FIELDS = frozenset(field.name for field in fields(Battle))
_IDS = ("battle_id", "prompt_id", "model_a", "model_b", "judge", "judge_kind")
_TEXTS = ("cluster_id", "prompt", "response_a", "response_b", "language", "invalid_reason")
_LINES_TO_RECOGNISE = 5
_MOST_REASONS = 50


class NativeImporter:
    """Reads the harness's own JSONL; a row that breaks a rule is dropped and counted by reason."""

    def recognises(self, path: Path) -> bool:
        """Say whether one of the first lines is an object with the fields of a battle."""
        try:
            with path.open("rb") as lines:
                for _, line in zip(range(_LINES_TO_RECOGNISE), lines, strict=False):
                    if _looks_native(line):
                        return True
        except OSError:
            return False
        return False

    def read(self, path: Path) -> tuple[Sequence[Battle], Mapping[str, int]]:
        """Return the battles in file order and, by reason, how many rows were dropped.

        Raises UsageError when the file cannot be opened or read.
        """
        battles: list[Battle] = []
        dropped: Counter[str] = Counter()
        seen: set[str] = set()
        try:
            with path.open("rb") as lines:
                for line in lines:
                    if not line.strip():
                        continue
                    try:
                        battle = _battle(_parse(line))
                        if battle.battle_id in seen:
                            _refuse("battle_id repeats")
                    except _BadRow as bad:
                        reason = str(bad)
                        known = reason in dropped or len(dropped) < _MOST_REASONS
                        dropped[reason if known else "other reasons"] += 1
                        continue
                    seen.add(battle.battle_id)
                    battles.append(battle)
        except OSError as error:
            raise UsageError(f"cannot read the battles {path}: {error}.") from error
        return battles, dict(dropped)


def create() -> NativeImporter:
    """Make the importer; it has no options."""
    return NativeImporter()


class _BadRow(Exception):
    """Why one row cannot be used."""


def _refuse(reason: str) -> NoReturn:
    raise _BadRow(reason)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        # JSON may spell half of a surrogate pair, which no UTF-8 file can hold afterwards.
        record = json.loads(line.decode("utf-8-sig"), parse_constant=lambda _: _refuse("NaN"))
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeError:
        _refuse("not valid Unicode")
    except (ValueError, RecursionError):
        _refuse("not JSON")
    if not isinstance(record, dict):
        _refuse("not an object")
    return record


def _looks_native(line: bytes) -> bool:
    try:
        record = _parse(line)
    except _BadRow:
        return False
    return {"battle_id", "model_a", "model_b", "judge"} <= set(record) <= _FIELDS


def _battle(record: dict[str, Any]) -> Battle:
    unknown = sorted(set(record) - _FIELDS)
    if unknown:
        _refuse(f"unknown field {unknown[0][:40]!r}")
    for name in _IDS:
        if not isinstance(record.get(name), str) or not record[name]:
            _refuse(f"{name} missing or not text")
    for name in _TEXTS:
        if not isinstance(record.get(name), str | None):
            _refuse(f"{name} not text")
    if record["model_a"] == record["model_b"]:
        _refuse("a model against itself")
    if record["judge_kind"] not in JUDGE_KINDS:
        _refuse("unknown judge_kind")
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
        invalid_reason=invalid_reason or ("no reason given" if winner == "invalid" else ""),
    )


def _winner(record: dict[str, Any], y_a: float | None) -> str:
    winner = record.get("winner")
    if winner is None:
        if y_a is None:
            _refuse("neither winner nor y_a")
        return "tie" if y_a == 0.5 else "model_a" if y_a > 0.5 else "model_b"
    if not isinstance(winner, str) or winner not in WINNERS:
        _refuse("unknown winner")
    if y_a is not None:
        side = {"model_a": 1, "model_b": -1}.get(winner, 0)
        if winner == "invalid" or (y_a > 0.5) - (y_a < 0.5) != side:
            _refuse("winner and y_a disagree")
    return winner


def _number(number: Any, what: str, low: float, high: float) -> float | None:
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int | float):
        _refuse(f"{what} not a number")
    try:
        converted = float(number)
    except OverflowError:
        _refuse(f"{what} out of range")
    if not math.isfinite(converted) or not low <= converted <= high:
        _refuse(f"{what} out of range")
    return converted


def _order(record: dict[str, Any]) -> int:
    order = record.get("order", 0)
    if order is None:
        return 0
    if isinstance(order, bool) or not isinstance(order, int) or order not in (0, 1):
        _refuse("order neither 0 nor 1")
    return order


def _style(record: dict[str, Any], name: str, other: str) -> dict[str, float] | None:
    style = record.get(name)
    if style is None:
        if record.get(other) is not None:
            _refuse("style counts for one side only")
        return None
    if not isinstance(style, dict):
        _refuse(f"{name} not an object")
    counts: dict[str, float] = {}
    for feature, number in style.items():
        count = _number(number, f"a count in {name}", 0.0, math.inf)
        if count is None:
            _refuse(f"a count in {name} not a number")
        counts[feature] = count
    return counts


def _categories(record: dict[str, Any]) -> tuple[str, ...]:
    categories = record.get("categories")
    if categories is None:
        return ()
    if not isinstance(categories, list) or not all(isinstance(c, str) and c for c in categories):
        _refuse("categories not a list of texts")
    return tuple(dict.fromkeys(categories))
