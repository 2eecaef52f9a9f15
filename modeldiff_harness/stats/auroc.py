"""Area under the ROC curve with an interval that stays honest near 0 and 1."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from modeldiff_harness.artifacts import Estimate
from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import critical_value

__all__ = ["auroc", "auroc_of_levels"]


def auroc(scores: ArrayLike, is_positive: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Probability that a positive scores above a negative, ties half, for independent units (N,).

    The interval inverts |θ̂ − θ| = z·√V(θ) with Hanley and McNeil's variance, both group sizes in
    its exponential terms replaced by their mean (Newcombe 2006, Statistics in Medicine 25:559,
    method 5): it has a width at θ̂ = 1 too, where DeLong's and the bootstrap's collapse.  `se` is
    √V(θ̂).

    Raises UsageError without a unit of each kind, or for scores that are not finite.
    """
    from scipy.stats import rankdata

    values_N = np.asarray(scores, dtype=np.float64)
    positive_N = np.asarray(is_positive, dtype=bool)
    if values_N.shape != positive_N.shape or values_N.ndim != 1 or not np.isfinite(values_N).all():
        raise UsageError("auroc needs one finite score and one label a unit")
    m, n = int(positive_N.sum()), int((~positive_N).sum())
    if not (m and n):
        raise UsageError(f"auroc of {m} positive and {n} negative units does not exist")
    ranks = rankdata(values_N)
    theta = float((ranks[positive_N].sum() - m * (m + 1) / 2.0) / (m * n))
    z = critical_value(confidence)
    return Estimate(
        theta,
        _end(theta, 0.0, z, m, n),
        _end(theta, 1.0, z, m, n),
        se=math.sqrt(_variance(theta, m, n)),
        method="score",
    )


def auroc_of_levels(positive_H: ArrayLike, negative_H: ArrayLike) -> Estimate:
    """AUROC of an ordinal score given as counts of units by level, lowest level first (H,)."""
    counts_2H = np.stack([np.asarray(positive_H), np.asarray(negative_H)]).astype(np.int64)
    levels = np.arange(counts_2H.shape[1])
    scores = np.concatenate([np.repeat(levels, counts) for counts in counts_2H])
    return auroc(scores, np.repeat([True, False], counts_2H.sum(axis=1)))


def _variance(theta: float, m: int, n: int) -> float:
    mean_size = (m + n) / 2.0
    spread = (2.0 * mean_size - 1.0) - (3.0 * mean_size - 3.0) / ((2.0 - theta) * (1.0 + theta))
    return max(0.0, theta * (1.0 - theta) * spread / (m * n))


def _end(theta: float, bound: float, z: float, m: int, n: int) -> float:
    """The θ between the estimate and `bound` at which the estimate is just z errors away."""
    from scipy.optimize import brentq

    if theta == bound:
        return bound

    def excess(candidate: float) -> float:
        return abs(theta - candidate) - z * math.sqrt(_variance(candidate, m, n))

    # At `bound` the variance is 0 and the excess positive; near the estimate it is negative.
    return float(brentq(excess, theta + (bound - theta) * 1e-9, bound, xtol=1e-12))
