"""The result types that every statistic shares, and the critical values behind their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from modeldiff_harness.artifacts.benchmarks import PairedCounts
from modeldiff_harness.artifacts.estimates import Estimate, Interval, IntervalMethod
from modeldiff_harness.errors import UsageError

__all__ = [
    "Bools",
    "Estimate",
    "Floats",
    "Interval",
    "Ints",
    "PairedEstimate",
    "Undetermined",
    "as_finite_vector",
    "check_confidence",
    "critical_value",
    "two_sided_p",
    "upper_tail",
    "wald",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Undetermined:
    """A quantity that the data cannot determine, with the reason; never a NaN and never a zero."""

    reason: str
    """One clause that says what is missing."""
    n: int
    """How many units there were."""
    delta: float | None = None
    """The observed candidate - baseline where that much is known."""


@dataclass(frozen=True)
class PairedEstimate:
    """The difference of two models on the same items, in the metric's own unit."""

    n: int
    """Items."""
    baseline: float
    """The baseline's mean or aggregate."""
    candidate: float
    """The candidate's mean or aggregate."""
    delta: float
    """candidate - baseline."""
    se: float
    """Paired standard error; the adjusted one where the plain one would be zero."""
    lower: float
    """Lower end of the two-sided interval."""
    upper: float
    """Upper end of the two-sided interval."""
    p_value: float
    """Two-sided p of no difference."""
    interval_method: IntervalMethod
    method: str
    """How interval and p were made, in words."""
    confidence: float
    """Level of the interval."""
    df: float | None = None
    """Degrees of freedom of the t behind interval or p; None where the normal holds."""
    n_clusters: int | None = None
    """Clusters, or None when every item stands for itself."""
    unpaired_se: float | None = None
    """What the standard error would be if the models had answered different items."""
    p_exact: float | None = None
    """Exact McNemar p beside the mid-p; binary metrics only."""
    counts: PairedCounts | None = None
    """Binary metrics only."""
    guarded: Interval | None = None
    """The interval that a gate may decide by, at the same confidence: `lower` and `upper` moved
    out to what rare losses that no item shows may still do.  None: the interval itself may."""
    not_gateable: str = ""
    """Why no interval of these items may decide a gate, in one clause; empty where one may."""

    @property
    def variance_of_one_item(self) -> float:
        """n x se²: what `power.mde` and `power.items_for_margin` take (design effect included)."""
        return self.n * self.se**2


def check_confidence(confidence: float) -> None:
    """Raise `UsageError` unless 0 < confidence < 1."""
    if not 0.0 < confidence < 1.0:
        raise UsageError(f"confidence is {confidence}; give a number between 0 and 1, such as 0.95")


def critical_value(confidence: float, df: float | None = None) -> float:
    """The two-sided critical value: normal, or Student's t with `df` degrees of freedom."""
    check_confidence(confidence)
    tail = 0.5 + confidence / 2.0
    return float(ndtri(tail) if df is None or math.isinf(df) else stdtrit(df, tail))


def upper_tail(statistic: float, df: float | None = None) -> float:
    """P(X > statistic) under the standard normal or Student's t with `df`."""
    return float(ndtr(-statistic) if df is None or math.isinf(df) else stdtr(df, -statistic))


def two_sided_p(estimate: float, se: float, df: float | None = None) -> float:
    """Two-sided p for estimate = 0; with se = 0 it is 1 at zero and 0 elsewhere."""
    if se == 0.0:
        return 1.0 if estimate == 0.0 else 0.0
    return min(1.0, 2.0 * upper_tail(abs(estimate) / se, df))


def wald(estimate: float, se: float, confidence: float, df: float | None = None) -> Estimate:
    """estimate ± critical value x se: normal, or t with `df`."""
    half = critical_value(confidence, df) * se
    ends = estimate - half, estimate + half
    if df is None:
        return Estimate(estimate, *ends, se, method="normal")
    return Estimate(estimate, *ends, se, float(df), "t")


def as_finite_vector(values: npt.ArrayLike, what: str) -> Floats:
    """A float64 vector, or `UsageError` naming `what` when it is not one or holds NaN or inf."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise UsageError(f"{what} must have one dimension, not shape {array.shape}")
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array))[0])
        raise UsageError(f"{what}[{bad}] is not finite; drop or count missing items first")
    return array
