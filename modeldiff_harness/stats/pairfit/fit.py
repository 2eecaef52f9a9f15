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
from dataclasses import dataclass, field, fields, replace

import numpy as np

from modeldiff_harness.stats.estimates import (
    Bools,
    Estimate,
    Floats,
    Undetermined,
    critical_value,
    wald,
)
from modeldiff_harness.stats.paired_binary import pseudo_count_interval
from modeldiff_harness.stats.pairfit.diagnostics import (
    FeatureDiagnostics,
    feature_diagnostics,
)
from modeldiff_harness.stats.pairfit.dispersion import resample_dispersion
from modeldiff_harness.stats.pairfit.parts import (
    PartEstimates,
    RawParts,
    elo_parts,
    feature_influence,
    fit_controlled,
    point_parts,
    raw_parts,
    scaled_estimate,
)
from modeldiff_harness.stats.pairfit.rows import (
    DEFAULT_OPTIONS,
    FitOptions,
    PairRows,
    rms_style,
)
from modeldiff_harness.stats.power import ELO_PER_LOGIT

__all__ = ["PairFit", "StyleFeature", "fit_pair", "fit_without_ties_or_bad"]

T_BELOW_CLUSTERS = 500
"""Fewer clusters than this use Student's t …"""
FEW_CLUSTERS = 50
"""… and fewer than this are flagged."""
FEWEST_DECIDED = 20
"""Clusters that must prefer one side before residuals alone say how far chance reaches."""
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
class PairFit:
    """The preference for the candidate over the baseline in parts, with intervals.

    The parts other than raw are None when style control is unavailable or refused; `flags` says
    why. Elo = 173.72 x log-odds; points are win-rate percentage points, where style is the step
    from equal style to the mean difference. Dispersion is quadratic in the style effects: from 20
    to 499 clusters its interval is a cluster bootstrap's (`pairfit.dispersion`).
    """

    n_battles: int
    """Rows."""
    n_clusters: int
    """Prompts or conversations."""
    win_rate: float
    """Weighted mean outcome, ties as a half."""
    tie_rate: float
    """Weighted share of outcomes of exactly a half."""
    df: float | None
    """C - 1 when there are fewer than 500 clusters, else None (normal)."""
    elo: PartEstimates
    """173.72 x: logit(mean y); s, the preference at equal measured style, not true quality;
    g·(mean z); what is left of raw."""
    points: PartEstimates
    """100 x: mean y - ½; σ(s) - ½; σ(s + g·mean z) - σ(s); what is left of raw."""
    position_elo: Estimate | None
    """Gain of the answer shown first over a neutral position; None without a position term."""
    features: tuple[StyleFeature, ...]
    """In the order of the columns."""
    flags: tuple[str, ...]
    """Such as `separation`, `all_wins`, `no_overlap:tokens`, `collinear:bold`."""
    style_covariance: Floats | None = field(default=None, compare=False, repr=False)
    """Covariance (K, K) of the features' coefficients, where the fit hands them on."""

    @property
    def style_controlled(self) -> bool:
        """Whether the parts are reported."""
        return self.elo.substance is not None


