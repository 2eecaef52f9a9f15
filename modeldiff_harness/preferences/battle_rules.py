"""What every battle must be, checked where importers and judges of other people hand them over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.artifacts.preferences import JUDGE_KINDS, WINNERS

__all__ = ["is_real", "problem_of"]

_TEXTS = ("battle_id", "prompt_id", "model_a", "model_b", "judge")
_MAY_LACK = ("cluster_id", "prompt", "response_a", "response_b", "language")


def problem_of(battle: Any) -> str | None:
    """Say in a clause what is wrong with a battle; None when nothing is."""
    if not isinstance(battle, Battle):
        return f"{battle!r:.60}, which is no Battle"
    where = f"battle {battle.battle_id!r:.60}"
    for name in _TEXTS:
        if not isinstance(getattr(battle, name), str) or not getattr(battle, name):
            return f"{where} whose {name} is {getattr(battle, name)!r:.40}, not text"
    for name in _MAY_LACK:
        if not isinstance(getattr(battle, name), str | None):
            return f"{where} whose {name} is {getattr(battle, name)!r:.40}, not text"
    if battle.model_a == battle.model_b:
        return f"{where} of a model against itself"
    if battle.winner not in WINNERS:
        return f"{where} with the unknown winner {battle.winner!r:.40}"
    if battle.judge_kind not in JUDGE_KINDS:
        return f"{where} with the unknown judge_kind {battle.judge_kind!r:.40}"
    if battle.y_a is not None and not (is_real(battle.y_a) and 0.0 <= battle.y_a <= 1.0):
        return f"{where} whose y_a is {battle.y_a!r:.40}, not a number from 0 to 1"
    if battle.strength is not None and not is_real(battle.strength):
        return f"{where} whose strength is {battle.strength!r:.40}, not a number"
    if not all(isinstance(name, str) for name in battle.categories):
        return f"{where} whose categories are not texts"
    for side in ("style_a", "style_b"):
        counts = getattr(battle, side)
        if counts is not None and not _are_counts(counts):
            return f"{where} whose {side} is not counts of 0 or more by feature"
    return None


def is_real(found: Any) -> bool:
    """Say whether `found` is a finite number, and no truth value."""
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    try:
        return math.isfinite(found)
    except OverflowError:
        return False


def _are_counts(counts: Any) -> bool:
    if not isinstance(counts, Mapping):
        return False
    return all(isinstance(k, str) and is_real(v) and v >= 0 for k, v in counts.items())
