"""Raw, substance, style and dispersion of groups of battles with their stacked influences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from modeldiff_harness.stats.clusters import clustered_covariance, sum_within
from modeldiff_harness.stats.estimates import Estimate, Floats, Ints, wald
from modeldiff_harness.stats.logit import (
    LogitFit,
    fit_grouped_logit,
    intercept_influence,
    slope_influence,
)
from modeldiff_harness.stats.pairfit.diagnostics import (
    LEAST_CLUSTERS,
    condition_number,
    separation_flags,
)
from modeldiff_harness.stats.pairfit.rows import Design, FitOptions, PairRows, pair_design
from modeldiff_harness.stats.power import ELO_PER_LOGIT


@dataclass(frozen=True, eq=False)
class RawParts:
    """logit(mean y) of every group and its influences summed within clusters."""

    win_rate_J: Floats
    """Weighted mean outcome."""
    win_rate_CJ: Floats
    """Influences of the mean outcome."""

    @property
    def log_odds_J(self) -> Floats:
        """logit(mean y)."""
        return np.asarray(logit(self.win_rate_J), dtype=np.float64)

    @property
    def log_odds_CJ(self) -> Floats:
        """Influences of logit(mean y)."""
        influence: Floats = self.win_rate_CJ / (self.win_rate_J * (1.0 - self.win_rate_J))
        return influence


@dataclass(frozen=True, eq=False)
class ControlledParts:
    """Substance and style of every group in log-odds, with influences summed within clusters."""

    substance_J: Floats
    substance_CJ: Floats
    style_J: Floats
    style_CJ: Floats
    per_unit_K: Floats
    """Log-odds per unit of unscaled z, shared by the groups."""
    slope_CP: Floats
    """Influences of the fitted columns."""


@dataclass(frozen=True, eq=False)
class ControlledFit:
    """The fit with style, and its parts."""

    design: Design
    logit: LogitFit
    parts: ControlledParts


@dataclass(frozen=True)
class PartEstimates:
    """The four parts of one group in one unit; all but raw are None without style control."""

    raw: Estimate
    substance: Estimate | None = None
    style: Estimate | None = None
    dispersion: Estimate | None = None


def raw_parts(rows: PairRows, group_N: Ints, n_groups: int) -> RawParts:
    """Mean outcome of each group."""
    totals = sum_within(rows.weight_N, group_N, n_groups)
    win_rate, influence = _means(rows.y_N, rows, group_N, totals)
    return RawParts(win_rate, influence)


def fit_controlled(
    rows: PairRows, group_N: Ints, n_groups: int, options: FitOptions
) -> tuple[ControlledFit | None, tuple[str, ...]]:
    """Shared style slopes and an intercept a group, or None with the flags that refuse it."""
    if not rows.names:
        return None, ("style_control_not_available",)
    design = pair_design(rows, options)
    least = LEAST_CLUSTERS if options.style_coefficients is None else 0
    if len(np.unique(rows.cluster_N)) < max(least, design.x_NP.shape[1] + n_groups + 2):
        return None, ("too_few_clusters",)
    fit = fit_grouped_logit(
        rows.y_N,
        design.x_NP,
        rows.weight_N,
        group_N,
        n_groups,
        design.penalty_P,
        design.offset_N,
    )
    information_N = rows.weight_N * fit.probability_N * (1.0 - fit.probability_N)
    condition = condition_number(design.x_NP, information_N)
    refused = separation_flags(
        fit.slope_K, fit.probability_N, rows.cluster_share_N, condition, fit.converged
    )
    if refused:
        return None, refused
    return ControlledFit(design, fit, _controlled_parts(rows, design, fit, group_N, n_groups)), ()


def _controlled_parts(
    rows: PairRows, design: Design, fit: LogitFit, group_N: Ints, n_groups: int
) -> ControlledParts:
    """Substance s_j and style g·(mean z of group j), each with its influences."""
    totals = sum_within(rows.weight_N, group_N, n_groups)
    slope_CP = slope_influence(
        fit, design.x_NP, rows.weight_N, group_N, rows.cluster_N, rows.n_clusters
    )
    per_unit = design.per_unit(fit.slope_K)
    style_J, style_CJ = _means(rows.z_NK @ per_unit, rows, group_N, totals)
    n_style = len(design.active_A)
    for column in range(n_style):
        mean_J = sum_within(rows.weight_N * design.x_NP[:, column], group_N, n_groups) / totals
        style_CJ = style_CJ + slope_CP[:, column : column + 1] * mean_J
    return ControlledParts(
        fit.intercept_J,
        intercept_influence(fit, slope_CP, group_N, rows.cluster_N, rows.n_clusters),
        style_J,
        style_CJ,
        per_unit,
        slope_CP,
    )


def feature_influence(rows: PairRows, design: Design, parts: ControlledParts) -> Floats:
    """Influences (C, K) of every feature's style part over all rows: g_k·z̄_k."""
    one = np.zeros(len(rows.y_N), np.int64)
    total = np.array([rows.weight_N.sum()])
    columns = []
    for k in range(rows.z_NK.shape[1]):
        _, influence = _means(rows.z_NK[:, k] * parts.per_unit_K[k], rows, one, total)
        columns.append(influence[:, 0])
    influence_CK = np.stack(columns, axis=1) if columns else np.zeros((rows.n_clusters, 0))
    mean_x = (rows.weight_N / total) @ design.x_NP
    for column, k in enumerate(design.active_A):
        influence_CK[:, k] += parts.slope_CP[:, column] * mean_x[column]
    return influence_CK


