"""Paired difference of any corpus-level metric by a joint document bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.clusters import ClusterLabels, cluster_index, sum_within
from modeldiff_harness.stats.estimates import (
    Floats,
    Ints,
    PairedEstimate,
    Undetermined,
    check_confidence,
)

Record = TypeVar("Record")

FEWEST_UNITS = 50
"""Documents, or clusters of them, below which percentiles of a bootstrap decide no gate."""
FEWEST_MOVED = 20
"""Documents that must differ between the models for the same."""
_MOST_UNDEFINED_SHARE = 0.05


def aggregate_difference(
    baseline: Sequence[Record],
    candidate: Sequence[Record],
    aggregate: Callable[[Sequence[Record]], float],
    clusters: ClusterLabels | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    n_resamples: int = 1_000,
) -> PairedEstimate | Undetermined:
    """aggregate(candidate records) - aggregate(baseline records), resampled over documents.

    `baseline[i]` and `candidate[i]` are the per-item records of one document (for F1 its
    prediction and truth, for perplexity its log-likelihood and length). Every resample draws the
    same documents, or whole clusters of them, for both models, so that the pairing survives an
    aggregation that is not a mean. The interval holds percentiles, the p counts resamples beyond
    zero. Returns `Undetermined` for fewer than 2 units, an aggregate that is undefined on all
    records or on more than 5 % of resamples, or resamples that never vary. Raises `UsageError`
    for lengths that differ.
    """
    check_confidence(confidence)
    n = len(baseline)
    if n != len(candidate):
        raise UsageError(f"{n} baseline and {len(candidate)} candidate records; align them first")
    index, n_units = cluster_index(clusters, n)
    if n_units < 2:
        return Undetermined(f"{n_units} document; resampling needs at least 2", n_units)
    whole = float(aggregate(baseline)), float(aggregate(candidate))
    if not all(map(math.isfinite, whole)):
        return Undetermined("the aggregation is undefined on these records", n_units)
    draws = _resampled_differences(
        baseline, candidate, aggregate, index, n_units, n_resamples, seed
    )
    n_moved = sum(one != other for one, other in zip(baseline, candidate, strict=True))
    return _from_draws(whole, draws, n_resamples, n, n_units, n_moved, confidence)


def summed_difference(
    baseline_NS: npt.ArrayLike,
    candidate_NS: npt.ArrayLike,
    combine: Callable[[Floats], float],
    clusters: ClusterLabels | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    n_resamples: int = 5_000,
) -> PairedEstimate | Undetermined:
    """The same as `aggregate_difference` for metrics that are a function of sums over items.

    `baseline_NS`, `candidate_NS`: (N, S) statistics of every item (n-gram matches for BLEU, true
    and false positives for F1, log-likelihoods and lengths for perplexity); `combine` turns their
    sums (S,) into the metric.  Resampling adds rows instead of aggregating texts again.  Raises
    `UsageError` for shapes that differ or values that are not finite.
    """
    check_confidence(confidence)
    base, cand = (np.asarray(one, dtype=np.float64) for one in (baseline_NS, candidate_NS))
    if base.ndim != 2 or base.shape != cand.shape:
        raise UsageError(f"statistics of shapes {base.shape} and {cand.shape}; align them first")
    if not (np.isfinite(base).all() and np.isfinite(cand).all()):
        raise UsageError("an item's statistics are not finite; leave missing items out first")
    n = len(base)
    index, n_units = cluster_index(clusters, n)
    if n_units < 2:
        return Undetermined(f"{n_units} document; resampling needs at least 2", n_units)
    whole = _defined(combine, base.sum(axis=0)), _defined(combine, cand.sum(axis=0))
    if not all(map(math.isfinite, whole)):
        return Undetermined("the aggregation is undefined on these records", n_units)
    units = np.concatenate([sum_within(one, index, n_units) for one in (base, cand)], axis=1)
    rng = np.random.default_rng(seed)
    draws = np.empty(n_resamples)
    half = base.shape[1]
    for row in range(n_resamples):
        sums = units[rng.integers(0, n_units, n_units)].sum(axis=0)
        draws[row] = _defined(combine, sums[half:]) - _defined(combine, sums[:half])
    kept = draws[np.isfinite(draws)]
    n_moved = int((base != cand).any(axis=1).sum())
    return _from_draws(whole, kept, n_resamples, n, n_units, n_moved, confidence)


def _defined(combine: Callable[[Floats], float], sums: Floats) -> float:
    """The metric, or NaN where it has no value: a resample without any positive."""
    try:
        return float(combine(sums))
    except (ZeroDivisionError, OverflowError):
        return math.nan


def _from_draws(
    whole: tuple[float, float],
    draws: Floats,
    n_resamples: int,
    n: int,
    n_units: int,
    n_moved: int,
    confidence: float,
) -> PairedEstimate | Undetermined:
    delta = whole[1] - whole[0]
    undefined = n_resamples - len(draws)
    if undefined > _MOST_UNDEFINED_SHARE * n_resamples:
        reason = f"the aggregation is undefined on {undefined} of {n_resamples} resamples"
        return Undetermined(reason, n_units, delta)
    if float(np.ptp(draws)) <= 1e-12 * max(map(abs, whole)):
        return Undetermined("the difference never varies over resamples", n_units, delta)
    tail = (1.0 - confidence) / 2.0
    beyond = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    lower, upper = (float(end) for end in np.quantile(draws, [tail, 1.0 - tail]))
    return PairedEstimate(
        n=n,
        baseline=whole[0],
        candidate=whole[1],
        delta=delta,
        se=float(draws.std(ddof=1)),
        lower=lower,
        upper=upper,
        p_value=min(1.0, 2.0 * (1 + beyond) / (1 + len(draws))),
        interval_method="bootstrap",
        method="joint document bootstrap",
        confidence=confidence,
        n_clusters=None if n_units == n else n_units,
        not_gateable=_too_few(n_units, n_moved),
    )


def _too_few(n_units: int, n_moved: int) -> str:
    """Why percentiles of a bootstrap may not decide a gate, or nothing."""
    if n_units < FEWEST_UNITS:
        return f"{n_units} documents are too few to gate an aggregate; {FEWEST_UNITS} are needed"
    if n_moved < FEWEST_MOVED:
        return (
            f"only {n_moved} of {n_units:,} documents differ, too few to resample;"
            f" {FEWEST_MOVED} are needed"
        )
    return ""


def _resampled_differences(
    baseline: Sequence[Record],
    candidate: Sequence[Record],
    aggregate: Callable[[Sequence[Record]], float],
    index: Ints,
    n_units: int,
    n_resamples: int,
    seed: int,
) -> Floats:
    members: list[list[int]] = [[] for _ in range(n_units)]
    for item, unit in enumerate(index.tolist()):
        members[unit].append(item)
    rng = np.random.default_rng(seed)
    draws = np.empty(n_resamples)
    for row in range(n_resamples):
        picked = [i for unit in rng.integers(0, n_units, n_units).tolist() for i in members[unit]]
        draws[row] = float(aggregate([candidate[i] for i in picked])) - float(
            aggregate([baseline[i] for i in picked])
        )
    return draws[np.isfinite(draws)]