def fit_pair(rows: PairRows, options: FitOptions = DEFAULT_OPTIONS) -> PairFit | Undetermined:
    """Fit the pair from rows that are oriented candidate - baseline.

    Returns `Undetermined` without battles or with one cluster.
    """
    if len(rows.y_N) == 0:
        return Undetermined("no battles", 0)
    if rows.n_clusters < 2:
        return Undetermined("one cluster of battles has no variance", rows.n_clusters)
    df = degrees_of_freedom(rows.n_clusters)
    # Summed alike above and below, a clean sweep is exactly 0 or 1.
    win_rate = float((rows.weight_N * rows.y_N).sum() / rows.weight_N.sum())
    flags = size_flags(rows.n_clusters, rows.n_decided)
    controlled: _Controlled | None = None
    if win_rate in (0.0, 1.0):
        flags.append("all_wins" if win_rate == 1.0 else "all_losses")
        raw_elo, raw_points = one_sided_raw(rows, options.confidence, df)
        elo, points = PartEstimates(raw_elo), PartEstimates(raw_points)
    else:
        raw = raw_parts(rows, np.zeros(len(rows.y_N), np.int64), 1)
        controlled, refused = _controlled(rows, raw, options, df)
        flags += refused
        elo, points = (
            (controlled.elo, controlled.points)
            if controlled
            else _raw_only(raw, options.confidence, df)
        )
        if rows.n_decided < FEWEST_DECIDED:
            extra = extra_se_of_few_decided(rows, raw_se_logit(elo.raw))
            elo = _widened(elo, ELO_PER_LOGIT * extra, options.confidence, df)
            slope = 100.0 * win_rate * (1.0 - win_rate)
            points = _widened(points, slope * extra, options.confidence, df)
    diagnostics = feature_diagnostics(rows.z_NK, rows.cluster_share_N)
    return PairFit(
        n_battles=len(rows.y_N),
        n_clusters=rows.n_clusters,
        win_rate=win_rate,
        tie_rate=rows.tie_rate,
        df=df,
        elo=elo,
        points=points,
        position_elo=controlled.position_elo if controlled else None,
        features=_features(rows, diagnostics, controlled, options, df),
        flags=(*flags, *_row_flags(rows, diagnostics)),
    )


def fit_without_ties_or_bad(
    rows: PairRows, options: FitOptions = DEFAULT_OPTIONS
) -> dict[str, PairFit | Undetermined]:
    """The fit under other choices: `ties_dropped` and, where marked, `both_bad_dropped`.

    A choice that drops nothing is left out.
    """
    return {name: fit_pair(rows.take(kept), options) for name, kept in kept_by_choice(rows)}


def kept_by_choice(rows: PairRows) -> list[tuple[str, Bools]]:
    """The rows that are left without ties, and without both-bad votes where they are marked."""
    choices = [("ties_dropped", rows.y_N != 0.5)]
    if rows.both_bad_N is not None:
        choices.append(("both_bad_dropped", ~rows.both_bad_N))
    return [(name, kept) for name, kept in choices if not kept.all()]


def degrees_of_freedom(n_clusters: int) -> float | None:
    """C - 1 for Student's t with few clusters; None for the normal with many."""
    return float(n_clusters - 1) if n_clusters < T_BELOW_CLUSTERS else None


def size_flags(n_clusters: int, n_decided: int) -> list[str]:
    """`few_clusters`, and `few_decided:n` where hardly any cluster prefers a side."""
    flags = ["few_clusters"] if n_clusters < FEW_CLUSTERS else []
    return [*flags, f"few_decided:{n_decided}"] if n_decided < FEWEST_DECIDED else flags


def raw_se_logit(raw_elo: Estimate) -> float:
    """Standard error of raw in log-odds."""
    return (raw_elo.se or 0.0) / ELO_PER_LOGIT


def extra_se_of_few_decided(rows: PairRows, se_logit: float) -> float:
    """What to add in quadrature to a standard error in log-odds when few clusters are decided.

    Residuals of 39 ties and one win say that nothing varies.  The Bonett-Price interval of the
    clusters' net outcomes, one pseudo-cluster won and one lost, says how far the mean may lie.
    """
    net_C = rows.net_C
    mean = float(net_C.mean())
    _, _, se = pseudo_count_interval(mean, float((net_C**2).mean()), rows.n_clusters)
    rate = 0.5 + mean / 2.0
    if not 0.0 < rate < 1.0:
        return 0.0
    return math.sqrt(max(0.0, (se / 2.0 / (rate * (1.0 - rate))) ** 2 - se_logit**2))


def _widened(
    parts: PartEstimates, extra_se: float, confidence: float, df: float | None
) -> PartEstimates:
    known = {f.name: getattr(parts, f.name) for f in fields(parts)}
    return PartEstimates(
        **{
            name: one and widened_estimate(one, extra_se, confidence, df)
            for name, one in known.items()
        }
    )


