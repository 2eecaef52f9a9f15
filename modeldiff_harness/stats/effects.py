"""Effect sizes that travel between metrics."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import (
    Estimate,
    Undetermined,
    as_finite_vector,
    critical_value,
)


def cohens_dz(baseline: npt.ArrayLike, candidate: npt.ArrayLike) -> float | Undetermined:
    """Mean paired difference in units of its standard deviation (Cohen 1988)."""
    d = as_finite_vector(candidate, "candidate") - as_finite_vector(baseline, "baseline")
    if len(d) < 2 or float(np.ptp(d)) == 0.0:
        return Undetermined("the differences do not vary", len(d))
    return float(d.mean() / d.std(ddof=1))


def cohens_h(baseline_share: float, candidate_share: float) -> float:
    """Difference of arcsine-transformed shares, 2·asin√p_c - 2·asin√p_b (Cohen 1988)."""
    for share in (baseline_share, candidate_share):
        if not 0.0 <= share <= 1.0:
            raise UsageError(f"a share is {share}; shares lie between 0 and 1")
    return 2.0 * (math.asin(math.sqrt(candidate_share)) - math.asin(math.sqrt(baseline_share)))


def matched_log_odds_ratio(fixed: int, broken: int, confidence: float = 0.95) -> Estimate:
    """Conditional log odds ratio ln(fixed/broken) with half a pair added to both counts.

    The half (Haldane 1956) keeps the estimate finite when one count is zero.
    """
    if fixed < 0 or broken < 0:
        raise UsageError("counts of fixed and broken items cannot be negative")
    log_ratio = math.log((fixed + 0.5) / (broken + 0.5))
    se = math.sqrt(1.0 / (fixed + 0.5) + 1.0 / (broken + 0.5))
    half = critical_value(confidence) * se
    return Estimate(log_ratio, log_ratio - half, log_ratio + half, se)
