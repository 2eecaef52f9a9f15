"""Battles as the rows of a fit: outcomes, style differences, clusters, who was shown first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.contracts import FeatureSet
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.preferences.orientation import (
    candidate_outcome,
    outcome_a,
    style_columns,
)
from modeldiff_harness.stats.estimates import Floats

__all__ = ["FitRows", "battle_clusters", "coefficient_row", "rows_a_against_b", "rows_of_pair"]

POSITION_KINDS = frozenset({"human", "llm"})
"""Judges that may favour the answer shown first; the others read each answer by itself."""


@dataclass(frozen=True, eq=False)
class FitRows:
    """The battles that enter a fit."""

    battles: tuple[Battle, ...]
    y_N: Floats
    """Outcome for the candidate, or for model_a."""
    z_NK: Floats | None
    """Style differences the same way round; None when style cannot be controlled."""
    names: tuple[str, ...] | None
    clusters: tuple[str, ...]
    position_N: Floats | None
    """+1 when that model was shown first, -1 second, 0 unknown; None for judges without sides."""
    both_bad_N: Floats | None
    flags: tuple[str, ...]


def rows_of_pair(battles: Sequence[Battle], candidate: str, feature_set: FeatureSet) -> FitRows:
    """Return rows oriented candidate - baseline."""

    def sign(battle: Battle) -> float:
        return 1.0 if battle.model_a == candidate else -1.0

    return _rows(battles, candidate, feature_set, lambda b: candidate_outcome(b, candidate), sign)


def rows_a_against_b(battles: Sequence[Battle], feature_set: FeatureSet) -> FitRows:
    """Return rows as they were recorded, model_a - model_b."""
    return _rows(battles, None, feature_set, outcome_a, lambda _: 1.0)


def battle_clusters(battles: Sequence[Battle]) -> tuple[str, ...]:
    """Return the cluster of every battle: the one that is named, else the prompt."""
    return tuple(b.prompt_id if b.cluster_id is None else b.cluster_id for b in battles)


def coefficient_row(
    coefficients: Mapping[str, float] | None, names: Sequence[str] | None
) -> Floats | None:
    """Return fixed log-odds per unit of z in the order of `names`.

    Raises UsageError unless there is one for every feature and none for another.
    """
    if coefficients is None or names is None:
        return None
    for name in coefficients:
        if name not in names:
            raise UsageError(
                f"a style coefficient is given for {name!r}, which is no feature of the set.",
                hint=did_you_mean(name, names),
            )
    missing = [name for name in names if name not in coefficients]
    if missing:
        raise UsageError(f"no style coefficient is given for {', '.join(map(repr, missing))}.")
    return np.array([coefficients[name] for name in names], dtype=np.float64)


def _rows(
    battles: Sequence[Battle],
    candidate: str | None,
    feature_set: FeatureSet,
    outcome: Callable[[Battle], float],
    sign: Callable[[Battle], float],
) -> FitRows:
    style = style_columns(battles, candidate, feature_set)
    used = tuple(battles[i] for i in style.rows)
    both_bad = np.array([battle.winner == "both_bad" for battle in used], dtype=np.float64)
    may_favour = np.array([battle.judge_kind in POSITION_KINDS for battle in used], dtype=np.bool_)
    known = np.array([battle.sides_known for battle in used], dtype=np.bool_)
    first = np.array([sign(battle) for battle in used], dtype=np.float64)
    unknown = bool(may_favour.any() and not (known & may_favour).any())
    position = np.where(known, first, 0.0) if may_favour.any() and not unknown else None
    return FitRows(
        battles=used,
        y_N=np.array([outcome(battle) for battle in used], dtype=np.float64),
        z_NK=None if style.z is None else np.array(style.z, dtype=np.float64),
        names=None if style.z is None else tuple(feature_set.features),
        clusters=battle_clusters(used),
        position_N=position,
        both_bad_N=both_bad if both_bad.any() else None,
        flags=(*style.flags, *(("position_unknown",) if unknown else ())),
    )
