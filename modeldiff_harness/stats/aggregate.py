"""Paired difference of any corpus-level metric by a joint document bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.clusters import ClusterLabels, cluster_index
from modeldiff_harness.stats.estimates import (
    Floats,
    Ints,
    PairedEstimate,
    Undetermined,
    check_confidence,
)

Record = TypeVar("Record")

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
    delta = whole[1] - whole[0]
    undefined = n_resamples - len(draws)
    if undefined > _MOST_UNDEFINED_SHARE * n_resamples:
        reason = f"the aggregation is undefined on {undefined} of {n_resamples} resamples"
        return Undetermined(reason, n_units, delta)
    if float(np.ptp(draws)) == 0.0:
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
        method="joint document bootstrap",
        confidence=confidence,
        n_clusters=None if n_units == n else n_units,
        flags=("undefined_resamples",) if undefined else (),
    )


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
