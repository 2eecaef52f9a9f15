"""Effect sizes that travel between metrics."""

from __future__ import annotations

import math

import numpy as np

from modeldiff_harness.artifacts.benchmarks import EffectSize, PairedCounts
from modeldiff_harness.stats.estimates import Floats

__all__ = ["cohens_dz", "matched_log_odds_ratio"]


def cohens_dz(baseline: Floats, candidate: Floats) -> EffectSize | None:
    """Mean paired difference in units of its standard deviation (Cohen 1988).

    `baseline`, `candidate`: (N,).  None when the differences do not vary.
    """
    d = candidate - baseline
    if len(d) < 2 or float(np.ptp(d)) == 0.0:
        return None
    return EffectSize(float(d.mean() / d.std(ddof=1)), "Cohen's dz")


def matched_log_odds_ratio(counts: PairedCounts) -> EffectSize:
    """Conditional log odds ratio ln(fixed/broken) with half a pair added to both counts.

    The half (Haldane 1956) keeps it finite when one count is zero.
    """
    size = math.log((counts.fixed + 0.5) / (counts.broken + 0.5))
    return EffectSize(size, "log odds ratio")
