"""Style-controlled preference of a pair: raw = substance + style + dispersion.

For two models Bradley-Terry is a logistic regression. With rows oriented candidate - baseline,
 raw:        logit P(candidate preferred) = logit(mean y)
 controlled: logit P = s + z·g (+ position), z scaled by its RMS and never centred
substance is s, style is g·(mean z), and dispersion is what is left of raw because the logit does
not average (non-collapsibility). Intervals come from stacked influence functions summed within
clusters (Stefanski and Boos 2002).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.clusters import ClusterLabels
from modeldiff_harness.stats.estimates import (
    Estimate,
    Floats,
    Undetermined,
    check_confidence,
    wald,
)
from modeldiff_harness.stats.logit import fit_grouped_logit
from modeldiff_harness.stats.pairfit.diagnostics import (
    FeatureDiagnostics,
    condition_number,
    feature_diagnostics,
    separation_flags,
)
from modeldiff_harness.stats.pairfit.dispersion import resample_dispersion
from modeldiff_harness.stats.pairfit.parts import (
    PartEstimates,
    RawParts,
    controlled_parts,
    elo_parts,
    feature_influence,
    point_parts,
    raw_parts,
    scaled_estimate,
)
from modeldiff_harness.stats.pairfit.rows import PairRows, orient, pair_design, pair_rows
from modeldiff_harness.stats.power import ELO_PER_LOGIT

__all__ = ["PairFit", "Sensitivity", "StyleFeature", "fit_pair", "fit_rows", "orient"]

T_BELOW_CLUSTERS = 50
"""Fewer clusters than this use Student's t."""
_UNBALANCED = 0.05


@dataclass(frozen=True)
class StyleFeature:
    """One style feature's part in the preference."""

    name: str
    """The feature's name."""
    rms: float
    """Root mean square of the difference z, which scales it."""
    mean_difference: float
    """Mean z, candidate - baseline, unscaled."""
    coefficient: float | None
    """Log-odds per unit of unscaled z: what `style_coefficients` takes; None when not fitted."""
    style_elo: Estimate | None
    """coefficient x mean difference in Elo; None when only the joint effect is identified."""
    overlap: float
    """Smaller share of battles with z ≤ 0 or z ≥ 0."""
    vif: float | None
    """Variance inflation; None when the other features determine this one."""


@dataclass(frozen=True)
class Sensitivity:
    """The same fit under another choice."""

    name: str
    """What was changed, such as `ties_dropped`."""
    n_battles: int
    """Battles left."""
    fit: PairFit | Undetermined
    """The fit without sensitivity rows of its own."""


@dataclass(frozen=True)
class PairFit:
    """The preference for the candidate over the baseline in parts, with intervals.

    The parts other than raw are None when style control is unavailable or refused; `flags` says
    why. Elo = 173.72 x log-odds; points are win-rate percentage points, where style is the step
    from equal style to the mean difference. Dispersion is quadratic in the style effects: from 20
    to 499 clusters its interval is a cluster bootstrap's (`pairfit_dispersion`).
    """

    n_battles: int
    """Rows."""
    n_clusters: int
    """Prompts or conversations."""
    win_rate: float
    """Weighted mean outcome, ties as a half."""
    tie_rate: float
    """Weighted share of outcomes of exactly a half."""
    confidence: float
    """Level of all intervals."""
    df: float | None
    """C - 1 when there are fewer than 50 clusters, else None (normal)."""
    raw_elo: Estimate
    """173.72·logit(mean y)."""
    substance_elo: Estimate | None
    """173.72·s: preference at equal measured style, not true quality."""
    style_elo: Estimate | None
    """173.72·g·(mean z)."""
    dispersion_elo: Estimate | None
    """raw - substance - style."""
    raw_points: Estimate
    """100·(mean y - ½)."""
    substance_points: Estimate | None
    """100·(σ(s) - ½)."""
    style_points: Estimate | None
    """100·(σ(s + g·mean z) - σ(s))."""
    dispersion_points: Estimate | None
    """What is left of raw."""
    position_elo: Estimate | None
    """Gain of the answer shown first over a neutral position; None without a position term."""
    features: tuple[StyleFeature, ...]
    """In the order of the columns."""
    flags: tuple[str, ...]
    """Such as `separation`, `all_wins`, `no_overlap:tokens`, `collinear:bold`."""
    sensitivity: tuple[Sensitivity, ...] = ()
    """The fit without ties, and without both-bad votes where they were marked."""

    @property
    def style_controlled(self) -> bool:
        """Whether the parts are reported."""
        return self.substance_elo is not None


