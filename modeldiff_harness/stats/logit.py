"""Logistic regression with an intercept per group and shared slopes, and its influence functions.

The Hessian is an arrow (a diagonal of groups, a small block of slopes), so a Newton step costs
O(N·K²) whatever the number of groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from modeldiff_harness.stats.clusters import sum_within
from modeldiff_harness.stats.estimates import Floats, Ints

_STEPS = 60
_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class LogitFit:
    """logit P(y = 1) = intercept[group] + x·slope + offset, at the penalised optimum."""

    intercept_J: Floats
    """Log-odds of each group at x = 0."""
    slope_K: Floats
    """Log-odds per unit of x."""
    probability_N: Floats
    """Fitted P(y = 1)."""
    residual_N: Floats
    """weight x (y - fitted probability)."""
    information_J: Floats
    """Σ weight·p·(1-p) within groups."""
    centre_JK: Floats
    """Information-weighted mean of x within groups."""
    slope_information_KK: Floats
    """Information on the slopes after the intercepts, penalty included."""
    penalty_K: Floats
    """Ridge on the slopes: Σ penalty·slope²/2 is added to the summed loss."""
    converged: bool
    """Whether Newton's steps vanished; False means some coefficient runs away."""


def fit_grouped_logit(
    y_N: Floats,
    x_NK: Floats,
    weight_N: Floats,
    group_N: Ints,
    n_groups: int,
    penalty_K: Floats,
    offset_N: Floats | None = None,
) -> LogitFit:
    """Minimise Σ weight·logloss + Σ penalty·slope²/2 by Newton's method with halved steps.

    y (N,) in [0, 1], x (N, K), group (N,) in 0..J-1, each group with a mean outcome inside (0, 1).
    """
    offset = np.zeros_like(y_N) if offset_N is None else offset_N
    totals = sum_within(weight_N, group_N, n_groups)
    wins = sum_within(weight_N * y_N, group_N, n_groups)
    s = np.log(wins / (totals - wins))
    g = np.zeros(x_NK.shape[1])
    converged = False
    loss = _loss(y_N, s[group_N] + offset, weight_N, g, penalty_K)
    for _ in range(_STEPS):
        parts = _step_parts(y_N, x_NK, weight_N, group_N, n_groups, penalty_K, offset, s, g)
        if not (parts.information_J > 1e-12 * totals).all():
            break
        score_J = sum_within(parts.residual_N, group_N, n_groups)
        score_K = x_NK.T @ parts.residual_N - penalty_K * g - parts.centre_JK.T @ score_J
        # Exact collinearity has no unique step; the shortest one leaves the fit well defined.
        dg = np.linalg.lstsq(parts.slope_information_KK, score_K, rcond=None)[0]
        ds = score_J / parts.information_J - parts.centre_JK @ dg
        size = 1.0
        for _ in range(30):
            eta = (s + size * ds)[group_N] + x_NK @ (g + size * dg) + offset
            trial = _loss(y_N, eta, weight_N, g + size * dg, penalty_K)
            if trial <= loss + 1e-12 * abs(loss):
                break
            size /= 2.0
        s, g, loss = s + size * ds, g + size * dg, trial
        if max(np.abs(ds).max(), np.abs(dg).max(initial=0.0)) < _TOLERANCE:
            converged = True
            break
    parts = _step_parts(y_N, x_NK, weight_N, group_N, n_groups, penalty_K, offset, s, g)
    return LogitFit(
        s,
        g,
        parts.probability_N,
        parts.residual_N,
        parts.information_J,
        parts.centre_JK,
        parts.slope_information_KK,
        penalty_K,
        converged,
    )


def slope_influence(
    fit: LogitFit,
    x_NK: Floats,
    weight_N: Floats,
    group_N: Ints,
    cluster_N: Ints,
    n_clusters: int,
) -> Floats:
    """Influence functions of the slopes summed within clusters: (C, K); they add up to zero."""
    if x_NK.shape[1] == 0:
        return np.zeros((n_clusters, 0))
    score_NK = fit.residual_N[:, None] * (x_NK - fit.centre_JK[group_N])
    score_CK = sum_within(score_NK, cluster_N, n_clusters)
    share_C = sum_within(weight_N, cluster_N, n_clusters) / weight_N.sum()
    score_CK -= share_C[:, None] * (fit.penalty_K * fit.slope_K)
    influence: Floats = score_CK @ np.linalg.pinv(fit.slope_information_KK, hermitian=True)
    return influence


def intercept_influence(
    fit: LogitFit,
    slope_influence_CK: Floats,
    group_N: Ints,
    cluster_N: Ints,
    n_clusters: int,
) -> Floats:
    """Influence functions of the intercepts summed within clusters: (C, J)."""
    n_groups = len(fit.intercept_J)
    cell_N = cluster_N * n_groups + group_N
    score = sum_within(fit.residual_N, cell_N, n_clusters * n_groups)
    own_CJ = score.reshape(n_clusters, n_groups) / fit.information_J
    influence: Floats = own_CJ - slope_influence_CK @ fit.centre_JK.T
    return influence


@dataclass(frozen=True, eq=False)
class _StepParts:
    probability_N: Floats
    residual_N: Floats
    information_J: Floats
    centre_JK: Floats
    slope_information_KK: Floats


def _step_parts(
    y_N: Floats,
    x_NK: Floats,
    weight_N: Floats,
    group_N: Ints,
    n_groups: int,
    penalty_K: Floats,
    offset_N: Floats,
    s_J: Floats,
    g_K: Floats,
) -> _StepParts:
    probability = expit(s_J[group_N] + x_NK @ g_K + offset_N)
    information_N = weight_N * probability * (1.0 - probability)
    information_J = sum_within(information_N, group_N, n_groups)
    weighted_NK = information_N[:, None] * x_NK
    sums_JK = sum_within(weighted_NK, group_N, n_groups)
    centre_JK = sums_JK / np.maximum(information_J, 1e-300)[:, None]
    slope_information = weighted_NK.T @ x_NK - sums_JK.T @ centre_JK + np.diag(penalty_K)
    residual = weight_N * (y_N - probability)
    return _StepParts(probability, residual, information_J, centre_JK, slope_information)


def _loss(y_N: Floats, eta_N: Floats, weight_N: Floats, g_K: Floats, penalty_K: Floats) -> float:
    logloss = np.logaddexp(0.0, eta_N) - y_N * eta_N
    return float(weight_N @ logloss + 0.5 * penalty_K @ g_K**2)
