"""Right or wrong on the same items by two models: McNemar's tests and the Bonett-Price interval."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import bdtr

from modeldiff_harness.artifacts.benchmarks import PairedCounts
from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.bounded_mean import paired_share_bounds
from modeldiff_harness.stats.estimates import Floats, critical_value

BONETT_PRICE_FROM = 10
"""Items fixed, and items broken, from which the Bonett-Price interval alone may decide a gate.
Below, a candidate at the margin would pass up to one time in ten (pure losses)."""


def is_binary(baseline: Floats, candidate: Floats) -> bool:
    """Whether every value of both models is 0 or 1."""
    return bool(np.isin(np.concatenate([baseline, candidate]), (0.0, 1.0)).all())


def paired_counts(baseline: Floats, candidate: Floats) -> PairedCounts:
    """Count the items (N,) of 0 and 1 by which model was right."""
    cells = np.bincount((2 * baseline + candidate).astype(np.int64), minlength=4)
    both_wrong, fixed, broken, both_right = cells.tolist()
    return PairedCounts(both_right, both_wrong, fixed, broken)


def mcnemar_exact_p(fixed: int, broken: int) -> float:
    """Two-sided exact McNemar p: binomial(fixed + broken, ½); 1 without discordant items."""
    return min(1.0, 2.0 * float(bdtr(min(fixed, broken), fixed + broken, 0.5)))


def mcnemar_mid_p(fixed: int, broken: int) -> float:
    """Two-sided mid-p McNemar: the exact p less the probability of the observed table.

    Fagerland, Lydersen and Laake (2013) recommend it: near-nominal where the exact test is
    conservative. 1 without discordant items.
    """
    few, total = min(fixed, broken), fixed + broken
    if fixed == broken:
        return 1.0
    below = float(bdtr(few - 1, total, 0.5)) if few > 0 else 0.0
    return below + float(bdtr(few, total, 0.5))


def bonett_price_interval(
    fixed: float, broken: float, n: float, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Adjusted Wald interval for (fixed - broken)/n: (lower, upper, adjusted SE).

    One pseudo-item is added to each discordant cell (Bonett and Price 2012), so that the width
    never collapses; the ends are clipped to [-1, 1]. Raises `UsageError` for n < 1 or more
    discordant items than items.
    """
    if n < 1 or fixed < 0 or broken < 0 or fixed + broken > n:
        raise UsageError(f"fixed={fixed}, broken={broken}, n={n} is not a table of paired outcomes")
    gain, loss = (fixed + 1.0) / (n + 2.0), (broken + 1.0) / (n + 2.0)
    centre = gain - loss
    se = math.sqrt((gain + loss - centre**2) / (n + 2.0))
    half = critical_value(confidence) * se
    return max(-1.0, centre - half), min(1.0, centre + half), se


def guarded_interval(
    fixed: int, broken: int, n: int, confidence: float = 0.95
) -> tuple[float, float, float]:
    """The interval that a gate may decide by: (lower, upper, adjusted SE).

    Bonett-Price from 10 fixed and 10 broken items on; with fewer of either its ends are moved out
    to those of `bounded_mean.paired_share_bounds`, so that a true loss of the margin passes at most
    one time in twenty at 90 %.
    """
    lower, upper, se = bonett_price_interval(fixed, broken, n, confidence)
    if min(fixed, broken) < BONETT_PRICE_FROM:
        exact = paired_share_bounds(fixed, broken, n, confidence)
        lower, upper = min(lower, exact[0]), max(upper, exact[1])
    return lower, upper, se


def pseudo_count_interval(
    mean: float, mean_square: float, n: float, confidence: float = 0.95
) -> tuple[float, float, float]:
    """The Bonett-Price interval of any differences in [-1, 1]: (lower, upper, adjusted SE).

    One pseudo-unit is added at each end.  `n`: units, or the effective number of them;
    `mean_square`: of the differences.  With values -1, 0 and 1 it is `bonett_price_interval`.
    """
    centre = n * mean / (n + 2.0)
    se = math.sqrt(((n * mean_square + 2.0) / (n + 2.0) - centre**2) / (n + 2.0))
    half = critical_value(confidence) * se
    return max(-1.0, centre - half), min(1.0, centre + half), se


def discordance_variance(fixed: int, broken: int, n: int) -> float:
    """w = p01 + p10 - (p01 - p10)²: the variance of one item's difference."""
    return (fixed + broken) / n - ((fixed - broken) / n) ** 2
