"""The data of a pair fit, its options, and the design matrix that follows from both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.clusters import ClusterLabels, cluster_index, sum_within
from modeldiff_harness.stats.estimates import (
    Bools,
    Floats,
    Ints,
    as_finite_vector,
    check_confidence,
)


@dataclass(frozen=True, eq=False)
class PairRows:
    """Battles of one pair, oriented candidate - baseline."""

    y_N: Floats
    """Outcome: 1 the candidate preferred, ½ a tie."""
    z_NK: Floats
    """Style differences, unscaled; K = 0 without style control."""
    names: tuple[str, ...]
    """Feature names (K)."""
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

    @property
    def share_N(self) -> Floats:
        """Weights that add up to 1."""
        share: Floats = self.weight_N / self.weight_N.sum()
        return share

    @property
    def cluster_share_N(self) -> Floats:
        """Weights that count every cluster once and add up to 1: ten judgments of one prompt say
        as much about separation and overlap as one."""
        total_C = sum_within(self.weight_N, self.cluster_N, self.n_clusters)
        share: Floats = self.weight_N / total_C[self.cluster_N] / self.n_clusters
        return share

    @property
    def net_C(self) -> Floats:
        """Net outcome of every cluster in [-1, 1]: 1 all wins, 0 balanced or all ties."""
        total_C = sum_within(self.weight_N, self.cluster_N, self.n_clusters)
        net: Floats = sum_within(
            self.weight_N * (2.0 * self.y_N - 1.0), self.cluster_N, self.n_clusters
        )
        return net / total_C

    @property
    def n_decided(self) -> int:
        """Clusters that prefer one side."""
        return int((np.abs(self.net_C) > 1e-9).sum())

    @property
    def tie_rate(self) -> float:
        """Weighted share of outcomes of exactly a half."""
        return float(self.weight_N @ (self.y_N == 0.5) / self.weight_N.sum())

    def take(self, picked: Ints | Bools) -> PairRows:
        """Some of the rows, with clusters numbered anew and weights rescaled to mean 1."""
        cluster, n_clusters = cluster_index(self.cluster_N[picked], len(self.y_N[picked]))
        return PairRows(
            self.y_N[picked],
            self.z_NK[picked],
            self.names,
            cluster,
            n_clusters,
            _mean_one(self.weight_N[picked]),
            None if self.position_N is None else self.position_N[picked],
            None if self.both_bad_N is None else self.both_bad_N[picked],
        )

    def turned(self, sign_N: Floats) -> PairRows:
        """The rows seen from the other model where `sign_N` is -1, as they are where it is +1."""
        return replace(
            self,
            y_N=np.where(sign_N > 0, self.y_N, 1.0 - self.y_N),
            z_NK=self.z_NK * sign_N[:, None],
            position_N=None if self.position_N is None else self.position_N * sign_N,
        )


@dataclass(frozen=True, eq=False)
class FitOptions:
    """How rows are fitted; raises `UsageError` for values out of range."""

    style_coefficients: npt.ArrayLike | None = None
    """Fixed log-odds per unit of unscaled z (K,), in place of fitting them."""
    ridge: float = 1.0
    """0 to 1, on the summed loss, on scaled style only: more would shrink style away."""
    confidence: float = 0.95
    """Level of all intervals."""
    style_covariance: Floats | None = None
    """Covariance (K, K) of `style_coefficients` that were learnt from other battles; None: they
    are known."""

    def __post_init__(self) -> None:
        check_confidence(self.confidence)
        if not 0.0 <= self.ridge <= 1.0:
            raise UsageError(
                f"ridge is {self.ridge}; more than 1 on the summed loss shrinks style away"
            )

    def fixed_K(self, rows: PairRows) -> Floats | None:
        """The fixed coefficients of the rows' features; `UsageError` when their number differs."""
        if self.style_coefficients is None:
            return None
        return _column(self.style_coefficients, "style_coefficients", rows.z_NK.shape[1])


DEFAULT_OPTIONS = FitOptions()


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
    fixed_K: Floats | None
    """Log-odds per unit of z that are given, not fitted."""

    def per_unit(self, slope_P: Floats) -> Floats:
        """Log-odds per unit of unscaled z (K,) from the slopes of the columns."""
        if self.fixed_K is not None:
            return self.fixed_K
        coefficients = np.zeros(len(self.rms_K))
        coefficients[self.active_A] = slope_P[: len(self.active_A)] / self.rms_K[self.active_A]
        return coefficients


