"""A group's paired difference from its sub-tasks."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modeldiff_harness.artifacts.benchmarks import PairedCounts
from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.clusters import (
    cluster_index,
    clustered_mean_df,
    clustered_mean_variance,
    sum_within,
)
from modeldiff_harness.stats.estimates import (
    Interval,
    PairedEstimate,
    Undetermined,
    as_finite_vector,
    check_confidence,
    two_sided_p,
    wald,
)
from modeldiff_harness.stats.paired import paired_difference
from modeldiff_harness.stats.paired_binary import is_binary, paired_counts


@dataclass(frozen=True)
class Pooled:
    """The mean difference over the items of several tasks."""

    delta: float
    lower: float
    upper: float
    se: float | None
    """None when a part has none."""
    df: float | None
    """Welch-Satterthwaite over the parts; None where all are normal."""


@dataclass(frozen=True)
class PooledPart:
    """One task's difference, larger being better, with its items and its interval."""

    n: int
    delta: float
    lower: float
    upper: float
    se: float | None
    df: float | None


def pool_by_items(parts: Sequence[PooledPart]) -> Pooled:
    """Σ n_k δ_k / Σ n_k with independent errors.

    Weights by items, not by estimated variance: a task where hardly anything changed would have a
    small variance and swamp the rest.  The interval recovers each part's own distances to its ends
    (MOVER, Zou and Donner 2008).  Raises `UsageError` for no parts.
    """
    if not parts:
        raise UsageError("a pooled difference needs at least one part")
    total = sum(part.n for part in parts)
    shares = [part.n / total for part in parts]
    delta = sum(w * part.delta for w, part in zip(shares, parts, strict=True))
    below = math.hypot(
        *(w * max(0.0, p.delta - p.lower) for w, p in zip(shares, parts, strict=True))
    )
    above = math.hypot(
        *(w * max(0.0, p.upper - p.delta) for w, p in zip(shares, parts, strict=True))
    )
    variances = [(w * p.se) ** 2 for w, p in zip(shares, parts, strict=True) if p.se is not None]
    se, df = None, None
    if len(variances) == len(parts):
        se = math.sqrt(sum(variances))
        df = _welch_satterthwaite(variances, [part.df for part in parts])
    return Pooled(delta, delta - below, delta + above, se, df)


def stratified_difference(
    parts: Sequence[PairedEstimate | Undetermined],
) -> PairedEstimate | Undetermined:
    """Σ w_k δ_k over sub-tasks, with w = n_k/n, treated as independent strata.

    SE = √Σ w_k² se_k². The interval recovers each stratum's own distances to its ends (MOVER, Zou
    and Donner 2008), so that skewed or adjusted intervals of small sub-tasks keep their shape. p
    uses t with Welch-Satterthwaite degrees of freedom where strata have them. One undetermined
    sub-task makes the group undetermined: leaving it out would change what is estimated. Raises
    `UsageError` for no parts or intervals of different confidence.
    """
    if not parts:
        raise UsageError("a group needs at least one sub-task")
    determined = [part for part in parts if isinstance(part, PairedEstimate)]
    if len(determined) < len(parts):
        missing = len(parts) - len(determined)
        n_items = sum(part.n for part in determined)
        return Undetermined(f"{missing} of {len(parts)} sub-tasks are undetermined", n_items)
    if len({part.confidence for part in determined}) > 1:
        raise UsageError("sub-tasks have intervals of different confidence; recompute them alike")
    n = sum(part.n for part in determined)
    pairs = [(part.n / n, part) for part in determined]
    pooled = pool_by_items(
        [PooledPart(p.n, p.delta, p.lower, p.upper, p.se, p.df) for p in determined]
    )
    delta, df, se = pooled.delta, pooled.df, pooled.se or 0.0
    # Of intervals estimate ± z·se MOVER makes another one.
    by_normal = all(part.interval_method == "normal" for part in determined)
    return PairedEstimate(
        n=n,
        baseline=sum(w * part.baseline for w, part in pairs),
        candidate=sum(w * part.candidate for w, part in pairs),
        delta=delta,
        se=se,
        lower=pooled.lower,
        upper=pooled.upper,
        p_value=two_sided_p(delta, se, df),
        interval_method="normal" if by_normal else "MOVER",
        method=f"stratified over {len(determined)} sub-tasks, weights by items",
        confidence=determined[0].confidence,
        df=df,
        unpaired_se=_combined_unpaired(pairs),
        counts=_total([part.counts for part in determined]),
        guarded=_guarded(determined),
        not_gateable=next((part.not_gateable for part in determined if part.not_gateable), ""),
    )