def fit_pair(
    outcomes: npt.ArrayLike,
    style: npt.ArrayLike | None = None,
    *,
    feature_names: Sequence[str] | None = None,
    clusters: ClusterLabels | None = None,
    position: npt.ArrayLike | None = None,
    weights: npt.ArrayLike | None = None,
    both_bad: npt.ArrayLike | None = None,
    style_coefficients: npt.ArrayLike | None = None,
    ridge: float = 1.0,
    confidence: float = 0.95,
    sensitivity: bool = True,
) -> PairFit | Undetermined:
    """Fit the pair, candidate - baseline.

    `outcomes` (N,): 1 the candidate preferred, 0 the baseline, ½ a tie (any value in [0, 1]).
    `style` (N, K): normalised style differences z; None for raw only. `clusters` (N,): prompt or
    conversation. `position` (N,): +1 candidate shown first, -1 second, 0 unknown; None for no
    position term. `weights` (N,): rescaled to mean 1. `both_bad` (N,) bool: ties that a
    sensitivity row drops apart. `style_coefficients` (K,): fixed log-odds per unit of unscaled
    z, in place of fitting them. `ridge`: 0 to 1, on the summed loss, on scaled g only.

    Returns `Undetermined` without battles or with one cluster. Raises `UsageError` for shapes
    that differ, outcomes outside [0, 1] or values that are not finite.
    """
    check_confidence(confidence)
    if not 0.0 <= ridge <= 1.0:
        raise UsageError(f"ridge is {ridge}; more than 1 on the summed loss shrinks style away")
    rows = pair_rows(
        outcomes, style, feature_names, clusters, position, weights, both_bad, style_coefficients
    )
    return fit_rows(rows, ridge, confidence, sensitivity)


def fit_rows(
    rows: PairRows, ridge: float, confidence: float, sensitivity: bool
) -> PairFit | Undetermined:
    """`fit_pair` on checked rows."""
    if len(rows.y_N) == 0:
        return Undetermined("no battles", 0)
    if rows.n_clusters < 2:
        return Undetermined("one cluster of battles has no variance", rows.n_clusters)
    df = float(rows.n_clusters - 1) if rows.n_clusters < T_BELOW_CLUSTERS else None
    # Summed alike above and below, a clean sweep is exactly 0 or 1.
    win_rate = float((rows.weight_N * rows.y_N).sum() / rows.weight_N.sum())
    flags = ["few_clusters"] if df is not None else []
    parts: _Parts | None = None
    if win_rate in (0.0, 1.0):
        flags.append("all_wins" if win_rate == 1.0 else "all_losses")
        raw_elo, raw_points = one_sided_raw(rows, confidence, df)
    else:
        one_group = np.zeros(len(rows.y_N), np.int64)
        raw = raw_parts(rows, one_group, 1)
        raw_elo = scaled_estimate(
            ELO_PER_LOGIT, float(raw.log_odds_J[0]), raw.log_odds_CJ[:, 0], confidence, df
        )
        raw_points = scaled_estimate(100.0, win_rate - 0.5, raw.win_rate_CJ[:, 0], confidence, df)
        parts, refused = _controlled(rows, raw, ridge, confidence, df)
        flags += refused
    diagnostics = feature_diagnostics(rows.z_NK, rows.weight_N)
    flags += _row_flags(rows, diagnostics)
    elo, points = (parts.elo, parts.points) if parts else (None, None)
    return PairFit(
        n_battles=len(rows.y_N),
        n_clusters=rows.n_clusters,
        win_rate=win_rate,
        tie_rate=float(rows.weight_N @ (rows.y_N == 0.5) / rows.weight_N.sum()),
        confidence=confidence,
        df=df,
        raw_elo=raw_elo,
        substance_elo=elo.substance if elo else None,
        style_elo=elo.style if elo else None,
        dispersion_elo=elo.dispersion if elo else None,
        raw_points=raw_points,
        substance_points=points.substance if points else None,
        style_points=points.style if points else None,
        dispersion_points=points.dispersion if points else None,
        position_elo=parts.position_elo if parts else None,
        features=_features(rows, diagnostics, parts, confidence, df),
        flags=tuple(flags),
        sensitivity=_sensitivity(rows, ridge, confidence) if sensitivity else (),
    )


def one_sided_raw(rows: PairRows, confidence: float, df: float | None) -> tuple[Estimate, Estimate]:
    """Raw Elo and points when one side won everything: half a win and half a loss are added.

    Residuals say nothing here, so the standard error is that of C clusters which all went one way.
    """
    n, n_clusters = len(rows.y_N), rows.n_clusters
    wins = float(rows.weight_N @ rows.y_N)
    rate = (wins + 0.5) / (n + 1.0)
    by_cluster = (n_clusters + 0.5) / (n_clusters + 1.0)
    spread = by_cluster * (1.0 - by_cluster)
    elo_se = ELO_PER_LOGIT / math.sqrt((n_clusters + 1.0) * spread)
    point_se = 100.0 * math.sqrt(spread / (n_clusters + 1.0))
    points = wald(100.0 * (rate - 0.5), point_se, confidence, df)
    elo = wald(ELO_PER_LOGIT * math.log(rate / (1.0 - rate)), elo_se, confidence, df)
    bounded = Estimate(
        points.estimate, max(-50.0, points.lower), min(50.0, points.upper), points.se
    )
    return elo, bounded


