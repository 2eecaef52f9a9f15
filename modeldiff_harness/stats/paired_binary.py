"""Right or wrong on the same items by two models: McNemar's tests and the Bonett-Price interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import bdtr

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import critical_value


@dataclass(frozen=True)
class PairedCounts:
    """The 2x2 table of paired outcomes."""

    both_right: int
    """Right by both models."""
    both_wrong: int
    """Wrong by both models."""
    fixed: int
    """n01: wrong by the baseline, right by the candidate."""
    broken: int
    """n10: right by the baseline, wrong by the candidate."""

    def __post_init__(self) -> None:
        """Refuse negative counts."""
        if min(self.both_right, self.both_wrong, self.fixed, self.broken) < 0:
            raise UsageError("counts of paired outcomes cannot be negative")

    @property
    def n(self) -> int:
        """All items."""
        return self.both_right + self.both_wrong + self.fixed + self.broken

    @property
    def n01(self) -> int:
        """The same as `fixed`."""
        return self.fixed

    @property
    def n10(self) -> int:
        """The same as `broken`."""
        return self.broken

    @property
    def discordance(self) -> float:
        """Share of items on which the models differ."""
        return (self.fixed + self.broken) / self.n


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
