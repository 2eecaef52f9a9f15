"""From battles of any models and sides to rows of one pair, candidate - baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.contracts import FeatureSet
from modeldiff_harness.errors import RunError, UsageError, did_you_mean

__all__ = [
    "PairBattles",
    "StyleColumns",
    "candidate_outcome",
    "outcome_a",
    "select_pair",
    "style_columns",
]

_OUTCOME_A = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5, "both_bad": 0.5}
MOST_WITHOUT_STYLE = 0.05
"""Share of battles that may lack style counts and be left out; beyond it only raw is reported."""


@dataclass(frozen=True)
class PairBattles:
    """The battles of one pair."""

    valid: tuple[Battle, ...]
    """With a verdict."""
    invalid: tuple[Battle, ...]
    """Missing judgments: never ties."""
    others: tuple[Battle, ...]
    """Battles of other pairs of models that have a verdict."""
    others_invalid: tuple[Battle, ...]
    """Missing judgments of other pairs."""


@dataclass(frozen=True)
class StyleColumns:
    """Normalised style differences of the rows that have them."""

    rows: tuple[int, ...]
    """Indices of the battles that are used, ascending."""
    z: tuple[tuple[float, ...], ...] | None
    """A difference for every feature and row of `rows`; None when style cannot be controlled."""
    flags: tuple[str, ...]
    """`style_control_not_available:N`, `without_style_left_out:N`, `tokens_counted_by_regex`."""


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
    return PairBattles(tuple(valid), tuple(invalid), tuple(others), tuple(others_invalid))


def outcome_a(battle: Battle) -> float:
    """Return y of model_a: 1 when it was preferred, 0 when the other was, ½ for ties."""
    return _OUTCOME_A[battle.winner] if battle.y_a is None else battle.y_a


def candidate_outcome(battle: Battle, candidate: str) -> float:
    """Return y: 1 when the candidate was preferred, 0 when the baseline was, ½ for ties."""
    y_a = outcome_a(battle)
    return y_a if battle.model_a == candidate else 1.0 - y_a


def style_columns(
    battles: Sequence[Battle], candidate: str | None, feature_set: FeatureSet
) -> StyleColumns:
    """Return the style differences of `battles`, all from one way of counting.

    They are candidate - the other model, or a - b when `candidate` is None.

    The ways: counts that came with the battles; counts of the answers with their numbers of tokens;
    counts of the answers with words and marks for tokens.  The way that covers most battles is
    taken, the earlier one of equals; ways are never mixed.
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
        return StyleColumns(tuple(range(len(battles))), None, (flag,))
    flags = [f"without_style_left_out:{n_without}"] if n_without else []
    if best == 2 and "tokens" in feature_set.features:
        flags.append("tokens_counted_by_regex")
    z = []
    for i in rows:
        battle = battles[i]
        a, b = ways[best](battle, "a", feature_set), ways[best](battle, "b", feature_set)
        ours, theirs = (a, b) if candidate in (None, battle.model_a) else (b, a)
        z.append(tuple(float(value) for value in feature_set.difference(ours, theirs)))
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
    return feature_set.count(_text(battle, side), round(_counts(battle, side)["tokens"]))


def _from_text(battle: Battle, side: str, feature_set: FeatureSet) -> Mapping[str, float]:
    return feature_set.count(_text(battle, side), None)


def _counts(battle: Battle, side: str) -> Mapping[str, float]:
    return (battle.style_a if side == "a" else battle.style_b) or {}


def _text(battle: Battle, side: str) -> str:
    return (battle.response_a if side == "a" else battle.response_b) or ""