@dataclass(frozen=True, eq=False)
class _Parts:
    elo: PartEstimates
    points: PartEstimates
    position_elo: Estimate | None
    per_unit_K: Floats
    feature_CK: Floats


def _controlled(
    rows: PairRows, raw: RawParts, ridge: float, confidence: float, df: float | None
) -> tuple[_Parts | None, list[str]]:
    """The controlled fit, or None with the flags that refuse it."""
    if not rows.has_style:
        return None, ["style_control_not_available"]
    design = pair_design(rows, ridge)
    if rows.n_clusters <= design.x_NP.shape[1] + 2:
        return None, ["too_few_clusters"]
    one_group = np.zeros(len(rows.y_N), np.int64)
    fit = fit_grouped_logit(
        rows.y_N, design.x_NP, rows.weight_N, one_group, 1, design.penalty_P, design.offset_N
    )
    information_N = rows.weight_N * fit.probability_N * (1.0 - fit.probability_N)
    refused = separation_flags(
        fit.slope_K,
        fit.probability_N,
        rows.weight_N,
        condition_number(design.x_NP, information_N),
        fit.converged,
    )
    if refused:
        return None, list(refused)
    parts = controlled_parts(rows, design, fit, one_group, 1)
    elo = elo_parts(raw, parts, 0, confidence, df)
    points = point_parts(raw, parts, 0, confidence, df)
    if (draws := resample_dispersion(rows, design, fit, raw, parts)) is not None:
        elo = replace(elo, dispersion=draws.elo(elo.dispersion.estimate, confidence))
        points = replace(points, dispersion=draws.points(points.dispersion.estimate, confidence))
    position_elo = None
    if design.has_position:
        position_elo = scaled_estimate(
            ELO_PER_LOGIT, float(fit.slope_K[-1]), parts.slope_CP[:, -1], confidence, df
        )
    return _Parts(
        elo,
        points,
        position_elo,
        parts.per_unit_K,
        feature_influence(rows, design, parts),
    ), []


def _row_flags(rows: PairRows, diagnostics: Sequence[FeatureDiagnostics]) -> list[str]:
    flags = []
    for name, column, feature in zip(rows.names, rows.z_NK.T, diagnostics, strict=True):
        if not column.any():
            flags.append(f"unused_feature:{name}")
            continue
        if feature.extrapolates:
            flags.append(f"no_overlap:{name}")
        if feature.collinear:
            flags.append(f"collinear:{name}")
    if rows.position_N is not None:
        if np.ptp(rows.position_N) == 0.0:
            flags.append("position_not_identified")
        elif abs(float(rows.weight_N @ rows.position_N)) > _UNBALANCED * rows.weight_N.sum():
            flags.append("position_unbalanced")
    return flags


def _features(
    rows: PairRows,
    diagnostics: Sequence[FeatureDiagnostics],
    parts: _Parts | None,
    confidence: float,
    df: float | None,
) -> tuple[StyleFeature, ...]:
    share_N = rows.weight_N / rows.weight_N.sum()
    mean_K, rms_K = share_N @ rows.z_NK, np.sqrt(share_N @ rows.z_NK**2)
    features = []
    for k, (name, diagnostic) in enumerate(zip(rows.names, diagnostics, strict=True)):
        coefficient, style_elo = None, None
        if parts is not None:
            coefficient = float(parts.per_unit_K[k])
            # A fixed coefficient is its own; a fitted one is not when features move together.
            if rows.fixed_K is not None or not diagnostic.collinear or rms_K[k] == 0.0:
                style_elo = scaled_estimate(
                    ELO_PER_LOGIT,
                    coefficient * float(mean_K[k]),
                    parts.feature_CK[:, k],
                    confidence,
                    df,
                )
        features.append(
            StyleFeature(
                name,
                float(rms_K[k]),
                float(mean_K[k]),
                coefficient,
                style_elo,
                diagnostic.overlap,
                diagnostic.vif,
            )
        )
    return tuple(features)


def _sensitivity(rows: PairRows, ridge: float, confidence: float) -> tuple[Sensitivity, ...]:
    choices = [("ties_dropped", rows.y_N != 0.5)]
    if rows.both_bad_N is not None:
        choices.append(("both_bad_dropped", ~rows.both_bad_N))
    return tuple(
        Sensitivity(
            name, int(kept.sum()), fit_rows(rows.take(kept), ridge, confidence, sensitivity=False)
        )
        for name, kept in choices
        if not kept.all()
    )
