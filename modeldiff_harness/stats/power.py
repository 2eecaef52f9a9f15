"""What a run of a given size can resolve, and how large a run must be."""

from __future__ import annotations

import math

from scipy.special import bdtrc, ndtri

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import check_confidence

ELO_PER_LOGIT = 400.0 / math.log(10.0)
"""Elo points of one unit of log-odds, 173.72."""


def binary_variance(p01: float, p10: float) -> float:
    """w = p01 + p10 - (p01 - p10)²: variance of one item's difference, from its discordance.

    `p01`: share fixed (baseline wrong, candidate right); `p10`: share broken.
    """
    if p01 < 0 or p10 < 0 or p01 + p10 > 1:
        raise UsageError(f"p01={p01}, p10={p10} are not shares of discordant items")
    return p01 + p10 - (p01 - p10) ** 2


def mde(n: int, variance: float, confidence: float = 0.95, power: float = 0.80) -> float:
    """Minimum detectable effect (z_{1-α/2} + z_power)·√(variance/n), in the metric's unit.

    `variance`: of one item's difference: `binary_variance`, or sd² of a continuous metric, or n·se²
    of a finished run. Raises `UsageError` for n < 1 or a negative variance.
    """
    _check(variance, power)
    check_confidence(confidence)
    if n < 1:
        raise UsageError(f"n is {n}; a detectable effect needs at least one item")
    return (_z(0.5 + confidence / 2.0) + _z(power)) * math.sqrt(variance / n)


def mde_binary(
    n: int, p01: float, p10: float, confidence: float = 0.95, power: float = 0.80
) -> float:
    """`mde` of an accuracy from the shares of fixed and broken items."""
    return mde(n, binary_variance(p01, p10), confidence, power)


def mde_continuous(n: int, sd: float, confidence: float = 0.95, power: float = 0.80) -> float:
    """`mde` of a continuous metric from the standard deviation of paired differences."""
    return mde(n, sd**2, confidence, power)


def items_for_effect(
    effect: float, variance: float, confidence: float = 0.95, power: float = 0.80
) -> int:
    """Fewest items whose `mde` is at most `effect` > 0."""
    _check(variance, power)
    check_confidence(confidence)
    if effect <= 0:
        raise UsageError(f"effect is {effect}; give a positive size")
    return max(1, math.ceil((_z(0.5 + confidence / 2.0) + _z(power)) ** 2 * variance / effect**2))


def items_for_margin(
    margin: float, variance: float, confidence: float = 0.90, power: float = 0.80
) -> int:
    """Fewest items that show non-inferiority by `margin` when the models are equal.

    PASS needs the lower end of the two-sided `confidence` interval above -margin; `power` is the
    chance of that at no difference. power = 0.5 asks only that the interval's half width is the
    margin.
    """
    return items_for_effect(margin, variance, confidence, power)


def half_width(n: int, variance: float, confidence: float = 0.90) -> float:
    """Half the width of the interval from `n` items: the smallest margin they can resolve."""
    return mde(n, variance, confidence, power=0.5)


def elo_half_width(
    n_prompts: int,
    tie_rate: float = 0.20,
    order_correlation: float = 0.70,
    win_rate: float = 0.5,
    variance_inflation: float = 1.26,
    confidence: float = 0.95,
) -> float:
    """Half width in Elo of the substance of `n_prompts` prompts, each judged in both orders.

    173.72·z·√(v·(1+ρ)/2·VIF/n)/(p(1-p)) with v = p(1-p) - tie_rate/4, ρ the correlation of the two
    orders of a prompt (1: the second order adds nothing) and VIF what adjusting for style costs.
    The defaults are planning values for chat judgments: about ±63 at 100 prompts, ±28 at 500, ±14
    at 2,000.
    """
    check_confidence(confidence)
    if n_prompts < 1 or not 0 < win_rate < 1 or not -1 <= order_correlation <= 1:
        raise UsageError("Elo precision needs prompts, a win rate inside (0, 1), a correlation")
    spread = win_rate * (1.0 - win_rate)
    variance = spread - tie_rate / 4.0
    if variance <= 0 or variance_inflation < 1:
        raise UsageError("this tie rate leaves no variance, or the variance inflation is below 1")
    one_prompt = variance * (1.0 + order_correlation) / 2.0 * variance_inflation
    return ELO_PER_LOGIT * _z(0.5 + confidence / 2) * math.sqrt(one_prompt / n_prompts) / spread


def prompts_for_elo(
    margin_elo: float,
    tie_rate: float = 0.20,
    order_correlation: float = 0.70,
    win_rate: float = 0.5,
    variance_inflation: float = 1.26,
    confidence: float = 0.95,
) -> int:
    """Fewest prompts whose `elo_half_width` is at most `margin_elo` > 0."""
    if margin_elo <= 0:
        raise UsageError(f"margin is {margin_elo} Elo; give a positive size")
    one = elo_half_width(1, tie_rate, order_correlation, win_rate, variance_inflation, confidence)
    return max(1, math.ceil((one / margin_elo) ** 2))


def prompts_for_elo_margin(
    margin_elo: float, variance: float, confidence: float = 0.90, power: float = 0.80
) -> int:
    """Fewest prompts that show non-inferiority by `margin_elo` when the models are equal.

    `variance`: of one prompt, Elo²: n·se² of a finished run, or `elo_variance`. The rule is that of
    `items_for_margin`.
    """
    return items_for_margin(margin_elo, variance, confidence, power)


def elo_variance(
    tie_rate: float = 0.20,
    order_correlation: float = 0.70,
    win_rate: float = 0.5,
    variance_inflation: float = 1.26,
) -> float:
    """Variance in Elo² that one prompt judged in both orders gives to substance; see above."""
    half = elo_half_width(1, tie_rate, order_correlation, win_rate, variance_inflation, 0.95)
    return (half / _z(0.975)) ** 2


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
    _check(0.0, power)
    for n_seeds in range(1, most + 1):
        for n_agree in range(n_seeds // 2 + 1, n_seeds + 1):
            if 2.0 * float(bdtrc(n_agree - 1, n_seeds, 0.5)) > alpha:
                continue
            if float(bdtrc(n_agree - 1, n_seeds, consistency)) >= power:
                return n_seeds, n_agree
            break
    return None


def _z(level: float) -> float:
    return float(ndtri(level))


def _check(variance: float, power: float) -> None:
    if variance < 0:
        raise UsageError("a variance cannot be negative")
    if not 0 < power < 1:
        raise UsageError(f"power is {power}; give a number between 0 and 1, such as 0.8")
