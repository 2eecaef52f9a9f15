"""Bounds of a mean of bounded values that hold at every size, however rare the losses.

Gaffke's bound (2005; Learned-Miller and Thomas 2020): the units get Dirichlet(1, …, 1) weights
together with one more unit at the worst value there can be, and the bound is a quantile of the
weighted mean.  For right-or-wrong values it is Clopper and Pearson's; for many units that all move
it comes to the t interval's end.  What no unit has shown may still happen to 1 - α^(1/n) of them.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import betainc, betaincinv, ndtri

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import Floats, as_finite_vector, check_confidence

__all__ = ["bounded_mean_bounds", "paired_share_bounds"]

_NODES = (np.arange(400) + 0.5) / 400.0
_DRAWS = 10_000
_DRAWS_OF_MANY = 4_000
_MANY_VALUES = 200
_MOST_VALUES = 1_000
_CHUNK_CELLS = 4_000_000


@functools.lru_cache(maxsize=65_536)
def paired_share_bounds(
    fixed: int, broken: int, n: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Two-sided bounds of (fixed - broken)/n from n paired right-or-wrong outcomes.

    With fixed = 0 the lower one is Clopper and Pearson's upper bound of broken/n, negated.  Raises
    `UsageError` for counts that are no table.
    """
    check_confidence(confidence)
    if n < 1 or min(fixed, broken) < 0 or fixed + broken > n:
        raise UsageError(f"fixed={fixed}, broken={broken}, n={n} is not a table of paired outcomes")
    tail = (1.0 - confidence) / 2.0
    return _lower_share(fixed, broken, n, tail), -_lower_share(broken, fixed, n, tail)


def _lower_share(fixed: int, broken: int, n: int, tail: float) -> float:
    """The `tail` quantile of A - B, (A, B, rest) ~ Dirichlet(fixed, broken + 1, rest)."""
    rest = n - fixed - broken
    if fixed == 0:
        return -float(betaincinv(broken + 1, rest, 1.0 - tail)) if rest else -1.0
    # A - B = S·(2U - 1) with independent S ~ Beta(fixed + broken + 1, rest) and
    # U ~ Beta(fixed, broken + 1): one integral over the quantiles of S.
    sizes = betaincinv(fixed + broken + 1, rest, _NODES) if rest else np.ones_like(_NODES)

    def beyond(x: float) -> float:
        inside = np.clip((1.0 + x / sizes) / 2.0, 0.0, 1.0)
        return float(betainc(fixed, broken + 1, inside).mean()) - tail

    return float(brentq(beyond, -1.0, 1.0, xtol=1e-9))


def bounded_mean_bounds(
    sums_U: npt.ArrayLike,
    reach: float,
    confidence: float = 0.95,
    sizes_U: npt.ArrayLike | None = None,
    seed: int = 0,
) -> tuple[float, float]:
    """Two-sided bounds of Σsums/Σsizes, a mean whose values lie in [-reach, reach].

    Units (U) are items, or clusters with their sums and sizes (1 each by default).  The weights are
    drawn (seeded) over the distinct units; beyond 1,000 of them a Cornish-Fisher quantile stands
    in.  Raises `UsageError` for no units, a reach below a unit's mean or sizes that are not
    positive.
    """
    check_confidence(confidence)
    sums = as_finite_vector(sums_U, "sums")
    sizes = np.ones_like(sums) if sizes_U is None else as_finite_vector(sizes_U, "sizes")
    if len(sums) == 0 or sizes.shape != sums.shape or not (sizes > 0).all():
        raise UsageError("a bound needs at least one unit, each with a positive size")
    if float((np.abs(sums) - reach * sizes).max()) > 1e-9 * reach:
        raise UsageError("a unit lies beyond the reach of the metric")
    tail = (1.0 - confidence) / 2.0
    units, counts = np.unique(np.column_stack([sums, sizes]), axis=0, return_counts=True)
    mean_size = float(sizes.mean())
    ends = []
    for sign in (1.0, -1.0):
        # The upper end is the lower one of the negated values: swapped sides swap the ends.
        signed = units * np.array([sign, 1.0])
        if len(units) > _MOST_VALUES:
            found = _limit(signed, counts, reach, mean_size, tail)
        else:
            order = np.lexsort(signed.T[::-1])
            found = _quantile(signed[order], counts[order], reach, mean_size, tail, seed)
        ends.append(sign * found)
    return ends[0], ends[1]


def _quantile(
    units: Floats, counts: npt.NDArray[np.int64], reach: float, size: float, tail: float, seed: int
) -> float:
    rng = np.random.default_rng(seed)
    sums = np.append(units[:, 0], -reach * size)
    sizes = np.append(units[:, 1], size)
    shape = np.append(counts, 1).astype(np.float64)
    n_draws = _DRAWS if len(units) <= _MANY_VALUES else _DRAWS_OF_MANY
    step = max(1, _CHUNK_CELLS // len(shape))
    means = np.empty(n_draws)
    for start in range(0, n_draws, step):
        stop = min(start + step, n_draws)
        weight = rng.standard_gamma(shape, size=(stop - start, len(shape)))
        means[start:stop] = (weight @ sums) / (weight @ sizes)
    return float(np.quantile(means, tail))


def _limit(
    units: Floats, counts: npt.NDArray[np.int64], reach: float, size: float, tail: float
) -> float:
    """The Cornish-Fisher quantile from the mean, variance and skewness over the weights."""
    sums = np.append(units[:, 0], -reach * size)
    sizes = np.append(units[:, 1], size)
    counted = np.append(counts, 1).astype(np.float64)
    n, total = counted.sum(), float(counted @ sizes)
    mean = float(counted @ sums) / total
    pulls, z = sums - mean * sizes, float(ndtri(tail))
    spread = float(counted @ pulls**2) * n / (n + 1.0)
    # An exponential weight has variance 1 and third cumulant 2.
    skewness = 2.0 * float(counted @ pulls**3) / spread**1.5
    return float(mean + (z + skewness * (z**2 - 1.0) / 6.0) * spread**0.5 / total)
