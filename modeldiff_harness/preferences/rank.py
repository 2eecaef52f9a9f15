"""Verb `rank`: what the battles say about a pair, split into substance and style."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from modeldiff_harness.artifacts import Battles, PreferenceDeltas
from modeldiff_harness.clean_text import clean_text
from modeldiff_harness.contracts import FeatureSet, Runtime
from modeldiff_harness.errors import RunError
from modeldiff_harness.preferences.coefficients import coefficient_row
from modeldiff_harness.preferences.deltas import PreferenceFits, preference_deltas
from modeldiff_harness.preferences.rows import (
    BattleRows,
    PairBattles,
    battle_clusters,
    rows_a_against_b,
    rows_of_pair,
    select_pair,
)
from modeldiff_harness.stats.estimates import Undetermined
from modeldiff_harness.stats.pairfit.categories import fit_categories
from modeldiff_harness.stats.pairfit.fit import PairFit, fit_pair, fit_without_ties_or_bad
from modeldiff_harness.stats.pairfit.many import (
    fit_among_many,
    fit_among_many_otherwise,
    many_rows,
)
from modeldiff_harness.stats.pairfit.rows import FitOptions, pair_rows

__all__ = ["rank"]

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
    smoke: bool = False,
    runtime: Runtime,
) -> PreferenceDeltas:
    """Fit the pair: Elo deltas, candidate - baseline.

    Battles of other models, when there are any, teach the scores and the style effects
    (Bradley-Terry over all, `stats.pairfit.many`); `pair_only` ignores them.  Categories are of the
    pair's own battles.  Invalid battles are counted and never ties.  Intervals are by `cluster_id`,
    else by prompt.  Without answers or style counts the parts are None.  `style_coefficients` fixes
    the log-odds per unit of each feature's z.  `smoke` marks a limited run, which is not gateable.
    Swapping `baseline` and `candidate` negates every delta.

    Raises:
        UsageError: a model is in no battle, the two names are equal, or the coefficients are not
            those of the feature set.
        RunError: fewer than two prompts have a verdict, so that nothing has an interval.
    """
    # Names in files were cleaned when they were read.
    pair = select_pair(battles.battles, clean_text(baseline), clean_text(candidate))
    n_all = len(pair.valid) + (0 if pair_only else len(pair.others))
    with runtime.progress.task(f"rank {candidate}", n_all, unit="battle") as task:
        own = rows_of_pair(pair.valid, candidate, feature_set)
        options = _options(style_coefficients, own, ridge)
        fits: PreferenceFits | Undetermined | None = None
        if pair.others and not pair_only:
            everyone = rows_a_against_b((*pair.valid, *pair.others), feature_set)
            fits = _among_many(pair, own, everyone, _options(style_coefficients, everyone, ridge))
        if not isinstance(fits, PreferenceFits):
            fits = _alone(pair, own, options, unlinked=fits is not None)
        if fits.n_models > 2 and style_coefficients is None:
            options = _learnt(fits.fit, own, ridge)
        fits = _by_category(fits, options)
        task.advance(n_all)
    if style_coefficients is not None and fits.fit.style_controlled:
        flags = ("fixed_style_coefficients", *fits.fit.flags)
        fits = replace(fits, fit=replace(fits.fit, flags=flags))
    return preference_deltas(battles, pair, fits, feature_set.name, smoke=smoke)


def _options(
    coefficients: Mapping[str, float] | None, battles: BattleRows, ridge: float
) -> FitOptions:
    return FitOptions(coefficient_row(coefficients, battles.rows.names), ridge)


def _alone(
    pair: PairBattles, own: BattleRows, options: FitOptions, *, unlinked: bool
) -> PreferenceFits:
    """The fit of the pair's own battles, which nothing links to others or which is wanted so."""
    fit = fit_pair(own.rows, options)
    if isinstance(fit, Undetermined):
        raise RunError(
            f"nothing can be said about {pair.candidate!r} against {pair.baseline!r}: {fit.reason} "
            f"({len(pair.valid)} battles with a verdict, {len(pair.invalid)} without).",
            hint="Give more prompts, or a judge that can decide them.",
        )
    n_others = len(pair.others) + len(pair.others_invalid)
    flags: tuple[str, ...] = ()
    if unlinked:
        flags = ("unlinked_pair",)
    elif n_others:
        flags = (f"other_pairs_ignored:{n_others}",)
    otherwise = fit_without_ties_or_bad(own.rows, options)
    if pair.invalid:
        otherwise["missing_as_ties"] = _missing_as_ties(pair, own)
    return PreferenceFits(fit, otherwise, own, own, pair.invalid, 2, flags)


