"""Cluster bootstrap of a pair fit: a cross-check of its influence-function intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import logit

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.clusters import ClusterLabels
from modeldiff_harness.stats.estimates import Estimate, Floats, Undetermined, check_confidence
from modeldiff_harness.stats.logit import fit_grouped_logit
from modeldiff_harness.stats.pairfit.rows import PairRows, pair_design, pair_rows
from modeldiff_harness.stats.power import ELO_PER_LOGIT

_MOST_FAILED_SHARE = 0.05


@dataclass(frozen=True)
class PairBootstrap:
    """Percentile intervals of the parts over resampled clusters."""

    raw_elo: Estimate
    """As in `PairFit`."""
    substance_elo: Estimate
    """As in `PairFit`."""
    style_elo: Estimate
    """As in `PairFit`."""
    dispersion_elo: Estimate
    """As in `PairFit`."""
    n_resamples: int
    """Resamples whose fit converged."""
    n_failed: int
    """Resamples left out because one side won everything or the fit ran away."""


def bootstrap_pair(
    outcomes: npt.ArrayLike,
    style: npt.ArrayLike,
    *,
    feature_names: Sequence[str] | None = None,
    clusters: ClusterLabels | None = None,
    position: npt.ArrayLike | None = None,
    weights: npt.ArrayLike | None = None,
    style_coefficients: npt.ArrayLike | None = None,
    ridge: float = 1.0,
    confidence: float = 0.95,
    n_resamples: int = 500,
    seed: int = 0,
) -> PairBootstrap | Undetermined:
    """Refit on `n_resamples` draws of whole clusters; arguments as in `pairfit.fit_pair`.

    Returns `Undetermined` without two clusters, when the fit of all rows fails, or when more than
    5 % of the resamples fail.
    """
    check_confidence(confidence)
    if n_resamples < 2:
        raise UsageError("a bootstrap needs at least 2 resamples")
    rows = pair_rows(
        outcomes, style, feature_names, clusters, position, weights, None, style_coefficients
    )
    if rows.n_clusters < 2:
        return Undetermined("fewer than two clusters of battles", rows.n_clusters)
    whole = _parts_elo(rows, ridge)
    if whole is None:
        return Undetermined("the fit of all battles does not converge", rows.n_clusters)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(n_resamples):
        picks = rng.integers(0, rows.n_clusters, rows.n_clusters)
        counts = np.bincount(picks, minlength=rows.n_clusters)[rows.cluster_N]
        parts = _parts_elo(replace(rows, weight_N=rows.weight_N * counts), ridge)
        if parts is not None:
            drawn.append(parts)
    failed = n_resamples - len(drawn)
    if failed > _MOST_FAILED_SHARE * n_resamples:
        return Undetermined(f"{failed} of {n_resamples} resamples failed", rows.n_clusters)
    draws_R4 = np.stack(drawn)
    tail = (1.0 - confidence) / 2.0
    lower, upper = np.quantile(draws_R4, [tail, 1.0 - tail], axis=0)
    se = draws_R4.std(axis=0, ddof=1)
    raw, substance, style_part, dispersion = (
        Estimate(float(whole[i]), float(lower[i]), float(upper[i]), float(se[i])) for i in range(4)
    )
    return PairBootstrap(raw, substance, style_part, dispersion, len(drawn), failed)


def _parts_elo(rows: PairRows, ridge: float) -> Floats | None:
    share_N = rows.weight_N / rows.weight_N.sum()
    win_rate = float((rows.weight_N * rows.y_N).sum() / rows.weight_N.sum())
    if not 0.0 < win_rate < 1.0:
        return None
    design = pair_design(rows, ridge)
    one_group = np.zeros(len(rows.y_N), np.int64)
    fit = fit_grouped_logit(
        rows.y_N, design.x_NP, rows.weight_N, one_group, 1, design.penalty_P, design.offset_N
    )
    if not fit.converged:
        return None
    raw, substance = float(logit(win_rate)), float(fit.intercept_J[0])
    style = float(share_N @ (rows.z_NK @ design.per_unit(fit.slope_K, rows.fixed_K)))
    return ELO_PER_LOGIT * np.array([raw, substance, style, raw - substance - style])
