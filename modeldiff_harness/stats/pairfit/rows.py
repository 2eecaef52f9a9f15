"""The checked rows of a pair fit, and the design matrix made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.clusters import ClusterLabels, cluster_index
from modeldiff_harness.stats.estimates import Bools, Floats, Ints, as_finite_vector


@dataclass(frozen=True, eq=False)
class PairRows:
    """Battles of one pair, oriented candidate - baseline."""

    y_N: Floats
    """Outcome: 1 the candidate preferred, ½ a tie."""
    z_NK: Floats
    """Style differences, unscaled; K = 0 without style control."""
    names: tuple[str, ...]
    """Feature names (K)."""
    has_style: bool
    """Whether style differences were given."""
    cluster_N: Ints
    """Cluster of each row."""
    n_clusters: int
    """Clusters (C)."""
    weight_N: Floats
    """Weights with mean 1."""
    position_N: Floats | None
    """+1 candidate first, -1 second, 0 unknown; None without a position term."""
    both_bad_N: Bools | None
    """Which rows are both-bad votes."""
    fixed_K: Floats | None
    """Fixed log-odds per unit of z."""

    def take(self, picked: Ints | Bools) -> PairRows:
        """Some of the rows, with clusters numbered anew and weights rescaled to mean 1."""
        cluster, n_clusters = cluster_index(self.cluster_N[picked], len(self.y_N[picked]))
        return PairRows(
            self.y_N[picked],
            self.z_NK[picked],
            self.names,
            self.has_style,
            cluster,
            n_clusters,
            _mean_one(self.weight_N[picked]),
            None if self.position_N is None else self.position_N[picked],
            None if self.both_bad_N is None else self.both_bad_N[picked],
            self.fixed_K,
        )


@dataclass(frozen=True, eq=False)
class Design:
    """Columns of the controlled fit: scaled style, then position."""

    x_NP: Floats
    """Columns (N, P)."""
    penalty_P: Floats
    """Ridge per column; zero for position."""
    offset_N: Floats
    """Fixed style contribution."""
    rms_K: Floats
    """Root mean square of every feature's z."""
    active_A: Ints
    """Features that vary from zero and are fitted; the first A columns."""
    has_position: bool
    """Whether the last column is the position."""

    def per_unit(self, slope_P: Floats, fixed_K: Floats | None) -> Floats:
        """Log-odds per unit of unscaled z (K,) from the slopes of the columns."""
        if fixed_K is not None:
            return fixed_K
        coefficients = np.zeros(len(self.rms_K))
        coefficients[self.active_A] = slope_P[: len(self.active_A)] / self.rms_K[self.active_A]
        return coefficients


def orient(
    y_a: npt.ArrayLike, style_a_minus_b: npt.ArrayLike | None, candidate_is_a: npt.ArrayLike
) -> tuple[Floats, Floats | None]:
    """Turn rows recorded as A against B into candidate against baseline.

    `y_a` (N,): outcome for A; `style_a_minus_b` (N, K); `candidate_is_a` (N,) bool. Returns
    (outcomes (N,), style differences (N, K)).
    """
    y, is_a = np.asarray(y_a, np.float64), np.asarray(candidate_is_a, np.bool_)
    if y.shape != is_a.shape:
        raise UsageError(f"{len(y)} outcomes and {len(is_a)} sides; give one side a battle")
    oriented = np.where(is_a, y, 1.0 - y)
    if style_a_minus_b is None:
        return oriented, None
    z = np.asarray(style_a_minus_b, np.float64)
    return oriented, np.where(is_a, 1.0, -1.0)[:, None] * z


def pair_rows(
    outcomes: npt.ArrayLike,
    style: npt.ArrayLike | None = None,
    feature_names: Sequence[str] | None = None,
    clusters: ClusterLabels | None = None,
    position: npt.ArrayLike | None = None,
    weights: npt.ArrayLike | None = None,
    both_bad: npt.ArrayLike | None = None,
    style_coefficients: npt.ArrayLike | None = None,
) -> PairRows:
    """Check the arguments of `pairfit.fit_pair` and gather them; raises `UsageError`."""
    y = as_finite_vector(outcomes, "outcomes")
    n = len(y)
    if ((y < 0.0) | (y > 1.0)).any():
        raise UsageError("outcomes must lie in [0, 1]: 1 candidate, 0 baseline, 0.5 tie")
    z = np.zeros((n, 0)) if style is None else np.asarray(style, np.float64, order="F")
    if z.ndim != 2 or len(z) != n or not np.isfinite(z).all():
        raise UsageError(f"style must be finite with shape ({n}, features), not {z.shape}")
    names = tuple(feature_names or (f"feature_{k}" for k in range(z.shape[1])))
    if len(names) != z.shape[1] or len(set(names)) < len(names):
        raise UsageError(f"{len(names)} feature names for {z.shape[1]} different style columns")
    weight = np.ones(n) if weights is None else _column(weights, "weights", n)
    if (weight < 0.0).any() or (n > 0 and weight.sum() <= 0.0):
        raise UsageError("weights must not be negative, and not all zero")
    place = None if position is None else _column(position, "position", n)
    if place is not None and (np.abs(place) > 1.0).any():
        raise UsageError("position must be +1 (candidate first), -1 (second) or 0 (unknown)")
    bad = None if both_bad is None else _column(both_bad, "both_bad", n) > 0
    fixed = None
    if style_coefficients is not None:
        fixed = _column(style_coefficients, "style_coefficients", z.shape[1])
    index, n_clusters = cluster_index(clusters, n)
    rows = PairRows(y, z, names, z.shape[1] > 0, index, n_clusters, weight, place, bad, fixed)
    # Rows without weight must not count as battles or clusters.
    kept = weight > 0.0
    return replace(rows, weight_N=_mean_one(weight)) if kept.all() else rows.take(kept)


def pair_design(rows: PairRows, ridge: float) -> Design:
    """Scale style by its RMS (never centre it) and append the position where it varies."""
    share_N = rows.weight_N / rows.weight_N.sum()
    rms = np.sqrt(share_N @ rows.z_NK**2)
    active = np.flatnonzero(rms > 0.0) if rows.fixed_K is None else np.zeros(0, np.int64)
    columns = np.asfortranarray(rows.z_NK[:, active] / rms[active])
    penalty = np.full(len(active), ridge)
    has_position = rows.position_N is not None and np.ptp(rows.position_N) > 0.0
    if rows.position_N is not None and has_position:
        columns = np.asfortranarray(np.column_stack([columns, rows.position_N]))
        penalty = np.append(penalty, 0.0)
    offset = np.zeros(len(rows.y_N)) if rows.fixed_K is None else rows.z_NK @ rows.fixed_K
    return Design(columns, penalty, offset, rms, active, bool(has_position))


def _column(values: npt.ArrayLike, what: str, n: int) -> Floats:
    column = as_finite_vector(values, what)
    if len(column) != n:
        raise UsageError(f"{what} has {len(column)} entries where {n} are needed")
    return column


def _mean_one(weight_N: Floats) -> Floats:
    return weight_N / weight_N.mean() if len(weight_N) else weight_N
