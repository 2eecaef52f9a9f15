"""The interval of dispersion with few clusters: percentiles over resampled clusters.

Dispersion is quadratic in the style effects, so its estimate is biased and skewed, and its standard
error moves with it: an interval of influence functions covers about 90 % with 100 clusters.  The
percentiles of a cluster bootstrap, moved back by the bootstrap's own bias, cover 95 % and up to
99 % with many weak features (`tests/stats/pairfit/test_coverage.py`).  Every draw is refitted by
two Newton steps from the fit of all rows, all draws at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit

from modeldiff_harness.stats.estimates import Estimate, Floats, Ints
from modeldiff_harness.stats.logit import LogitFit
from modeldiff_harness.stats.pairfit.parts import (
    ControlledFit,
    ControlledParts,
    PartEstimates,
    RawParts,
)
from modeldiff_harness.stats.pairfit.rows import Design, PairRows
from modeldiff_harness.stats.power import ELO_PER_LOGIT

__all__ = ["BELOW_CLUSTERS", "DispersionDraws", "resample_dispersion", "with_percentiles"]

BELOW_CLUSTERS = 500
"""With as many clusters or more the influence functions suffice."""
_FEWEST_CLUSTERS = 20
_MOST_ROWS = 5_000
_DRAWS = 500
_NEWTON_STEPS = 2
_MOST_FAILED_SHARE = 0.05
_LARGEST_LOG_ODDS = 30.0
_CHUNK_CELLS = 4_000_000
_SEED = 20_240_828


@dataclass(frozen=True, eq=False)
class DispersionDraws:
    """Dispersion of every usable draw (R,), in Elo and in points."""

    elo_R: Floats
    points_R: Floats

    def into(
        self, elo: PartEstimates, points: PartEstimates, confidence: float
    ) -> tuple[PartEstimates, PartEstimates]:
        """The parts with percentile intervals of dispersion."""
        return (
            _with_percentiles(elo, self.elo_R, confidence),
            _with_percentiles(points, self.points_R, confidence),
        )


def resample_dispersion(
    rows: PairRows, controlled: ControlledFit, raw: RawParts
) -> DispersionDraws | None:
    """Draw whole clusters; None where the influence functions are to be used.

    That is with 500 clusters or more, with fewer than 20, with more than 5,000 rows, or when more
    than 5 % of the draws cannot be fitted.  The order of rows, the names of clusters and the sides
    change nothing; swapping the pair negates every draw.
    """
    n_clusters, n_rows = rows.n_clusters, len(rows.y_N)
    if not _FEWEST_CLUSTERS <= n_clusters < BELOW_CLUSTERS or n_rows > _MOST_ROWS:
        return None
    design, fit = controlled.design, controlled.logit
    rng = np.random.default_rng(_SEED)
    share_C = np.full(n_clusters, 1.0 / n_clusters)
    counts_RC = rng.multinomial(n_clusters, share_C, size=_DRAWS)[:, _place(raw, controlled.parts)]
    step = max(1, _CHUNK_CELLS // (n_rows * (design.x_NP.shape[1] + 1)))
    drawn = [
        _refitted(rows, design, fit, counts_RC[start : start + step].astype(np.float64))
        for start in range(0, _DRAWS, step)
    ]
    elo, points = (np.concatenate([draw[i] for draw in drawn]) for i in (0, 1))
    usable = np.isfinite(elo) & np.isfinite(points)
    if usable.sum() < (1.0 - _MOST_FAILED_SHARE) * _DRAWS:
        return None
    return DispersionDraws(elo[usable], points[usable])


def _place(raw: RawParts, parts: ControlledParts) -> Ints:
    """Place of every cluster in an order that follows from what is in it, not from its name."""
    influence_CQ = np.abs(
        np.column_stack([raw.log_odds_CJ[:, 0], parts.substance_CJ[:, 0], parts.style_CJ[:, 0]])
    )
    size_Q = np.maximum(influence_CQ.max(axis=0), 1e-300)
    order = np.lexsort(np.round(influence_CQ / size_Q, 9).T)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place


def _refitted(
    rows: PairRows, design: Design, fit: LogitFit, counts_RC: Floats
) -> tuple[Floats, Floats]:
    """Dispersion (R,) in Elo and points of draws with these numbers of every cluster."""
    weight_RN = counts_RC[:, rows.cluster_N] * rows.weight_N
    x_NP = np.column_stack([np.ones(len(rows.y_N)), design.x_NP])
    penalty_PP = np.diag(np.concatenate([[0.0], design.penalty_P]))
    n_draws, n_columns = len(counts_RC), x_NP.shape[1]
    pairs_NPP = (x_NP[:, :, None] * x_NP[:, None, :]).reshape(len(x_NP), -1)
    beta_RP = np.tile(np.concatenate([fit.intercept_J, fit.slope_K]), (n_draws, 1))
    for _ in range(_NEWTON_STEPS):
        p_RN = expit(beta_RP @ x_NP.T + design.offset_N)
        information = ((weight_RN * p_RN * (1.0 - p_RN)) @ pairs_NPP).reshape(
            n_draws, n_columns, n_columns
        )
        score_RP = (weight_RN * (rows.y_N - p_RN)) @ x_NP - beta_RP @ penalty_PP
        # A draw may hold no variation of some column: the shortest step leaves it where it was.
        inverse = np.linalg.pinv(information + penalty_PP, hermitian=True)
        beta_RP = beta_RP + (inverse @ score_RP[:, :, None])[:, :, 0]
    total_R = weight_RN.sum(axis=1)
    n_style = len(design.active_A)
    s_R = beta_RP[:, 0]
    fixed_R = weight_RN @ design.offset_N / total_R
    mean_RA = weight_RN @ design.x_NP[:, :n_style] / total_R[:, None]
    style_R = fixed_R + (beta_RP[:, 1 : 1 + n_style] * mean_RA).sum(axis=1)
    rate_R = weight_RN @ rows.y_N / total_R
    failed_R = (np.abs(beta_RP).max(axis=1) > _LARGEST_LOG_ODDS) | (rate_R <= 0.0) | (rate_R >= 1.0)
    safe_R = np.where(failed_R, 0.5, rate_R)
    elo_R = ELO_PER_LOGIT * (logit(safe_R) - s_R - style_R)
    points_R = 100.0 * (safe_R - expit(s_R + style_R))
    return np.where(failed_R, np.nan, elo_R), np.where(failed_R, np.nan, points_R)


def _with_percentiles(parts: PartEstimates, draws_R: Floats, confidence: float) -> PartEstimates:
    if parts.dispersion is None:
        return parts
    return replace(parts, dispersion=with_percentiles(parts.dispersion, draws_R, confidence))


def with_percentiles(known: Estimate, draws_R: Floats, confidence: float) -> Estimate:
    """The estimate with the draws' percentiles, moved back by their bias."""
    estimate, tail = known.estimate, (1.0 - confidence) / 2.0
    lower, upper = np.quantile(draws_R, [tail, 1.0 - tail]) - (draws_R.mean() - estimate)
    # The estimate of the rows themselves always lies inside.
    return Estimate(
        estimate,
        float(min(lower, estimate)),
        float(max(upper, estimate)),
        float(draws_R.std(ddof=1)),
        method="bootstrap",
    )
