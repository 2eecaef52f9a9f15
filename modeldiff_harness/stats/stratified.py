"""A group's paired difference from its sub-tasks."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modeldiff_harness.artifacts.benchmarks import PairedCounts
from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.clusters import cluster_index, sum_within
from modeldiff_harness.stats.estimates import (
    PairedEstimate,
    Undetermined,
    as_finite_vector,
    check_confidence,
    two_sided_p,
    wald,
)
from modeldiff_harness.stats.paired_binary import is_binary, paired_counts


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
    delta = sum(w * part.delta for w, part in pairs)
    variances = [(w * part.se) ** 2 for w, part in pairs]
    se = math.sqrt(sum(variances))
    below = math.sqrt(sum((w * max(0.0, part.delta - part.lower)) ** 2 for w, part in pairs))
    above = math.sqrt(sum((w * max(0.0, part.upper - part.delta)) ** 2 for w, part in pairs))
    # Of intervals estimate ± z·se MOVER makes another one.
    by_normal = all(part.interval_method == "normal" for part in determined)
    df = _welch_satterthwaite(variances, [part.df for part in determined])
    return PairedEstimate(
        n=n,
        baseline=sum(w * part.baseline for w, part in pairs),
        candidate=sum(w * part.candidate for w, part in pairs),
        delta=delta,
        se=se,
        lower=delta - below,
        upper=delta + above,
        p_value=two_sided_p(delta, se, df),
        interval_method="normal" if by_normal else "MOVER",
        method=f"stratified over {len(determined)} sub-tasks, weights by items",
        confidence=determined[0].confidence,
        df=df,
        unpaired_se=_combined_unpaired(pairs),
        counts=_total([part.counts for part in determined]),
    )


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
    Σ_g(Σ_{i∈g}(d_i - d̄_{s(i)}))²/n² x G/(G-1) over clusters g that cross the strata s, so that a
    question asked in twenty languages counts once.  t with G-1 degrees of freedom.  Raises
    `UsageError` for no strata or lengths that differ.
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
    centred = [c - b - float((c - b).mean()) for b, c in zip(bases, cands, strict=True)]
    sums_G = sum_within(np.concatenate(centred), index, n_clusters)
    se = math.sqrt(float((sums_G**2).sum()) * n_clusters / (n_clusters - 1.0)) / n
    delta = float(d.mean())
    if se <= 1e-12 * float(max(np.abs(base).max(), np.abs(cand).max(), 1.0)):
        return Undetermined("every cluster differs by the same amount", n_clusters, delta)
    df = float(n_clusters - 1)
    interval = wald(delta, se, confidence, df)
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
        method=f"stratified over {len(strata)} sub-tasks, clusters across them, t",
        confidence=confidence,
        df=df,
        n_clusters=n_clusters,
        counts=paired_counts(base, cand) if is_binary(base, cand) else None,
    )