def widened_estimate(
    one: Estimate, extra_se: float, confidence: float, df: float | None
) -> Estimate:
    """The estimate with an independent standard error added in quadrature."""
    reach = critical_value(confidence, df) * extra_se
    return replace(
        one,
        lower=one.estimate - math.hypot(one.estimate - one.lower, reach),
        upper=one.estimate + math.hypot(one.upper - one.estimate, reach),
        se=math.hypot(one.se or 0.0, extra_se),
    )


def one_sided_raw(rows: PairRows, confidence: float, df: float | None) -> tuple[Estimate, Estimate]:
    """Raw Elo and points when one side won everything: half a win and half a loss are added.

    Residuals say nothing here: estimate and standard error are those of C clusters which all went
    one way, however often each was judged.
    """
    n_clusters = rows.n_clusters
    rate = (n_clusters * float(rows.y_N.max()) + 0.5) / (n_clusters + 1.0)
    by_cluster = (n_clusters + 0.5) / (n_clusters + 1.0)
    spread = by_cluster * (1.0 - by_cluster)
    elo_se = ELO_PER_LOGIT / math.sqrt((n_clusters + 1.0) * spread)
    point_se = 100.0 * math.sqrt(spread / (n_clusters + 1.0))
    points = wald(100.0 * (rate - 0.5), point_se, confidence, df)
    elo = wald(ELO_PER_LOGIT * math.log(rate / (1.0 - rate)), elo_se, confidence, df)
    return elo, replace(points, lower=max(-50.0, points.lower), upper=min(50.0, points.upper))


def _raw_only(
    raw: RawParts, confidence: float, df: float | None
) -> tuple[PartEstimates, PartEstimates]:
    log_odds, win_rate = float(raw.log_odds_J[0]), float(raw.win_rate_J[0])
    elo = scaled_estimate(ELO_PER_LOGIT, log_odds, raw.log_odds_CJ[:, 0], confidence, df)
    points = scaled_estimate(100.0, win_rate - 0.5, raw.win_rate_CJ[:, 0], confidence, df)
    return PartEstimates(elo), PartEstimates(points)


@dataclass(frozen=True, eq=False)
class _Controlled:
    elo: PartEstimates
    points: PartEstimates
    position_elo: Estimate | None
    per_unit_K: Floats
    feature_CK: Floats


def _controlled(
    rows: PairRows, raw: RawParts, options: FitOptions, df: float | None
) -> tuple[_Controlled | None, tuple[str, ...]]:
    """The controlled fit, or None with the flags that refuse it."""
    found, refused = fit_controlled(rows, np.zeros(len(rows.y_N), np.int64), 1, options)
    if found is None:
        return None, refused
    design, parts = found.design, found.parts
    confidence = options.confidence
    elo = elo_parts(raw, parts, 0, confidence, df)
    points = point_parts(raw, parts, 0, confidence, df)
    if (draws := resample_dispersion(rows, found, raw)) is not None:
        elo, points = draws.into(elo, points, confidence)
    position_elo = None
    if design.has_position:
        position_elo = scaled_estimate(
            ELO_PER_LOGIT, float(found.logit.slope_K[-1]), parts.slope_CP[:, -1], confidence, df
        )
    return _Controlled(
        elo,
        points,
        position_elo,
        parts.per_unit_K,
        feature_influence(rows, design, parts),
    ), ()


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
    controlled: _Controlled | None,
    options: FitOptions,
    df: float | None,
) -> tuple[StyleFeature, ...]:
    mean_K, rms_K = rows.share_N @ rows.z_NK, rms_style(rows)
    fixed = options.style_coefficients is not None
    features = []
    for k, (name, diagnostic) in enumerate(zip(rows.names, diagnostics, strict=True)):
        coefficient, style_elo = None, None
        if controlled is not None:
            coefficient = float(controlled.per_unit_K[k])
            # A fixed coefficient is its own; a fitted one is not when features move together.
            if fixed or not diagnostic.collinear or rms_K[k] == 0.0:
                style_elo = scaled_estimate(
                    ELO_PER_LOGIT,
                    coefficient * float(mean_K[k]),
                    controlled.feature_CK[:, k],
                    options.confidence,
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
