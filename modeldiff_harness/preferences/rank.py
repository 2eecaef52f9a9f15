"""Verb `rank`: what the battles say about a pair, split into substance and style."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modeldiff_harness.artifacts import (
    Battle,
    Battles,
    Estimate,
    PreferenceCategory,
    PreferenceDeltas,
    StyleEffect,
)
from modeldiff_harness.contracts import FeatureSet, Runtime
from modeldiff_harness.errors import RunError
from modeldiff_harness.preferences.orientation import (
    PairBattles,
    candidate_outcome,
    select_pair,
    style_columns,
)
from modeldiff_harness.stats.estimates import Floats, Undetermined
from modeldiff_harness.stats.pairfit import PairFit, fit_pair
from modeldiff_harness.stats.pairfit_categories import CategoryFits, fit_categories

__all__ = ["rank"]

GATEABLE_KINDS = frozenset({"human", "llm", "reward_model", "verifiable"})
POSITION_KINDS = frozenset({"human", "llm", "mixed"})
"""Judges that may favour the answer shown first; the others read each answer by itself."""
MOST_MISSING = 0.02
"""Share of missing judgments above which a gate is inconclusive."""
MOST_CATEGORIES = 64
"""Categories that are fitted; a file with more is cut to its largest."""


def rank(
    battles: Battles,
    *,
    baseline: str,
    candidate: str,
    feature_set: FeatureSet,
    ridge: float = 1.0,
    confidence: float = 0.95,
    smoke: bool = False,
    runtime: Runtime,
) -> PreferenceDeltas:
    """Fit the pair's battles: Elo deltas, candidate - baseline.

    Battles of other models are ignored and counted in `flags`; invalid ones are counted and never
    ties.  Intervals are by `cluster_id`, else by prompt.  Without answers or style counts the parts
    are None.  `smoke` marks a limited run, which is not gateable.  Swapping `baseline` and
    `candidate` negates every delta.

    Raises:
        UsageError: a model is in no battle, or the two names are equal.
        RunError: fewer than two prompts have a verdict, so that nothing has an interval.
    """
    pair = select_pair(battles.battles, baseline, candidate)
    with runtime.progress.task(f"rank {candidate}", len(pair.valid), unit="battle") as task:
        rows = _rows(pair.valid, candidate, feature_set)
        fit = _fit(rows, ridge, confidence)
        if isinstance(fit, Undetermined):
            raise RunError(
                f"nothing can be said about {candidate!r} against {baseline!r}: {fit.reason} "
                f"({len(pair.valid)} battles with a verdict, {len(pair.invalid)} without).",
                hint="Give more prompts, or a judge that can decide them.",
            )
        by_category, n_left_out = _fit_categories(rows, ridge, confidence)
        task.advance(len(pair.valid))
    judges, kinds = _judges(pair)
    kind = kinds[0] if len(kinds) == 1 else "mixed"
    flags = [*_flags(pair, kind, smoke, n_left_out), *rows.flags]
    # The rows say better than the fit why there is no style, and how many lack it.
    flags += [flag for flag in fit.flags if flag != "style_control_not_available"]
    sensitivity, undetermined = _sensitivity(fit, rows, pair.invalid, confidence)
    return PreferenceDeltas(
        judge=judges[0] if len(judges) == 1 else f"{len(judges)} judges",
        judge_kind=kind,
        feature_set=feature_set.name,
        raw_elo=fit.raw_elo,
        substance_elo=fit.substance_elo,
        style_elo=fit.style_elo,
        dispersion_elo=fit.dispersion_elo,
        win_rate=_win_rate(fit),
        style_effects=_style_effects(fit),
        sensitivity=sensitivity,
        n_battles=fit.n_battles,
        n_prompts=len({battle.prompt_id for battle in rows.battles}),
        n_clusters=fit.n_clusters,
        n_invalid=len(pair.invalid),
        tie_rate=fit.tie_rate,
        flags=tuple(dict.fromkeys([*flags, *undetermined])),
        categories=_categories(by_category),
        heterogeneity_p=_heterogeneity_p(by_category),
        gateable=kind in GATEABLE_KINDS and not smoke,
    )


@dataclass(frozen=True, eq=False)
class _Rows:
    """The battles that enter the fit, oriented."""

    battles: tuple[Battle, ...]
    y_N: Floats
    z_NK: Floats | None
    names: tuple[str, ...] | None
    clusters: tuple[str, ...]
    position_N: Floats | None
    both_bad_N: Floats | None
    flags: tuple[str, ...]


def _rows(valid: Sequence[Battle], candidate: str, feature_set: FeatureSet) -> _Rows:
    style = style_columns(valid, candidate, feature_set)
    used = tuple(valid[i] for i in style.rows)
    both_bad = np.array([battle.winner == "both_bad" for battle in used], dtype=np.float64)
    may_favour_a_side = any(battle.judge_kind in POSITION_KINDS for battle in used)
    first = np.array([1.0 if battle.model_a == candidate else -1.0 for battle in used])
    return _Rows(
        battles=used,
        y_N=np.array([candidate_outcome(battle, candidate) for battle in used], dtype=np.float64),
        z_NK=None if style.z is None else np.array(style.z, dtype=np.float64),
        names=None if style.z is None else tuple(feature_set.features),
        clusters=_clusters(used),
        position_N=first if may_favour_a_side else None,
        both_bad_N=both_bad if both_bad.any() else None,
        flags=style.flags,
    )


def _clusters(battles: Sequence[Battle]) -> tuple[str, ...]:
    return tuple(b.prompt_id if b.cluster_id is None else b.cluster_id for b in battles)


def _fit(rows: _Rows, ridge: float, confidence: float) -> PairFit | Undetermined:
    return fit_pair(
        rows.y_N,
        rows.z_NK,
        feature_names=rows.names,
        clusters=rows.clusters,
        position=rows.position_N,
        both_bad=rows.both_bad_N,
        ridge=ridge,
        confidence=confidence,
    )


def _fit_categories(
    rows: _Rows, ridge: float, confidence: float
) -> tuple[CategoryFits | None, int]:
    """Fits of the largest categories, and how many were left out."""
    sizes = Counter(name for battle in rows.battles for name in set(battle.categories))
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:MOST_CATEGORIES]
    kept = set(largest)
    fits = fit_categories(
        rows.y_N,
        [[name for name in battle.categories if name in kept] for battle in rows.battles],
        rows.z_NK,
        feature_names=rows.names,
        clusters=rows.clusters,
        position=rows.position_N,
        ridge=ridge,
        confidence=confidence,
    )
    return None if isinstance(fits, Undetermined) else fits, len(sizes) - len(largest)


def _judges(pair: PairBattles) -> tuple[list[str], list[str]]:
    everything = pair.valid + pair.invalid
    return sorted({b.judge for b in everything}), sorted({b.judge_kind for b in everything})


def _flags(pair: PairBattles, kind: str, smoke: bool, n_left_out: int) -> list[str]:
    flags = []
    if smoke:
        flags.append("smoke")
    if kind == "heuristic":
        flags.append("heuristic_judge")
    if kind == "mixed":
        flags.append("mixed_judge_kinds")
    if len(pair.invalid) > MOST_MISSING * (len(pair.valid) + len(pair.invalid)):
        flags.append(f"missing_judgments:{len(pair.invalid)}")
    if pair.n_other_pairs:
        flags.append(f"other_pairs_ignored:{pair.n_other_pairs}")
    if n_left_out:
        flags.append(f"categories_left_out:{n_left_out}")
    return flags


def _sensitivity(
    fit: PairFit, rows: _Rows, invalid: Sequence[Battle], confidence: float
) -> tuple[dict[str, Estimate], list[str]]:
    """Raw Elo under other choices, and flags for those that cannot be computed."""
    choices: dict[str, PairFit | Undetermined] = {s.name: s.fit for s in fit.sensitivity}
    if invalid:
        choices["missing_as_ties"] = fit_pair(
            np.concatenate([rows.y_N, np.full(len(invalid), 0.5)]),
            clusters=(*rows.clusters, *_clusters(invalid)),
            confidence=confidence,
            sensitivity=False,
        )
    known = {name: c.raw_elo for name, c in choices.items() if isinstance(c, PairFit)}
    return known, [f"undetermined:{name}" for name in choices if name not in known]


def _win_rate(fit: PairFit) -> Estimate:
    points = fit.raw_points
    return Estimate(
        estimate=0.5 + points.estimate / 100.0,
        lower=max(0.0, 0.5 + points.lower / 100.0),
        upper=min(1.0, 0.5 + points.upper / 100.0),
        se=None if points.se is None else points.se / 100.0,
    )


def _style_effects(fit: PairFit) -> tuple[StyleEffect, ...]:
    """The features whose effect is their own; collinear ones have a joint effect only."""
    return tuple(
        StyleEffect(
            feature=feature.name,
            coefficient=feature.coefficient * feature.rms,
            mean_shift=feature.mean_difference,
            elo=feature.style_elo,
        )
        for feature in fit.features
        if feature.coefficient is not None and feature.style_elo is not None
    )


def _categories(fits: CategoryFits | None) -> tuple[PreferenceCategory, ...]:
    return tuple(
        PreferenceCategory(
            capability=row.name,
            n_battles=row.n_battles,
            n_prompts=row.n_prompts,
            tie_rate=row.tie_rate,
            raw_elo=row.raw_elo,
            substance_elo=row.substance_elo,
            q_value=row.q_value,
            few=row.few_prompts,
        )
        for row in (fits.categories if fits else ())
    )


def _heterogeneity_p(fits: CategoryFits | None) -> float | None:
    if fits is None or isinstance(fits.heterogeneity_p, Undetermined):
        return None
    return fits.heterogeneity_p
