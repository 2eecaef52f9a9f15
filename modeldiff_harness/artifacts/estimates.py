"""Numbers with their uncertainty, shared by all arms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Estimate", "Interval", "IntervalMethod", "ShareComparison"]

IntervalMethod = Literal[
    "",
    "normal",
    "t",
    "Bonett-Price",
    "MOVER",
    "BCa",
    "bootstrap",
    "bounded mean",
    "Newcombe",
    "score",
]
"""How an interval was made; empty: not recorded.  Only `normal` (estimate ± z·se) and `t` (with
`df`) follow from estimate and standard error at every other confidence."""


@dataclass(frozen=True)
class Interval:
    """Both ends of a two-sided interval."""

    lower: float
    upper: float


@dataclass(frozen=True)
class Estimate:
    """A point estimate with its two-sided interval, in the unit that the field's name states."""

    estimate: float
    lower: float
    upper: float
    se: float | None = None
    """Standard error in the same unit; None where the interval does not come from one."""
    df: float | None = None
    """Degrees of freedom of the interval's t; None where the normal holds or there is no t."""
    method: IntervalMethod = ""


@dataclass(frozen=True)
class ShareComparison:
    """The share of one kind among two sets, candidate against baseline."""

    n_baseline: int
    """Members of the kind among the baseline's set."""
    total_baseline: int
    n_candidate: int
    total_candidate: int
    share_difference: Estimate | None
    """Candidate share − baseline share, Newcombe interval; None when a set is empty."""
    relative_change_percent: Estimate | None
    """100·(ratio of shares − 1) with a score interval; None when it is suppressed."""
    suppressed: str = ""
    """Why the ratio is not shown ("too few: a count is below 5"), or empty."""
    p_value: float | None = None
    q_value: float | None = None
