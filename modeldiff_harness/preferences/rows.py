"""From battles of any models and sides to the rows of a fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.contracts import FeatureSet
from modeldiff_harness.errors import RunError, UsageError, did_you_mean
from modeldiff_harness.preferences.style import has_unspaced_script
from modeldiff_harness.preferences.style_counts import (
    checked_counts,
    checked_difference,
    unknown_counts,
)
from modeldiff_harness.stats.pairfit.rows import PairRows, pair_rows

__all__ = [
    "BattleRows",
    "PairBattles",
    "StyleColumns",
    "battle_clusters",
    "rows_a_against_b",
    "rows_of_pair",
    "select_pair",
    "style_columns",
]

_OUTCOME_A = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5, "both_bad": 0.5}
POSITION_KINDS = frozenset({"human", "llm"})
"""Judges that may favour the answer shown first; the others read each answer by itself."""
MOST_WITHOUT_STYLE = 0.05
"""Share of battles that may lack style counts and be left out; beyond it only raw is reported."""


@dataclass(frozen=True)
class PairBattles:
    """The battles of a file, by what they say of one pair."""

    baseline: str
    candidate: str
    valid: tuple[Battle, ...]
    """Between the two, with a verdict."""
    invalid: tuple[Battle, ...]
    """Between the two, without: never ties."""
    others: tuple[Battle, ...]
    """Of other pairs of models, with a verdict."""
    others_invalid: tuple[Battle, ...]
    """Of other pairs of models, without."""


@dataclass(frozen=True, eq=False)
class BattleRows:
    """The battles that enter a fit, and their rows in the same order."""

    battles: tuple[Battle, ...]
    rows: PairRows
    flags: tuple[str, ...]
    """What became of style and position."""
    n_left_out: int = 0
    """Battles with a verdict that are left out because they lack style counts."""


@dataclass(frozen=True)
class StyleColumns:
    """Normalised style differences a - b of the battles that have them."""

    rows: tuple[int, ...]
    """Indices of the battles that are used, ascending."""
    z: tuple[tuple[float, ...], ...] | None
    """A difference for every feature and row of `rows`; None when style cannot be controlled."""
    flags: tuple[str, ...]
    """`style_control_not_available:N`, `style_counts_unknown:WHY`, `without_style_left_out:N`,
    `tokens_counted_by_regex`, `length_in_characters:N`."""


def select_pair(battles: Iterable[Battle], baseline: str, candidate: str) -> PairBattles:
    """Pick the battles between `baseline` and `candidate`, whichever sides they were on.

    Raises:
        UsageError: the names are equal, or a model has no battle at all.
        RunError: a battle's winner is none of the five known words.
    """
    if baseline == candidate:
        raise UsageError(f"baseline and candidate are both {baseline!r}.", hint="Name two models.")
    valid: list[Battle] = []
    invalid: list[Battle] = []
    others: list[Battle] = []
    others_invalid: list[Battle] = []
    names: set[str] = set()
    for battle in battles:
        names |= {battle.model_a, battle.model_b}
        own = {battle.model_a, battle.model_b} == {baseline, candidate}
        if battle.winner == "invalid":
            (invalid if own else others_invalid).append(battle)
        elif battle.winner in _OUTCOME_A:
            (valid if own else others).append(battle)
        else:
            raise RunError(f"battle {battle.battle_id!r} has the winner {battle.winner!r}.")
    for name in (baseline, candidate):
        if names and name not in names:
            raise UsageError(f"no battle has the model {name!r}.", hint=did_you_mean(name, names))
    return PairBattles(
        baseline, candidate, tuple(valid), tuple(invalid), tuple(others), tuple(others_invalid)
    )


def rows_of_pair(battles: Sequence[Battle], candidate: str, feature_set: FeatureSet) -> BattleRows:
    """Return the rows of one pair's battles, candidate - baseline."""
    found = rows_a_against_b(battles, feature_set)
    sign_N = np.array([1.0 if b.model_a == candidate else -1.0 for b in found.battles])
    return replace(found, rows=found.rows.turned(sign_N))


