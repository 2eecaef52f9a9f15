"""The interval of dispersion in a file of many models: percentiles over resampled clusters.

As in `dispersion`, for the Bradley-Terry fit: the influence functions of a quadratic cover 84 %
with 200 battles.  Every draw is refitted by Newton steps from the fit of all rows.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from modeldiff_harness.stats.bradley_terry import BradleyTerry, Graph, refit_bradley_terry
from modeldiff_harness.stats.estimates import Floats
from modeldiff_harness.stats.pairfit.dispersion import BELOW_CLUSTERS, DispersionDraws
from modeldiff_harness.stats.pairfit.rows import Design, PairRows
from modeldiff_harness.stats.power import ELO_PER_LOGIT

__all__ = ["resample_dispersion_of_many"]

_FEWEST_CLUSTERS = 20
_MOST_ROWS = 5_000
_DRAWS = 300
_MOST_FAILED_SHARE = 0.05
_LARGEST_LOG_ODDS = 30.0
_SEED = 20_240_828


def resample_dispersion_of_many(
    rows: PairRows,
    graph: Graph,
    candidate: int,
    design: Design,
    alone: BradleyTerry,
    controlled: BradleyTerry,
) -> DispersionDraws | None:
    """Draw whole clusters; None where the influence functions are to be used.

    `alone`, `controlled`: the fits of all rows without and with style.  None with 500 clusters or
    more, with fewer than 20, with more than 5,000 rows, or when more than 5 % of the draws cannot
    be fitted.
    """
    n_clusters, n_rows = rows.n_clusters, len(rows.y_N)
    if not _FEWEST_CLUSTERS <= n_clusters < BELOW_CLUSTERS or n_rows > _MOST_ROWS:
        return None
    rng = np.random.default_rng(_SEED)
    counts_RC = rng.multinomial(n_clusters, np.full(n_clusters, 1.0 / n_clusters), size=_DRAWS)
    none_N0 = np.zeros((n_rows, 0))
    elo_R, points_R = np.full(_DRAWS, np.nan), np.full(_DRAWS, np.nan)
    for r, counts_C in enumerate(counts_RC):
        weight_N = counts_C[rows.cluster_N] * rows.weight_N
        raw_M, _ = refit_bradley_terry(alone, rows.y_N, graph, none_N0, weight_N, 0.0 * rows.y_N)
        s_M, slope_P = refit_bradley_terry(
            controlled, rows.y_N, graph, design.x_NP, weight_N, design.offset_N
        )
        shift_K = _shift(rows, graph, candidate, weight_N)
        raw, s = float(raw_M[candidate]), float(s_M[candidate])
        style = float(shift_K @ design.per_unit(slope_P))
        if np.isfinite(raw + s + style) and max(abs(raw), abs(s), abs(style)) < _LARGEST_LOG_ODDS:
            elo_R[r] = ELO_PER_LOGIT * (raw - s - style)
            points_R[r] = 100.0 * float(expit(raw) - expit(s + style))
    usable = np.isfinite(elo_R)
    if usable.sum() < (1.0 - _MOST_FAILED_SHARE) * _DRAWS:
        return None
    return DispersionDraws(elo_R[usable], points_R[usable])


def _shift(rows: PairRows, graph: Graph, candidate: int, weight_N: Floats) -> Floats:
    """Least-squares shift (K,) of the candidate's style; the shortest one where a draw has gaps."""
    free = graph.free_F
    right = np.stack([graph.gather(weight_N * column) for column in rows.z_NK.T], axis=1)[free]
    found = np.linalg.lstsq(graph.laplacian(weight_N)[np.ix_(free, free)], right, rcond=None)[0]
    at: Floats = found[int(np.flatnonzero(free == candidate)[0])]
    return at
