"""What a run of a given size can resolve, and how large a run must be."""

from __future__ import annotations

import math

from scipy.special import bdtrc, ndtri, stdtrit

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import check_confidence, critical_value

__all__ = [
    "ELO_PER_LOGIT",
    "elo_variance",
    "items_for_margin",
    "mde",
    "seeds_for_sign",
]

ELO_PER_LOGIT = 400.0 / math.log(10.0)
"""Elo points of one unit of log-odds, 173.72."""


def mde(
    n: int,
    variance: float,
    confidence: float = 0.95,
    power: float = 0.80,
    df: float | None = None,
) -> float:
    """Minimum detectable effect (z_{1-α/2} + z_power)·√(variance/n), in the metric's unit.

    With `df`, quantiles of Student's t take the normal's place: 3.72 standard errors at 5 clusters,
    not 2.80.

    `variance`: of one item's difference: p01 + p10 - (p01 - p10)² of a binary metric, sd² of a
    continuous one, or n·se² of a finished run. power = 0.5 leaves half the interval's width: the
    smallest margin it can resolve. Raises `UsageError` for n < 1 or a negative variance.
    """
    if n < 1:
        raise UsageError(f"n is {n}; a detectable effect needs at least one item")
    return _reach(variance, confidence, power, df) * math.sqrt(variance / n)


def items_for_margin(
    margin: float, variance: float, confidence: float = 0.90, power: float = 0.80
) -> int:
    """Fewest items (or prompts) that show non-inferiority by `margin` when the models are equal.

    PASS needs the lower end of the two-sided `confidence` interval above -margin; `power` is the
    chance of that at no difference: the fewest items whose `mde` is at most the margin. Raises
    `UsageError` for a margin that is not positive.
    """
    if margin <= 0:
        raise UsageError(f"margin is {margin}; give a positive size")
    return max(1, math.ceil(_reach(variance, confidence, power) ** 2 * variance / margin**2))


def elo_variance(
    tie_rate: float = 0.20,
    order_correlation: float = 0.70,
    win_rate: float = 0.5,
    variance_inflation: float = 1.26,
) -> float:
    """Variance in Elo² that one prompt judged in both orders gives to substance.

    173.72²·v·(1+ρ)/2·VIF/(p(1-p))² with v = p(1-p) - tie_rate/4, ρ the correlation of the two
    orders of a prompt (1: the second order adds nothing) and VIF what adjusting for style costs.
    The defaults are planning values for chat judgments.
    """
    if not 0 < win_rate < 1 or not -1 <= order_correlation <= 1:
        raise UsageError("Elo precision needs a win rate inside (0, 1) and a correlation")
    spread = win_rate * (1.0 - win_rate)
    variance = spread - tie_rate / 4.0
    if variance <= 0 or variance_inflation < 1:
        raise UsageError("this tie rate leaves no variance, or the variance inflation is below 1")
    one_prompt = variance * (1.0 + order_correlation) / 2.0 * variance_inflation
    return one_prompt * (ELO_PER_LOGIT / spread) ** 2


def seeds_for_sign(
    consistency: float = 0.9, alpha: float = 0.10, power: float = 0.80, most: int = 200
) -> tuple[int, int] | None:
    """Fewest dictionary seeds R and how many k must agree in sign: a two-sided sign test.

    With no difference, k or more of R seeds agree with chance at most `alpha`; when a seed shows
    the true sign with chance `consistency`, k or more do with chance at least `power`. None when
    `most` seeds are not enough.
    """
    if not 0.5 < consistency <= 1.0 or not 0.0 < alpha < 1.0:
        raise UsageError("a sign test needs a consistency above 0.5 and a level inside (0, 1)")
    _check_power(power)
    for n_seeds in range(1, most + 1):
        for n_agree in range(n_seeds // 2 + 1, n_seeds + 1):
            if 2.0 * float(bdtrc(n_agree - 1, n_seeds, 0.5)) > alpha:
                continue
            if float(bdtrc(n_agree - 1, n_seeds, consistency)) >= power:
                return n_seeds, n_agree
            break
    return None


def _reach(variance: float, confidence: float, power: float, df: float | None = None) -> float:
    """Standard errors between nothing and what is found with `power`."""
    if variance < 0:
        raise UsageError("a variance cannot be negative")
    check_confidence(confidence)
    _check_power(power)
    found = float(ndtri(power) if df is None or math.isinf(df) else stdtrit(df, power))
    return critical_value(confidence, df) + found


def _check_power(power: float) -> None:
    if not 0 < power < 1:
        raise UsageError(f"power is {power}; give a number between 0 and 1, such as 0.8")
