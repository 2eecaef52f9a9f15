"""Right or wrong on the same items by two models: McNemar's tests and the Bonett-Price interval."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import bdtr

from modeldiff_harness.artifacts.benchmarks import PairedCounts
from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import Floats, critical_value


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


def discordance_variance(fixed: int, broken: int, n: int) -> float:
    """w = p01 + p10 - (p01 - p10)²: the variance of one item's difference."""
    return (fixed + broken) / n - ((fixed - broken) / n) ** 2
