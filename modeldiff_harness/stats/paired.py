"""The paired difference of two models on the same items."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from modeldiff_harness.artifacts.benchmarks import PairedCounts
from modeldiff_harness.artifacts.estimates import IntervalMethod
from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.bootstrap import bca_interval, sign_flip_p
from modeldiff_harness.stats.bounded_mean import bounded_mean_bounds
from modeldiff_harness.stats.clusters import (
    ClusterLabels,
    cluster_index,
    clustered_mean_df,
    clustered_mean_variance,
    sum_within,
)
from modeldiff_harness.stats.estimates import (
    Floats,
    Interval,
    Ints,
    PairedEstimate,
    Undetermined,
    as_finite_vector,
    check_confidence,
    critical_value,
    two_sided_p,
    wald,
)
from modeldiff_harness.stats.paired_binary import (
    bonett_price_interval,
    discordance_variance,
    guarded_interval,
    is_binary,
    mcnemar_exact_p,
    mcnemar_mid_p,
    paired_counts,
    pseudo_count_interval,
)

Kind = Literal["binary", "bounded", "continuous"]
"""Every value is 0 or 1; lies in [0, 1]; or does neither."""

FEWEST_ITEMS = 100
"""Items of a graded metric in [0, 1] below which no interval decides a gate: everything lost on
one item in fifty shows in none of 100 items one time in seven."""
FEWEST_UNBOUNDED_ITEMS = 30
"""The same for a metric without bounds, whose losses nothing limits."""
FEWEST_CLUSTERS = 5
"""Clusters below which no interval decides a gate, and for a metric without bounds …"""
FEWEST_UNBOUNDED_CLUSTERS = 20
"""… this many."""
FEWEST_MOVED = 10
"""Items (or clusters) of a metric without bounds that must differ between the models."""

_BCA_FROM_ITEMS = 20
_BCA_BELOW_ITEMS = 200
_FEW_MOVED = 20
# Skewness 1 at 200 items: the size from which the t interval's error in each tail, which goes as
# skewness/√n, is left uncorrected.
_SKEWNESS_PER_ROOT_N = 1.0 / math.sqrt(200.0)


def paired_difference(
    baseline: npt.ArrayLike,
    candidate: npt.ArrayLike,
    clusters: ClusterLabels | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedEstimate | Undetermined:
    """Mean difference candidate - baseline over aligned items, with its interval and p.

    `baseline`, `candidate`: (N,) values of the same items in the same order. `clusters`: (N,)
    labels of items that share a document; labels that never repeat count as none. Returns
    `Undetermined` for no items, or when the data hold no variance to learn from. Raises
    `UsageError` for lengths that differ or values that are not finite.
    """
    check_confidence(confidence)
    base, cand = as_finite_vector(baseline, "baseline"), as_finite_vector(candidate, "candidate")
    if len(base) != len(cand):
        raise UsageError(
            f"{len(base)} baseline values and {len(cand)} candidate values;"
            " align the items before comparing"
        )
    kind = _kind_of(base, cand)
    n = len(base)
    if clusters is not None:
        index, n_clusters = cluster_index(clusters, n)
        if 0 < n_clusters < n:
            return _clustered(base, cand, index, n_clusters, kind, confidence)
    if n == 0:
        return Undetermined("no items in common", 0)
    if kind == "binary":
        return paired_binary(paired_counts(base, cand), confidence)
    return _continuous(base, cand, kind, confidence, seed)


def paired_binary(counts: PairedCounts, confidence: float = 0.95) -> PairedEstimate | Undetermined:
    """The difference of two accuracies on the same items, from the 2x2 table alone.

    Wald SE √(w/n), Bonett-Price interval, mid-p McNemar with the exact p beside it. When no item
    (or every item, all one way) is discordant the Wald SE is zero and the adjusted SE stands in
    for it.
    """
    n = counts.n
    if n == 0:
        return Undetermined("no items in common", 0)
    delta = (counts.fixed - counts.broken) / n
    se = math.sqrt(max(0.0, discordance_variance(counts.fixed, counts.broken, n)) / n)
    lower, upper, adjusted_se = bonett_price_interval(counts.fixed, counts.broken, n, confidence)
    guarded = guarded_interval(counts.fixed, counts.broken, n, confidence)
    base, cand = (counts.both_right + counts.broken) / n, (counts.both_right + counts.fixed) / n
    return PairedEstimate(
        n=n,
        baseline=base,
        candidate=cand,
        delta=delta,
        se=se or adjusted_se,
        lower=lower,
        upper=upper,
        p_value=mcnemar_mid_p(counts.fixed, counts.broken),
        interval_method="Bonett-Price",
        method="Bonett-Price interval, mid-p McNemar",
        confidence=confidence,
        unpaired_se=math.sqrt((base * (1 - base) + cand * (1 - cand)) / n),
        p_exact=mcnemar_exact_p(counts.fixed, counts.broken),
        counts=counts,
        guarded=Interval(guarded[0], guarded[1]),
    )


def _unpaired_se(base: Floats, cand: Floats) -> float:
    """√(s_b²/n + s_c²/n): the standard error that two separate runs of a harness imply."""
    return math.sqrt(base.var(ddof=1) / len(base) + cand.var(ddof=1) / len(cand))


def _kind_of(base: Floats, cand: Floats) -> Kind:
    if is_binary(base, cand):
        return "binary"
    both = np.concatenate([base, cand])
    return "bounded" if bool(((both >= 0.0) & (both <= 1.0)).all()) else "continuous"


def _continuous(
    base: Floats, cand: Floats, kind: Kind, confidence: float, seed: int
) -> PairedEstimate | Undetermined:
    d, n = _differences(base, cand), len(base)
    delta = float(d.mean())
    if np.ptp(d) <= _rounding(base, cand):
        return _without_variation(base, cand, np.ones(n), None, kind, confidence)
    # In units of the largest difference nothing under- or overflows.
    scale = float(np.abs(d).max())
    unit = d / scale
    se = scale * float(unit.std(ddof=1)) / math.sqrt(n)
    skewness = float((((unit - unit.mean()) / unit.std()) ** 3).mean())
    interval = wald(delta, se, confidence, n - 1)
    lower, upper = interval.lower, interval.upper
    skewed = n < _BCA_BELOW_ITEMS or abs(skewness) / math.sqrt(n) > _SKEWNESS_PER_ROOT_N
    by_bootstrap = skewed and n >= _BCA_FROM_ITEMS
    if by_bootstrap:
        low, high = (scale * end for end in bca_interval(unit, None, confidence, seed))
        lower, upper = min(lower, low), max(upper, high)
    said = "t and BCa bootstrap, the wider end of both;" if by_bootstrap else "paired t interval,"
    n_moved = int((d != 0.0).sum())
    if kind == "bounded" and _few_moved(n_moved, n):
        low, high, _ = pseudo_count_interval(delta, float((d**2).mean()), n, confidence)
        lower, upper = min(lower, low), max(upper, high)
        by_bootstrap, said = True, "paired t with pseudo-items, few items moved;"
    return PairedEstimate(
        n=n,
        baseline=float(base.mean()),
        candidate=float(cand.mean()),
        delta=delta,
        se=se,
        lower=lower,
        upper=upper,
        p_value=sign_flip_p(unit, seed=seed),
        interval_method="BCa" if by_bootstrap else "t",
        method=f"{said} sign-flip permutation",
        confidence=confidence,
        df=float(n - 1),
        unpaired_se=_unpaired_se(base, cand),
        guarded=_guarded(base, cand, d, np.ones(n), kind, (lower, upper), confidence),
        not_gateable=_too_few(kind, n, n_moved, clustered=False),
    )


def _few_moved(n_moved: int, n_units: int) -> bool:
    """Whether so few units differ that their spread says little: below 20, and below half."""
    return n_moved < min(_FEW_MOVED, n_units / 2.0)


def _guarded(
    base: Floats,
    cand: Floats,
    sums_U: Floats,
    sizes_U: Floats,
    kind: Kind,
    ends: tuple[float, float],
    confidence: float,
) -> Interval:
    """The ends moved out to the bounds of a mean whose units can lose all there is to lose.

    That is 1 for metrics in [0, 1] and the range of both models' scores for others.  Clusters of
    which 20 or more moved are taken to lose no more than the one that moved most: all items of a
    cluster lost at once would show in some of them.
    """
    reach = 1.0 if kind != "continuous" else float(np.ptp(np.concatenate([base, cand])))
    means_U = np.abs(sums_U / sizes_U)
    if len(sums_U) < len(base) and int((sums_U != 0.0).sum()) >= _FEW_MOVED:
        reach = min(reach, float(means_U.max()))
    # Rounding can put a unit past a reach of 1.
    reach = max(reach, float(means_U.max()))
    lower, upper = bounded_mean_bounds(sums_U / reach, 1.0, confidence, sizes_U)
    return Interval(min(ends[0], reach * lower), max(ends[1], reach * upper))


def _too_few(kind: Kind, n_units: int, n_moved: int, *, clustered: bool) -> str:
    """Why no interval may decide a gate, or nothing."""
    fewest = 0 if kind == "binary" else FEWEST_ITEMS
    if kind == "continuous":
        fewest = FEWEST_UNBOUNDED_ITEMS
    if clustered:
        fewest = FEWEST_UNBOUNDED_CLUSTERS if kind == "continuous" else FEWEST_CLUSTERS
    what = "clusters" if clustered else "items"
    if n_units < fewest:
        return f"{n_units} {what} are too few to gate this metric; {fewest} are needed"
    if kind == "continuous" and n_moved < FEWEST_MOVED:
        return (
            f"only {n_moved} of {n_units:,} {what} differ, too few to bound a metric without bounds"
            f"; {FEWEST_MOVED} are needed"
        )
    return ""


def _rounding(base: Floats, cand: Floats) -> float:
    """Differences this small come from arithmetic, not from the models."""
    return 1e-12 * float(max(np.abs(base).max(), np.abs(cand).max()))


def _differences(base: Floats, cand: Floats) -> Floats:
    d = cand - base
    return np.where(np.abs(d) <= _rounding(base, cand), 0.0, d)


def _without_variation(
    base: Floats,
    cand: Floats,
    sizes_U: Floats,
    n_clusters: int | None,
    kind: Kind,
    confidence: float,
) -> PairedEstimate | Undetermined:
    """Every unit differs by the same: only a bounded metric still has an interval.

    Differences of values in [0, 1] spread at most like binary ones, so pseudo-counts give an
    interval where no unit moved, and `bounded_mean_bounds` where all moved alike (a collapse); its
    p is that of the sign-flip permutation, 2·2⁻ⁿ.
    """
    delta, n_units = float(_differences(base, cand).mean()), len(sizes_U)
    if kind == "continuous":
        return Undetermined(
            "one unit has no variance" if n_units == 1 else "every unit differs by the same amount",
            n_units,
            delta,
        )
    lower, upper, se = pseudo_count_interval(delta, delta**2, n_units, confidence)
    guarded = _guarded(base, cand, delta * sizes_U, sizes_U, kind, (lower, upper), confidence)
    interval_method: IntervalMethod = "normal"
    p, said = 1.0, "Bonett-Price bound, no unit moved"
    if delta != 0.0:
        lower, upper, p = guarded.lower, guarded.upper, min(1.0, 2.0 * 0.5**n_units)
        interval_method, said = "bounded mean", "bound of a bounded mean, every unit moved alike"
    return PairedEstimate(
        n=len(base),
        baseline=float(base.mean()),
        candidate=float(cand.mean()),
        delta=delta,
        se=se,
        lower=lower,
        upper=upper,
        p_value=p,
        interval_method=interval_method,  # without discordant units: 0 ± z·adjusted SE
        method=said,
        confidence=confidence,
        n_clusters=n_clusters,
        counts=paired_counts(base, cand) if kind == "binary" else None,
        guarded=guarded,
        not_gateable=_too_few(kind, n_units, 0, clustered=n_clusters is not None),
    )


def _clustered(
    base: Floats,
    cand: Floats,
    index: Ints,
    n_clusters: int,
    kind: Kind,
    confidence: float,
) -> PairedEstimate | Undetermined:
    """CR2 variance with Satterthwaite degrees of freedom (`stats.clusters`), t interval.

    Where few clusters of a bounded metric moved (`_few_moved`), the ends are moved out to those
    of the Bonett-Price interval with clusters for items: a sandwich of few residuals is too narrow.
    """
    d, n = _differences(base, cand), len(base)
    delta = float(d.mean())
    if n_clusters == 1:
        return Undetermined("all items belong to one cluster", 1, delta)
    sizes_G = np.bincount(index, minlength=n_clusters).astype(np.float64)
    sums_G = sum_within(d, index, n_clusters)
    pulls_G = sums_G - delta * sizes_G
    if float(np.abs(pulls_G).max()) <= _rounding(base, cand) * float(sizes_G.max()):
        return _without_variation(base, cand, sizes_G, n_clusters, kind, confidence)
    # In units of the largest difference nothing under- or overflows.
    scale = float(np.abs(d).max())
    se = scale * math.sqrt(clustered_mean_variance(pulls_G / scale, sizes_G))
    df = clustered_mean_df(sizes_G)
    half = critical_value(confidence, df) * se
    lower, upper, by = delta - half, delta + half, "clustered t (CR2)"
    interval_method: IntervalMethod = "t"
    n_moved = int((sums_G != 0.0).sum())
    if kind != "continuous" and _few_moved(n_moved, n_clusters):
        square = float((sizes_G @ (sums_G / sizes_G) ** 2) / n)
        low, high, _ = pseudo_count_interval(delta, square, n_clusters, confidence)
        lower, upper = min(lower, low), max(upper, high)
        interval_method, by = "bounded mean", "clustered t (CR2) with pseudo-clusters, few moved,"
    return PairedEstimate(
        n=n,
        baseline=float(base.mean()),
        candidate=float(cand.mean()),
        delta=delta,
        se=se,
        lower=lower,
        upper=upper,
        p_value=two_sided_p(delta, se, df),
        interval_method=interval_method,
        method=f"{by} interval, clustered t test",
        confidence=confidence,
        df=df,
        n_clusters=n_clusters,
        unpaired_se=_unpaired_se(base, cand),
        counts=paired_counts(base, cand) if kind == "binary" else None,
        guarded=_guarded(base, cand, sums_G, sizes_G, kind, (lower, upper), confidence),
        not_gateable=_too_few(kind, n_clusters, n_moved, clustered=True),
    )
