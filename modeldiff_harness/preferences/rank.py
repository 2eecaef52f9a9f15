"""Verb `rank`: what the battles say about a pair, split into substance and style."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
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
from modeldiff_harness.preferences.orientation import PairBattles, select_pair
from modeldiff_harness.preferences.rank_rows import (
    FitRows,
    battle_clusters,
    coefficient_row,
    rows_a_against_b,
    rows_of_pair,
)
from modeldiff_harness.preferences.sentence import preference_sentence
from modeldiff_harness.stats.estimates import Floats, Undetermined
from modeldiff_harness.stats.pairfit.categories import CategoryFits, fit_categories
from modeldiff_harness.stats.pairfit.fit import PairFit, fit_pair
from modeldiff_harness.stats.pairfit.many import ManyFit, fit_among_many

__all__ = ["rank"]

GATEABLE_KINDS = frozenset({"human", "llm", "reward_model", "verifiable"})
MOST_MISSING = 0.02
"""Share of missing judgments above which a gate is inconclusive."""
MOST_CATEGORIES = 64
"""Categories that are fitted; a file with more is cut to its largest."""
_DISAGREEMENT = 2.576
"""Standard errors between direct and overall substance that are called a disagreement (1 %)."""


def rank(
    battles: Battles,
    *,
    baseline: str,
    candidate: str,
    feature_set: FeatureSet,
    style_coefficients: Mapping[str, float] | None = None,
    pair_only: bool = False,
    ridge: float = 1.0,
    confidence: float = 0.95,
    smoke: bool = False,
    runtime: Runtime,
) -> PreferenceDeltas:
    """Fit the pair: Elo deltas, candidate - baseline.

    Battles of other models, when there are any, teach the scores and the style effects
    (Bradley-Terry over all, `stats.pairfit_many`); `pair_only` ignores them.  Categories are of the
    pair's own battles.  Invalid battles are counted and never ties.  Intervals are by `cluster_id`,
    else by prompt.  Without answers or style counts the parts are None.  `style_coefficients` fixes
    the log-odds per unit of each feature's z.  `smoke` marks a limited run, which is not gateable.
    Swapping `baseline` and `candidate` negates every delta.

    Raises:
        UsageError: a model is in no battle, the two names are equal, or the coefficients are not
            those of the feature set.
        RunError: fewer than two prompts have a verdict, so that nothing has an interval.
    """
    pair = select_pair(battles.battles, baseline, candidate)
    n_all = len(pair.valid) + (0 if pair_only else len(pair.others))
    with runtime.progress.task(f"rank {candidate}", n_all, unit="battle") as task:
        own = rows_of_pair(pair.valid, candidate, feature_set)
        fixed = coefficient_row(style_coefficients, own.names)
        found = _found(
            pair, own, baseline, candidate, feature_set,
            _Options(style_coefficients, pair_only, ridge, confidence),
        )  # fmt: skip
        learnt = fixed if fixed is not None else _learnt(found, own)
        by_category, n_left_out = _fit_categories(own, learnt, ridge, confidence)
        task.advance(n_all)
    fit = found.fit
    judges, kinds = _judges((*found.rows.battles, *found.invalid))
    kind = kinds[0] if len(kinds) == 1 else "mixed"
    flags = [*_flags(found, kind, smoke, n_left_out), *found.rows.flags]
    if style_coefficients is not None and fit.style_controlled:
        flags.append("fixed_style_coefficients")
    # The rows say better than the fit why there is no style, and how many lack it.
    flags += [flag for flag in fit.flags if flag != "style_control_not_available"]
    fits, undetermined = _sensitivity(found, confidence)
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
        sensitivity={name: one.raw_elo for name, one in fits.items()},
        n_battles=fit.n_battles,
        n_prompts=len({battle.prompt_id for battle in found.rows.battles}),
        n_clusters=fit.n_clusters,
        n_invalid=len(found.invalid),
        tie_rate=fit.tie_rate,
        flags=tuple(dict.fromkeys([*flags, *undetermined])),
        categories=_categories(by_category),
        heterogeneity_p=_heterogeneity_p(by_category),
        gateable=kind in GATEABLE_KINDS and not smoke,
        sentence=preference_sentence(
            baseline, candidate, fit.raw_elo, fit.substance_elo, fit.style_elo
        ),
        raw_points=fit.raw_points,
        substance_points=fit.substance_points,
        style_points=fit.style_points,
        dispersion_points=fit.dispersion_points,
        position_elo=fit.position_elo,
        sensitivity_substance={
            name: one.substance_elo for name, one in fits.items() if one.substance_elo is not None
        },
        n_models=found.n_models,
        n_direct=len(own.battles),
        source=battles.source,
        dropped=dict(battles.dropped),
    )


@dataclass(frozen=True)
class _Options:
    coefficients: Mapping[str, float] | None
    pair_only: bool
    ridge: float
    confidence: float


@dataclass(frozen=True, eq=False)
class _Found:
    """The fit that is reported, and the battles it rests on."""

    fit: PairFit
    rows: FitRows
    invalid: tuple[Battle, ...]
    n_models: int
    flags: tuple[str, ...]


def _found(
    pair: PairBattles,
    own: FitRows,
    baseline: str,
    candidate: str,
    feature_set: FeatureSet,
    options: _Options,
) -> _Found:
    n_others = len(pair.others) + len(pair.others_invalid)
    flags: tuple[str, ...] = ()
    if pair.others and not options.pair_only:
        many = _among_many(pair, baseline, candidate, feature_set, options)
        if isinstance(many, _Found):
            return many
        flags = ("unlinked_pair",)
    elif n_others:
        flags = (f"other_pairs_ignored:{n_others}",)
    fit = fit_pair(
        own.y_N,
        own.z_NK,
        feature_names=own.names,
        clusters=own.clusters,
        position=own.position_N,
        both_bad=own.both_bad_N,
        style_coefficients=coefficient_row(options.coefficients, own.names),
        ridge=options.ridge,
        confidence=options.confidence,
    )
    if isinstance(fit, Undetermined):
        raise RunError(
            f"nothing can be said about {candidate!r} against {baseline!r}: {fit.reason} "
            f"({len(pair.valid)} battles with a verdict, {len(pair.invalid)} without).",
            hint="Give more prompts, or a judge that can decide them.",
        )
    return _Found(fit, own, pair.invalid, 2, flags)


def _among_many(
    pair: PairBattles,
    baseline: str,
    candidate: str,
    feature_set: FeatureSet,
    options: _Options,
) -> _Found | Undetermined:
    rows = rows_a_against_b((*pair.valid, *pair.others), feature_set)
    many = fit_among_many(
        rows.y_N,
        [battle.model_a for battle in rows.battles],
        [battle.model_b for battle in rows.battles],
        baseline=baseline,
        candidate=candidate,
        style_a_minus_b=rows.z_NK,
        feature_names=rows.names,
        clusters=rows.clusters,
        a_first=rows.position_N,
        both_bad=rows.both_bad_N,
        style_coefficients=coefficient_row(options.coefficients, rows.names),
        ridge=options.ridge,
        confidence=options.confidence,
    )
    if isinstance(many, Undetermined):
        return many
    flags = [f"many_models:{many.n_models}"] if many.n_models > 2 else []
    if many.n_left_out:
        flags.append(f"unlinked_left_out:{many.n_left_out}")
    if many.n_direct == 0:
        flags.append("no_direct_battles")
    elif _direct_disagrees(many):
        flags.append("direct_disagrees")
    invalid = (*pair.invalid, *pair.others_invalid)
    return _Found(many.pair, rows, invalid, many.n_models, tuple(flags))


def _direct_disagrees(many: ManyFit) -> bool:
    """Compare the pair's own battles with all battles, which hold them (Hausman 1978)."""
    direct = {row.name: row.fit for row in many.pair.sensitivity}.get("direct_battles_only")
    if not isinstance(direct, PairFit):
        return False
    one, other = direct.substance_elo, many.pair.substance_elo
    if one is None or other is None:
        one, other = direct.raw_elo, many.pair.raw_elo
    if one.se is None or other.se is None or one.se <= other.se:
        return False
    return abs(one.estimate - other.estimate) > _DISAGREEMENT * math.sqrt(one.se**2 - other.se**2)


