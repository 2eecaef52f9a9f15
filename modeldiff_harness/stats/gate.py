"""Release decisions from estimates and margins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from modeldiff_harness.artifacts.gate import Outcome
from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import (
    Estimate,
    Undetermined,
    check_confidence,
    critical_value,
    upper_tail,
)
from modeldiff_harness.stats.multiplicity import holm

__all__ = [
    "Criterion",
    "CriterionDecision",
    "decide_criteria",
    "style_driven_gain",
    "style_hidden_loss",
]


@dataclass(frozen=True)
class Criterion:
    """One thing that must not get worse by more than `margin`, larger being better."""

    name: str
    """What the policy calls it."""
    estimate: float | Undetermined
    """candidate - baseline, or why there is none."""
    se: float
    """Its standard error."""
    margin: float
    """The tolerated loss m > 0, in the estimate's unit."""
    df: float | None = None
    """Degrees of freedom of a t statistic."""
    interval: tuple[float, float] | None = None
    """The two-sided interval at the gate's confidence; derived from `se` when None."""
    loss_p: float | None = None
    """One-sided p of a loss (such as an exact McNemar); derived from `se` when None."""
    noise_se: float = 0.0
    """Standard error from reruns of the baseline; widens interval and null."""

    def __post_init__(self) -> None:
        """Refuse margins, errors and p-values out of range."""
        if not self.margin > 0:
            raise UsageError(f"criterion {self.name}: margin is {self.margin}; it must be positive")
        if self.se < 0 or self.noise_se < 0:
            raise UsageError(f"criterion {self.name}: a standard error cannot be negative")
        if self.loss_p is not None and not 0 <= self.loss_p <= 1:
            raise UsageError(f"criterion {self.name}: loss_p is {self.loss_p}, not a probability")
        if not isinstance(self.estimate, Undetermined) and self.se == 0:
            raise UsageError(f"criterion {self.name}: an estimate needs a standard error")
        if self.interval is not None and not self.interval[0] < self.interval[1]:
            raise UsageError(f"criterion {self.name}: the interval's lower end must be below")

    @property
    def total_se(self) -> float:
        """√(se² + noise_se²)."""
        return math.hypot(self.se, self.noise_se)


@dataclass(frozen=True)
class CriterionDecision:
    """What the gate says about one criterion."""

    criterion: Criterion
    """The criterion decided."""
    verdict: Outcome
    """PASS, FAIL or INCONCLUSIVE."""
    lower: float | None
    """Lower end of the gate's interval; None when undetermined."""
    upper: float | None
    """Upper end."""
    loss_p: float | None
    """One-sided p of a loss."""
    loss_p_holm: float | None
    """The same, adjusted over the gate's criteria."""
    worse_but_tolerated: bool
    """Amber: it passes, and the whole interval lies below zero."""


def decide_criteria(
    criteria: Sequence[Criterion], family_alpha: float = 0.05, confidence: float = 0.90
) -> tuple[CriterionDecision, ...]:
    """PASS, FAIL or INCONCLUSIVE for every criterion, in their order.

    PASS: the lower end of the two-sided `confidence` interval is above -margin. FAIL: the one-sided
    loss is significant after Holm over all criteria at `family_alpha`, and estimate ≤ -margin.
    Else INCONCLUSIVE. At no true difference the chance of any FAIL is at most `family_alpha`.
    Raises `UsageError` for no criteria or repeated names.
    """
    check_confidence(confidence)
    check_confidence(1.0 - family_alpha)
    if not criteria:
        raise UsageError("a gate needs at least one criterion")
    if len({criterion.name for criterion in criteria}) < len(criteria):
        raise UsageError("two criteria have the same name")
    # An undetermined criterion still counts in the family: deciding later must not change others.
    loss_p = [_loss_p(criterion) for criterion in criteria]
    adjusted = holm(loss_p)
    return tuple(
        _decide(criterion, p, float(q), family_alpha, confidence)
        for criterion, p, q in zip(criteria, loss_p, adjusted, strict=True)
    )


def style_driven_gain(
    raw: Estimate, substance: Estimate | None, style: Estimate | None
) -> bool | None:
    """Whether a preference gain is style: raw lower > 0, style lower > 0, substance lower ≤ 0.

    None when style could not be told from substance.
    """
    if substance is None or style is None:
        return None
    return raw.lower > 0 and style.lower > 0 and substance.lower <= 0


def style_hidden_loss(
    raw: Estimate, substance: Estimate | None, style: Estimate | None
) -> bool | None:
    """Whether style explains a raw loss: raw upper < 0, style upper < 0, substance upper ≥ 0.

    The mirror of `style_driven_gain`; None when style could not be told from substance.
    """
    if substance is None or style is None:
        return None
    return raw.upper < 0 and style.upper < 0 and substance.upper >= 0


def _loss_p(criterion: Criterion) -> float:
    if isinstance(criterion.estimate, Undetermined):
        return 1.0
    if criterion.loss_p is not None and criterion.noise_se == 0.0:
        return criterion.loss_p
    # P(estimate this low or lower | no difference).
    return upper_tail(-criterion.estimate / criterion.total_se, criterion.df)


def _interval(criterion: Criterion, estimate: float, confidence: float) -> tuple[float, float]:
    reach = critical_value(confidence, criterion.df)
    if criterion.interval is None:
        half = reach * criterion.total_se
        return estimate - half, estimate + half
    lower, upper = criterion.interval
    noise = reach * criterion.noise_se
    return estimate - math.hypot(estimate - lower, noise), estimate + math.hypot(
        upper - estimate, noise
    )


def _decide(
    criterion: Criterion, loss_p: float, adjusted: float, family_alpha: float, confidence: float
) -> CriterionDecision:
    estimate = criterion.estimate
    if isinstance(estimate, Undetermined):
        return CriterionDecision(criterion, "INCONCLUSIVE", None, None, None, None, False)
    lower, upper = _interval(criterion, estimate, confidence)
    verdict: Outcome = "INCONCLUSIVE"
    if lower > -criterion.margin:
        verdict = "PASS"
    elif adjusted <= family_alpha and estimate <= -criterion.margin:
        verdict = "FAIL"
    amber = verdict == "PASS" and upper < 0.0
    return CriterionDecision(criterion, verdict, lower, upper, loss_p, adjusted, amber)
