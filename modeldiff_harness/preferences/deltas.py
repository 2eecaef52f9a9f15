"""From the fits of a pair to what `rank` says of it: `PreferenceDeltas`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from modeldiff_harness.artifacts import (
    Battle,
    Battles,
    Estimate,
    PreferenceCategory,
    PreferenceDeltas,
    StyleEffect,
)
from modeldiff_harness.preferences.position import position_flags, position_sentence
from modeldiff_harness.preferences.rows import BattleRows, PairBattles
from modeldiff_harness.preferences.sentence import preference_sentence
from modeldiff_harness.stats.estimates import Undetermined
from modeldiff_harness.stats.gate import style_driven_gain, style_hidden_loss
from modeldiff_harness.stats.pairfit.categories import CategoryFits
from modeldiff_harness.stats.pairfit.fit import PairFit

__all__ = ["PreferenceFits", "preference_deltas"]

GATEABLE_KINDS = frozenset({"human", "llm", "reward_model", "verifiable"})
MOST_MISSING = 0.02
"""Share of missing judgments above which a gate is inconclusive."""


_SAID_BY_THE_ROWS = frozenset({"style_control_not_available", "position_unbalanced"})


@dataclass(frozen=True, eq=False)
class PreferenceFits:
    """The fit that is reported, the battles it rests on, and what other choices give."""

    fit: PairFit
    otherwise: dict[str, PairFit | Undetermined]
    """Choice → fit: ties dropped, both-bad votes dropped, missing as ties, direct battles only."""
    own: BattleRows
    """Of the pair."""
    used: BattleRows
    """Of all models the fit learns from."""
    invalid: tuple[Battle, ...]
    n_models: int
    flags: tuple[str, ...]
    by_category: CategoryFits | None = None
    """Of the pair's own battles."""
    n_categories_left_out: int = 0


def preference_deltas(
    battles: Battles, pair: PairBattles, fits: PreferenceFits, feature_set: str, *, smoke: bool
) -> PreferenceDeltas:
    """Return the deltas; `smoke` marks a limited run."""
    fit, used, by_category = fits.fit, fits.used.battles, fits.by_category
    judges = sorted({battle.judge for battle in (*used, *fits.invalid)})
    kinds = sorted({battle.judge_kind for battle in (*used, *fits.invalid)})
    kind = kinds[0] if len(kinds) == 1 else "mixed"
    known = {name: one for name, one in fits.otherwise.items() if isinstance(one, PairFit)}
    placed = position_flags(fits.own.battles, pair.candidate)
    flags = [
        *fits.flags,
        *_run_flags(fits, battles.n_missing, kind, smoke),
        *fits.used.flags,
        *placed,
        *_style_driven(fit),
        # The rows say better than the fit why there is no style, and how many lack it.
        *(flag for flag in fit.flags if flag not in _SAID_BY_THE_ROWS),
        *(f"undetermined:{name}" for name in fits.otherwise if name not in known),
    ]
    confounded = "position_not_identified" in flags
    n_missing = len(fits.invalid) + battles.n_missing + fits.used.n_left_out
    heterogeneity = by_category.heterogeneity_p if by_category else None
    return PreferenceDeltas(
        judge=judges[0] if len(judges) == 1 else f"{len(judges)} judges",
        judge_kind=kind,
        feature_set=feature_set,
        raw_elo=fit.elo.raw,
        substance_elo=fit.elo.substance,
        style_elo=fit.elo.style,
        dispersion_elo=fit.elo.dispersion,
        win_rate=_win_rate(fit.points.raw),
        style_effects=_style_effects(fit),
        sensitivity={name: one.elo.raw for name, one in known.items()},
        n_battles=fit.n_battles,
        n_prompts=len({battle.prompt_id for battle in used}),
        n_clusters=fit.n_clusters,
        n_invalid=n_missing,
        tie_rate=fit.tie_rate,
        flags=tuple(dict.fromkeys(flags)),
        categories=_categories(by_category),
        heterogeneity_p=None if isinstance(heterogeneity, Undetermined) else heterogeneity,
        gateable=kind in GATEABLE_KINDS and not smoke,
        sentence=preference_sentence(
            pair.baseline, pair.candidate, fit.elo.raw, fit.elo.substance, fit.elo.style
        )
        + (f" {position_sentence(fits.own.battles, pair.candidate)}" if confounded else ""),
        raw_points=fit.points.raw,
        substance_points=fit.points.substance,
        style_points=fit.points.style,
        dispersion_points=fit.points.dispersion,
        position_elo=fit.position_elo,
        sensitivity_substance={
            name: one.elo.substance for name, one in known.items() if one.elo.substance is not None
        },
        n_models=fits.n_models,
        n_direct=len(fits.own.battles),
        source=battles.source,
        dropped=dict(battles.dropped),
    )


def _style_driven(fit: PairFit) -> list[str]:
    """A gain, or a loss, that style alone explains: what raw or substance alone would not say."""
    parts = (fit.elo.raw, fit.elo.substance, fit.elo.style)
    flags = ["style_driven_gain"] if style_driven_gain(*parts) else []
    if style_hidden_loss(*parts):
        flags.append("style_driven_loss")
    return flags


def _run_flags(fits: PreferenceFits, n_unread: int, kind: str, smoke: bool) -> list[str]:
    n_invalid = len(fits.invalid) + n_unread + fits.used.n_left_out
    flags = ["smoke"] if smoke else []
    if kind == "heuristic":
        flags.append("heuristic_judge")
    if kind == "mixed":
        flags.append("mixed_judge_kinds")
    if n_invalid > MOST_MISSING * (len(fits.used.battles) + n_invalid):
        flags.append(f"missing_judgments:{n_invalid}")
    if fits.n_categories_left_out:
        flags.append(f"categories_left_out:{fits.n_categories_left_out}")
    return flags


def _win_rate(points: Estimate) -> Estimate:
    """The win rate in [0, 1] from 100·(win rate - ½)."""
    return replace(
        points,
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