def _missing_as_ties(pair: PairBattles, own: BattleRows) -> PairFit | Undetermined:
    outcomes = np.concatenate([own.rows.y_N, np.full(len(pair.invalid), 0.5)])
    return fit_pair(pair_rows(outcomes, clusters=battle_clusters((*own.battles, *pair.invalid))))


def _among_many(
    pair: PairBattles, own: BattleRows, everyone: BattleRows, options: FitOptions
) -> PreferenceFits | Undetermined:
    """The fit of all battles; `Undetermined` when they do not link the pair."""
    battles = many_rows(
        everyone.rows,
        [battle.model_a for battle in everyone.battles],
        [battle.model_b for battle in everyone.battles],
        baseline=pair.baseline,
        candidate=pair.candidate,
    )
    many = fit_among_many(battles, options)
    if isinstance(many, Undetermined):
        return many
    otherwise = fit_among_many_otherwise(battles, options)
    flags = [f"many_models:{many.n_models}"] if many.n_models > 2 else []
    if many.n_left_out:
        flags.append(f"unlinked_left_out:{many.n_left_out}")
    if many.n_direct == 0:
        flags.append("no_direct_battles")
        # That they say nothing is no more than that flag.
        del otherwise["direct_battles_only"]
    elif _disagree(otherwise["direct_battles_only"], many.pair):
        flags.append("direct_disagrees")
    if pair.invalid and many.n_models == 2:
        otherwise["missing_as_ties"] = _missing_as_ties(pair, own)
    invalid = (*pair.invalid, *pair.others_invalid)
    return PreferenceFits(many.pair, otherwise, own, everyone, invalid, many.n_models, tuple(flags))


def _disagree(direct: PairFit | Undetermined, among_many: PairFit) -> bool:
    """Compare the pair's own battles with all battles, which hold them (Hausman 1978)."""
    if isinstance(direct, Undetermined):
        return False
    one, other = direct.elo.substance, among_many.elo.substance
    if one is None or other is None:
        one, other = direct.elo.raw, among_many.elo.raw
    if one.se is None or other.se is None or one.se <= other.se:
        return False
    return abs(one.estimate - other.estimate) > _DISAGREEMENT * math.sqrt(one.se**2 - other.se**2)


def _learnt(fit: PairFit, own: BattleRows, ridge: float) -> FitOptions:
    """Style effects learnt from all battles, for the categories of the pair's own, if they can."""
    effects = [f.coefficient for f in fit.features if f.coefficient is not None]
    known = own.rows.names and len(effects) == len(own.rows.names) == len(fit.features)
    if not known:
        return FitOptions(None, ridge)
    return FitOptions(effects, ridge, style_covariance=fit.style_covariance)


def _by_category(fits: PreferenceFits, options: FitOptions) -> PreferenceFits:
    """The fits with those of the largest categories of the pair's own battles."""
    battles = fits.own.battles
    sizes = Counter(name for battle in battles for name in set(battle.categories))
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:MOST_CATEGORIES]
    kept = set(largest)
    found = fit_categories(
        fits.own.rows,
        [[name for name in battle.categories if name in kept] for battle in battles],
        options,
    )
    return replace(
        fits,
        by_category=None if isinstance(found, Undetermined) else found,
        n_categories_left_out=len(sizes) - len(largest),
    )