def pair_rows(
    outcomes: npt.ArrayLike,
    style: npt.ArrayLike | None = None,
    *,
    names: Sequence[str] | None = None,
    clusters: ClusterLabels | None = None,
    position: npt.ArrayLike | None = None,
    weights: npt.ArrayLike | None = None,
    both_bad: npt.ArrayLike | None = None,
) -> PairRows:
    """Gather battles that are all the same way round: candidate - baseline, or a - b.

    `outcomes` (N,): 1 the first of the two preferred, 0 the other, ½ a tie (any value in [0, 1]).
    `style` (N, K): normalised differences z; None for raw only. `clusters` (N,): prompt or
    conversation. `position` (N,): +1 that model shown first, -1 second, 0 unknown; None for no
    position term. `weights` (N,): positive, rescaled to mean 1. `both_bad` (N,) bool: ties that
    can be dropped apart.

    Raises `UsageError` for shapes that differ, values out of range or not finite.
    """
    y = as_finite_vector(outcomes, "outcomes")
    n = len(y)
    if ((y < 0.0) | (y > 1.0)).any():
        raise UsageError("outcomes must lie in [0, 1]: 1 candidate, 0 baseline, 0.5 tie")
    z = np.zeros((n, 0)) if style is None else np.asarray(style, np.float64, order="F")
    if z.ndim != 2 or len(z) != n or not np.isfinite(z).all():
        raise UsageError(f"style must be finite with shape ({n}, features), not {z.shape}")
    given = tuple(names or (f"feature_{k}" for k in range(z.shape[1])))
    if len(given) != z.shape[1] or len(set(given)) < len(given):
        raise UsageError(f"{len(given)} feature names for {z.shape[1]} different style columns")
    weight = np.ones(n) if weights is None else _column(weights, "weights", n)
    if (weight <= 0.0).any():
        raise UsageError("weights must be positive; leave out battles that do not count")
    place = None if position is None else _column(position, "position", n)
    if place is not None and (np.abs(place) > 1.0).any():
        raise UsageError("position must be +1 (candidate first), -1 (second) or 0 (unknown)")
    bad = None if both_bad is None else _column(both_bad, "both_bad", n) > 0
    index, n_clusters = cluster_index(clusters, n)
    return PairRows(y, z, given, index, n_clusters, _mean_one(weight), place, bad)


def pair_design(rows: PairRows, options: FitOptions) -> Design:
    """Scale style by its RMS (never centre it) and append the position where it varies."""
    rms, fixed = rms_style(rows), options.fixed_K(rows)
    active = np.flatnonzero(rms > 0.0) if fixed is None else np.zeros(0, np.int64)
    columns = np.asfortranarray(rows.z_NK[:, active] / rms[active])
    penalty = np.full(len(active), options.ridge)
    offset = np.zeros(len(rows.y_N)) if fixed is None else rows.z_NK @ fixed
    design = Design(columns, penalty, offset, rms, active, has_position=False, fixed_K=fixed)
    if rows.position_N is None or not np.ptp(rows.position_N) > 0.0:
        return design
    return with_position(design, rows.position_N)


def with_position(design: Design, position_N: Floats) -> Design:
    """The design with the position as its last column, which no ridge holds."""
    return replace(
        design,
        x_NP=np.asfortranarray(np.column_stack([design.x_NP, position_N])),
        penalty_P=np.append(design.penalty_P, 0.0),
        has_position=True,
    )


def rms_style(rows: PairRows) -> Floats:
    """Root mean square of every style difference (K,)."""
    rms: Floats = np.sqrt(rows.share_N @ rows.z_NK**2)
    return rms


def _column(values: npt.ArrayLike, what: str, n: int) -> Floats:
    column = as_finite_vector(values, what)
    if len(column) != n:
        raise UsageError(f"{what} has {len(column)} entries where {n} are needed")
    return column


def _mean_one(weight_N: Floats) -> Floats:
    return weight_N / weight_N.mean() if len(weight_N) else weight_N