def elo_parts(
    raw: RawParts, parts: ControlledParts, j: int, confidence: float, df: float | None
) -> PartEstimates:
    """The parts of group j in Elo; dispersion = raw - substance - style."""
    raw_C, s_C, style_C = raw.log_odds_CJ[:, j], parts.substance_CJ[:, j], parts.style_CJ[:, j]
    log_odds, s, style = float(raw.log_odds_J[j]), parts.substance_J[j], parts.style_J[j]
    return PartEstimates(
        *(
            scaled_estimate(ELO_PER_LOGIT, float(value), influence, confidence, df)
            for value, influence in (
                (log_odds, raw_C),
                (s, s_C),
                (style, style_C),
                (log_odds - s - style, raw_C - s_C - style_C),
            )
        )
    )


def point_parts(
    raw: RawParts, parts: ControlledParts, j: int, confidence: float, df: float | None
) -> PartEstimates:
    """The parts of group j in win-rate points: σ(s), then the step to σ(s + style), then raw."""
    s, both = float(parts.substance_J[j]), float(parts.substance_J[j] + parts.style_J[j])
    at_s, at_both, mean = float(expit(s)), float(expit(both)), float(raw.win_rate_J[j])
    at_s_C = at_s * (1.0 - at_s) * parts.substance_CJ[:, j]
    at_both_C = at_both * (1.0 - at_both) * (parts.substance_CJ[:, j] + parts.style_CJ[:, j])
    mean_C = raw.win_rate_CJ[:, j]
    return PartEstimates(
        *(
            scaled_estimate(100.0, value, influence, confidence, df)
            for value, influence in (
                (mean - 0.5, mean_C),
                (at_s - 0.5, at_s_C),
                (at_both - at_s, at_both_C - at_s_C),
                (mean - at_both, mean_C - at_both_C),
            )
        )
    )


def scaled_estimate(
    unit: float, value: float, influence_C: Floats, confidence: float, df: float | None
) -> Estimate:
    """unit x value with the clustered interval of its influences."""
    variance = float(clustered_covariance(influence_C[:, None])[0, 0])
    return wald(unit * value, abs(unit) * variance**0.5, confidence, df)


def _means(
    values_N: Floats, rows: PairRows, group_N: Ints, totals_J: Floats
) -> tuple[Floats, Floats]:
    """Weighted means within groups (J,) and their influences summed within clusters (C, J)."""
    n_groups = len(totals_J)
    sums = sum_within(rows.weight_N * values_N, group_N, n_groups)
    mean_J = sums / totals_J
    pull_N = rows.weight_N * (values_N - mean_J[group_N])
    cell_N = rows.cluster_N * n_groups + group_N
    cells = sum_within(pull_N, cell_N, rows.n_clusters * n_groups)
    influence: Floats = cells.reshape(rows.n_clusters, n_groups) / totals_J
    return mean_J, influence
