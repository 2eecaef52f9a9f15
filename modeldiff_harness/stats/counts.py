"""Shares, differences and ratios of counts from two independent totals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import Estimate, Undetermined, critical_value

FEWEST_FOR_RATIO = 5
"""A ratio of counts is shown only when both counts reach this."""


@dataclass(frozen=True)
class RatioInterval:
    """candidate share / baseline share; `None` ends are without bound or undefined."""

    ratio: float | None
    """None when the baseline's count is zero."""
    lower: float
    """Lower end, 0 when the candidate's count is zero."""
    upper: float | None
    """Upper end, None when the baseline's count is zero."""


@dataclass(frozen=True)
class ShareShift:
    """How a category's share of one model's items differs from its share of the other's."""

    difference: Estimate
    """Share of the candidate - share of the baseline, with Newcombe's interval."""
    p_value: float
    """Two-sided Fisher exact p, which assumes independent items: descriptive for latents."""
    ratio: RatioInterval | Undetermined
    """Ratio of shares with its score interval, or `Undetermined("too few", …)`."""


def wilson_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927). Raises `UsageError` outside 0 ≤ count ≤ n."""
    _check(count, total)
    z2 = critical_value(confidence) ** 2
    centre = (count + z2 / 2.0) / (total + z2)
    half = math.sqrt(z2 * (count * (total - count) / total + z2 / 4.0)) / (total + z2)
    # At the ends centre and half cancel exactly in theory, not in floating point.
    lower = 0.0 if count == 0 else centre - half
    upper = 1.0 if count == total else centre + half
    return lower, upper


def newcombe_difference(
    n_baseline: int,
    total_baseline: int,
    n_candidate: int,
    total_candidate: int,
    confidence: float = 0.95,
) -> Estimate:
    """Difference of two independent proportions with Newcombe's (1998) hybrid score interval.

    The SE is the plain Wald one and can be 0; the interval cannot collapse.
    """
    lower_b, upper_b = wilson_interval(n_baseline, total_baseline, confidence)
    lower_c, upper_c = wilson_interval(n_candidate, total_candidate, confidence)
    base, cand = n_baseline / total_baseline, n_candidate / total_candidate
    delta = cand - base
    return Estimate(
        delta,
        delta - math.hypot(cand - lower_c, upper_b - base),
        delta + math.hypot(upper_c - cand, base - lower_b),
        math.sqrt(base * (1 - base) / total_baseline + cand * (1 - cand) / total_candidate),
        method="Newcombe",
    )


def score_ratio_interval(
    n_baseline: int,
    total_baseline: int,
    n_candidate: int,
    total_candidate: int,
    confidence: float = 0.95,
) -> RatioInterval:
    """Ratio candidate/baseline of two independent proportions with a score interval.

    Inverts Pearson's chi-square at the constrained maximum-likelihood estimate (Koopman 1984), its
    variance times N/(N-1) (Miettinen and Nurminen 1985). Raises `UsageError` when both counts are
    zero: every ratio fits then.
    """
    _check(n_baseline, total_baseline)
    _check(n_candidate, total_candidate)
    if n_baseline == 0 and n_candidate == 0:
        raise UsageError("the ratio of two zero counts has no interval")
    from scipy.optimize import brentq

    total = total_baseline + total_candidate
    correction = total / (total - 1.0)
    bound = critical_value(confidence) ** 2
    table = (n_baseline, total_baseline, n_candidate, total_candidate)

    def excess(log_ratio: float) -> float:
        return _score_chi_square(math.exp(log_ratio), *table) / correction - bound

    # Half a count stands in for a zero: it only says where to start looking for the ends.
    start = math.log(
        max(n_candidate, 0.5) / total_candidate / (max(n_baseline, 0.5) / total_baseline)
    )
    ratio = None
    lower, upper = 0.0, None
    if n_candidate > 0:
        lower = math.exp(brentq(excess, *_bracket(excess, start, -1.0), xtol=1e-12))
    if n_baseline > 0:
        ratio = n_candidate / total_candidate / (n_baseline / total_baseline)
        upper = math.exp(brentq(excess, *_bracket(excess, start, 1.0), xtol=1e-12))
    return RatioInterval(ratio, lower, upper)


def share_shift(
    n_baseline: int,
    total_baseline: int,
    n_candidate: int,
    total_candidate: int,
    confidence: float = 0.95,
) -> ShareShift:
    """One category's shift; the ratio is suppressed when either count is below 5.

    Raises `UsageError` for counts outside 0 ≤ count ≤ total or a total of zero.
    """
    table = (n_baseline, total_baseline, n_candidate, total_candidate)
    difference = newcombe_difference(*table, confidence)
    fewest = min(n_baseline, n_candidate)
    ratio: RatioInterval | Undetermined
    if fewest < FEWEST_FOR_RATIO:
        ratio = Undetermined("too few", fewest, difference.estimate)
    else:
        ratio = score_ratio_interval(*table, confidence)
    return ShareShift(difference, fisher_p(*table), ratio)


def fisher_p(n_baseline: int, total_baseline: int, n_candidate: int, total_candidate: int) -> float:
    """Two-sided Fisher exact p of equal shares."""
    _check(n_baseline, total_baseline)
    _check(n_candidate, total_candidate)
    from scipy.stats import fisher_exact

    table = np.array(
        [
            [n_candidate, total_candidate - n_candidate],
            [n_baseline, total_baseline - n_baseline],
        ]
    )
    return float(fisher_exact(table).pvalue)


def _score_chi_square(
    ratio: float, n_baseline: int, total_baseline: int, n_candidate: int, total_candidate: int
) -> float:
    """Squared score statistic of p_candidate = ratio x p_baseline at the constrained MLE."""
    total = total_baseline + total_candidate
    a = total * ratio
    b = -(total_candidate * ratio + n_candidate + total_baseline + n_baseline * ratio)
    c = float(n_candidate + n_baseline)
    base = (-b - math.sqrt(max(0.0, b * b - 4.0 * a * c))) / (2.0 * a)
    cand = base * ratio
    gap = n_candidate / total_candidate - ratio * n_baseline / total_baseline
    variance = cand * (1.0 - cand) / total_candidate + ratio**2 * base * (1 - base) / total_baseline
    if variance <= 0.0:
        return 0.0 if gap == 0.0 else math.inf
    return gap * gap / variance


def _bracket(
    excess: Callable[[float], float], start: float, direction: float
) -> tuple[float, float]:
    inside, step = start, 0.25
    while True:
        outside = inside + direction * step
        if excess(outside) > 0.0:
            return (outside, inside) if direction < 0 else (inside, outside)
        inside, step = outside, step * 2.0


def _check(count: int, total: int) -> None:
    if total < 1 or not 0 <= count <= total:
        raise UsageError(f"{count} of {total} is not a share")