def rows_a_against_b(battles: Sequence[Battle], feature_set: FeatureSet) -> BattleRows:
    """Return the rows as they were recorded, model_a - model_b."""
    style = style_columns(battles, feature_set)
    used = tuple(battles[i] for i in style.rows)
    both_bad = np.array([battle.winner == "both_bad" for battle in used], dtype=np.float64)
    may_favour = np.array([battle.judge_kind in POSITION_KINDS for battle in used], dtype=np.bool_)
    known = np.array([battle.sides_known for battle in used], dtype=np.bool_)
    unknown = bool(may_favour.any() and not (known & may_favour).any())
    rows = pair_rows(
        [_OUTCOME_A[b.winner] if b.y_a is None else b.y_a for b in used],
        style.z,
        names=None if style.z is None else feature_set.features,
        clusters=battle_clusters(used),
        # A is the answer that was shown first.
        position=known.astype(np.float64) if may_favour.any() and not unknown else None,
        both_bad=both_bad if both_bad.any() else None,
    )
    flags = (*style.flags, *(("position_unknown",) if unknown else ()))
    return BattleRows(used, rows, flags, len(battles) - len(used))


def battle_clusters(battles: Sequence[Battle]) -> tuple[str, ...]:
    """Return the cluster of every battle: the one that is named, else the prompt."""
    return tuple(b.prompt_id if b.cluster_id is None else b.cluster_id for b in battles)


def style_columns(battles: Sequence[Battle], feature_set: FeatureSet) -> StyleColumns:
    """Return the style differences a - b of `battles`, all from one way of counting.

    The ways: counts that came with the battles; counts of the answers with their numbers of tokens;
    counts of the answers with words and marks for tokens.  The way that covers most battles is
    taken, the earlier one of equals; ways are never mixed.

    Raises RunError when the feature set counts or compares otherwise than its contract says.
    """
    ways = (_given, _from_text_and_tokens, _from_text)
    covered = [
        [i for i, battle in enumerate(battles) if _has(way, battle, feature_set)]
        for way in range(len(ways))
    ]
    best = max(range(len(ways)), key=lambda way: (len(covered[way]), -way))
    rows = covered[best]
    n_without = len(battles) - len(rows)
    if not rows or n_without > MOST_WITHOUT_STYLE * len(battles):
        flag = f"style_control_not_available:{n_without}"
        why = unknown_counts(battles, feature_set)
        return StyleColumns(tuple(range(len(battles))), None, (why or flag,))
    flags = [f"without_style_left_out:{n_without}"] if n_without else []
    if best != 0 and (why := unknown_counts(battles, feature_set)):
        flags.append(why)
    if best == 2 and "tokens" in feature_set.features:
        flags.append("tokens_counted_by_regex")
        texts = (_text(battles[i], side) for i in rows for side in "ab")
        if n_unspaced := sum(has_unspaced_script(text) for text in texts):
            flags.append(f"length_in_characters:{n_unspaced}")
    z = []
    for i in rows:
        a, b = (ways[best](battles[i], side, feature_set) for side in "ab")
        z.append(checked_difference(feature_set, a, b))
    return StyleColumns(tuple(rows), tuple(z), tuple(flags))


def _has(way: int, battle: Battle, feature_set: FeatureSet) -> bool:
    counts = (battle.style_a, battle.style_b)
    if way == 0:
        return all(c is not None and set(feature_set.features) <= set(c) for c in counts)
    has_text = battle.response_a is not None and battle.response_b is not None
    return has_text and (way == 2 or all(c is not None and "tokens" in c for c in counts))


def _given(battle: Battle, side: str, feature_set: FeatureSet) -> Mapping[str, float]:
    return _counts(battle, side)


def _from_text_and_tokens(
    battle: Battle, side: str, feature_set: FeatureSet
) -> Mapping[str, float]:
    return checked_counts(feature_set, _text(battle, side), round(_counts(battle, side)["tokens"]))


def _from_text(battle: Battle, side: str, feature_set: FeatureSet) -> Mapping[str, float]:
    return checked_counts(feature_set, _text(battle, side), None)


def _counts(battle: Battle, side: str) -> Mapping[str, float]:
    return (battle.style_a if side == "a" else battle.style_b) or {}


def _text(battle: Battle, side: str) -> str:
    return (battle.response_a if side == "a" else battle.response_b) or ""
