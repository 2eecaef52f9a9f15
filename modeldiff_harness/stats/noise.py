"""The noise floor: how much one model's result moves when nothing but the run changes."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from modeldiff_harness.artifacts.benchmarks import RerunNoise
from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.clusters import ClusterLabels, cluster_index, sum_within
from modeldiff_harness.stats.estimates import Floats

__all__ = ["aggregate_noise", "rerun_noise"]

_FEWEST_RUNS_TO_COMPARE = 3
_SAME = 1e-6
"""Values this near, relative to their size, are the same value computed in another order."""


def rerun_noise(values_RN: npt.ArrayLike, clusters: ClusterLabels | None = None) -> RerunNoise:
    """Noise of a mean over items from R ≥ 2 runs of one model: values (R, N).

    se = √(2·max(V_items, V_runs)): both compared models carry the noise of one run, hence 2.
    V_items = Σ_i s_i²/N² with s_i² the variance of item i over the runs; with clusters the sums of
    a cluster's deviations take the place of the items'.  V_runs is the variance of the R means: it
    sees a shift that all items share, and enters from 3 runs on.  For one rerun of a binary metric
    se is √(flip rate/N).  The part of V_items that is independent between items is already in a
    paired standard error; adding it again is the cautious choice.

    Raises UsageError for fewer than 2 runs, no items, or values that are not finite.
    """
    values = np.asarray(values_RN, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 2 or values.shape[1] < 1:
        raise UsageError("a noise floor needs at least two runs of the same items")
    if not np.isfinite(values).all():
        raise UsageError("a noise floor needs finite values; leave missing items out first")
    n_runs, n_items = values.shape
    index, n_clusters = cluster_index(clusters, n_items)
    deviations_RN = values - values.mean(axis=0)
    sums_RG = np.stack([sum_within(row, index, n_clusters) for row in deviations_RN])
    v_items = float((sums_RG**2).sum()) / (n_runs - 1) / n_items**2
    v_runs = 0.0
    if n_runs >= _FEWEST_RUNS_TO_COMPARE:
        v_runs = float(values.mean(axis=1).var(ddof=1))
    return RerunNoise(n_runs - 1, _flip_rate(values), math.sqrt(2.0 * max(v_items, v_runs)))


def aggregate_noise(aggregates_R: npt.ArrayLike) -> RerunNoise:
    """Noise of a corpus-level metric from R ≥ 2 runs of one model: √2 x the runs' deviation.

    With two runs that is their distance.  Raises UsageError for fewer than 2 runs.
    """
    values = np.asarray(aggregates_R, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise UsageError("a noise floor needs at least two runs")
    return RerunNoise(len(values) - 1, None, math.sqrt(2.0 * float(values.var(ddof=1))))


def _flip_rate(values_RN: Floats) -> float:
    n_runs = len(values_RN)
    rates = []
    for first in range(n_runs):
        for second in range(first + 1, n_runs):
            a, b = values_RN[first], values_RN[second]
            rates.append(float((np.abs(a - b) > _SAME * np.maximum(1.0, np.abs(a))).mean()))
    return sum(rates) / len(rates)