def _learnt(found: _Found, own: FitRows) -> Floats | None:
    """Style effects learnt from all battles, for the categories of the pair's own; else None."""
    effects = [feature.coefficient for feature in found.fit.features]
    if found.n_models == 2 or own.names is None or len(effects) != len(own.names):
        return None
    if any(effect is None for effect in effects):
        return None
    return np.array(effects, dtype=np.float64)


def _fit_categories(
    rows: FitRows, fixed_K: Floats | None, ridge: float, confidence: float
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
        style_coefficients=fixed_K,
        ridge=ridge,
        confidence=confidence,
    )
    return None if isinstance(fits, Undetermined) else fits, len(sizes) - len(largest)


def _judges(battles: Sequence[Battle]) -> tuple[list[str], list[str]]:
    return sorted({b.judge for b in battles}), sorted({b.judge_kind for b in battles})


def _flags(found: _Found, kind: str, smoke: bool, n_left_out: int) -> list[str]:
    flags = list(found.flags)
    if smoke:
        flags.append("smoke")
    if kind == "heuristic":
        flags.append("heuristic_judge")
    if kind == "mixed":
        flags.append("mixed_judge_kinds")
    n_invalid = len(found.invalid)
    if n_invalid > MOST_MISSING * (len(found.rows.battles) + n_invalid):
        flags.append(f"missing_judgments:{n_invalid}")
    if n_left_out:
        flags.append(f"categories_left_out:{n_left_out}")
    return flags


def _sensitivity(found: _Found, confidence: float) -> tuple[dict[str, PairFit], list[str]]:
    """The fits under other choices, and flags for those that cannot be computed."""
    choices: dict[str, PairFit | Undetermined] = {s.name: s.fit for s in found.fit.sensitivity}
    rows = found.rows
    if found.invalid and found.n_models == 2:
        choices["missing_as_ties"] = fit_pair(
            np.concatenate([rows.y_N, np.full(len(found.invalid), 0.5)]),
            clusters=(*rows.clusters, *battle_clusters(found.invalid)),
            confidence=confidence,
            sensitivity=False,
        )
    known = {name: choice for name, choice in choices.items() if isinstance(choice, PairFit)}
    missing = [name for name in choices if name not in known]
    if "no_direct_battles" in found.flags:
        missing = [name for name in missing if name != "direct_battles_only"]
    return known, [f"undetermined:{name}" for name in missing]


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
            per_unit=feature.coefficient,
            vif=feature.vif,
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