def _guarded(parts: Sequence[PairedEstimate]) -> Interval | None:
    """The parts' guarded intervals, pooled alike; None when no part has one of its own."""
    if all(part.guarded is None for part in parts):
        return None
    ends = [part.guarded or Interval(part.lower, part.upper) for part in parts]
    pooled = pool_by_items(
        [
            PooledPart(part.n, part.delta, end.lower, end.upper, part.se, part.df)
            for part, end in zip(parts, ends, strict=True)
        ]
    )
    return Interval(pooled.lower, pooled.upper)


def _welch_satterthwaite(variances: Sequence[float], dfs: Sequence[float | None]) -> float | None:
    spread = sum(v**2 / df for v, df in zip(variances, dfs, strict=True) if df is not None)
    return sum(variances) ** 2 / spread if spread > 0.0 else None


def _combined_unpaired(pairs: Sequence[tuple[float, PairedEstimate]]) -> float | None:
    parts = [(w, part.unpaired_se) for w, part in pairs]
    if any(se is None for _, se in parts):
        return None
    return math.sqrt(sum((w * (se or 0.0)) ** 2 for w, se in parts))


def _total(counts: Sequence[PairedCounts | None]) -> PairedCounts | None:
    known = [one for one in counts if one is not None]
    if len(known) < len(counts):
        return None
    return PairedCounts(
        fixed=sum(one.fixed for one in known),
        broken=sum(one.broken for one in known),
        both_right=sum(one.both_right for one in known),
        both_wrong=sum(one.both_wrong for one in known),
    )


@dataclass(frozen=True)
class Stratum:
    """The items of one sub-task, aligned, with the cluster each belongs to."""

    baseline: npt.ArrayLike
    candidate: npt.ArrayLike
    clusters: Sequence[Hashable]
    """Labels that may occur in several strata: the same question in two languages."""


def crossed_difference(
    strata: Sequence[Stratum], confidence: float = 0.95
) -> PairedEstimate | Undetermined:
    """The paired difference over sub-tasks whose items belong together across sub-tasks.

    The estimate is that of `stratified_difference` with weights by items; its variance is
    Σ_g(Σ_{i∈g}(d_i - d̄_{s(i)}))²/n² (CR2) over clusters g that cross the strata s, so that a
    question asked in twenty languages counts once.  t with Satterthwaite's degrees of freedom.
    Raises `UsageError` for no strata or lengths that differ.
    """
    check_confidence(confidence)
    if not strata:
        raise UsageError("a group needs at least one sub-task")
    bases = [as_finite_vector(part.baseline, "baseline") for part in strata]
    cands = [as_finite_vector(part.candidate, "candidate") for part in strata]
    for part, base, cand in zip(strata, bases, cands, strict=True):
        if not len(base) == len(cand) == len(part.clusters):
            raise UsageError("a sub-task has different numbers of values and cluster labels")
    base, cand = np.concatenate(bases), np.concatenate(cands)
    n = len(base)
    labels = [label for part in strata for label in part.clusters]
    index, n_clusters = cluster_index(labels, n)
    if n_clusters < 2:
        return Undetermined("all items belong to one cluster", n_clusters)
    d = cand - base
    delta = float(d.mean())
    centred = np.concatenate(
        [c - b - float((c - b).mean()) for b, c in zip(bases, cands, strict=True)]
    )
    sums_G, sizes_G = (
        sum_within(centred, index, n_clusters),
        sum_within(np.ones(n), index, n_clusters),
    )
    if float(np.abs(sums_G).max()) <= 1e-12 * float(
        max(np.abs(base).max(), np.abs(cand).max(), 1.0)
    ):
        # No stratum's clusters vary: only a bounded metric without effect or with a collapse is
        # told, by its clusters alone.
        alone = paired_difference(base, cand, labels, confidence)
        if isinstance(alone, Undetermined) or alone.interval_method == "t":
            return Undetermined("every cluster differs by the same amount", n_clusters, delta)
        return alone
    se = math.sqrt(clustered_mean_variance(sums_G, sizes_G))
    df = clustered_mean_df(sizes_G)
    interval = wald(delta, se, confidence, df)
    guarded = paired_difference(base, cand, labels, confidence)
    return PairedEstimate(
        n=n,
        baseline=float(base.mean()),
        candidate=float(cand.mean()),
        delta=delta,
        se=se,
        lower=interval.lower,
        upper=interval.upper,
        p_value=two_sided_p(delta, se, df),
        interval_method="t",
        method=f"stratified over {len(strata)} sub-tasks, clusters across them, t (CR2)",
        confidence=confidence,
        df=df,
        n_clusters=n_clusters,
        counts=paired_counts(base, cand) if is_binary(base, cand) else None,
        # Without the strata the clusters vary more, not less.
        guarded=None if isinstance(guarded, Undetermined) else guarded.guarded,
        not_gateable="" if isinstance(guarded, Undetermined) else guarded.not_gateable,
    )
