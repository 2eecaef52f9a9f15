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
from modeldiff_harness.stats.clusters import ClusterLabels, cluster_index, sum_within
from modeldiff_harness.stats.estimates import (
    Floats,
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
    is_binary,
    mcnemar_exact_p,
    mcnemar_mid_p,
    paired_counts,
)

Kind = Literal["binary", "bounded", "continuous"]
"""Every value is 0 or 1; lies in [0, 1]; or does neither."""

_BCA_BELOW_ITEMS = 200
_FEW_CLUSTERS = 40
_FEWEST_CLUSTERS_TO_RESAMPLE = 6
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
            return _clustered(base, cand, index, n_clusters, kind, confidence, seed)
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
        return _without_variation(base, cand, n, None, kind, confidence)
    # In units of the largest difference nothing under- or overflows.
    scale = float(np.abs(d).max())
    unit = d / scale
    se = scale * float(unit.std(ddof=1)) / math.sqrt(n)
    skewness = float((((unit - unit.mean()) / unit.std()) ** 3).mean())
    by_bootstrap = n < _BCA_BELOW_ITEMS or abs(skewness) / math.sqrt(n) > _SKEWNESS_PER_ROOT_N
    if by_bootstrap:
        lower, upper = (scale * end for end in bca_interval(unit, None, confidence, seed))
    else:
        interval = wald(delta, se, confidence, n - 1)
        lower, upper = interval.lower, interval.upper
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
        method=f"{'BCa bootstrap' if by_bootstrap else 'paired t'} interval, sign-flip permutation",
        confidence=confidence,
        df=float(n - 1),
        unpaired_se=_unpaired_se(base, cand),
    )


def _rounding(base: Floats, cand: Floats) -> float:
    """Differences this small come from arithmetic, not from the models."""
    return 1e-12 * float(max(np.abs(base).max(), np.abs(cand).max()))


def _differences(base: Floats, cand: Floats) -> Floats:
    d = cand - base
    return np.where(np.abs(d) <= _rounding(base, cand), 0.0, d)


def _without_variation(
    base: Floats,
    cand: Floats,
    n_units: int,
    n_clusters: int | None,
    kind: Kind,
    confidence: float,
) -> PairedEstimate | Undetermined:
    """Every difference is the same: only a bounded metric that never moved still has a bound.

    Differences of values in [0, 1] spread at most like binary ones, so the Bonett-Price interval
    without discordant units covers.
    """
    delta = float(_differences(base, cand).mean())
    if kind == "continuous" or delta != 0.0:
        return Undetermined(
            "one unit has no variance" if n_units == 1 else "every unit differs by the same amount",
            n_units,
            delta,
        )
    lower, upper, se = bonett_price_interval(0, 0, n_units, confidence)
    return PairedEstimate(
        n=len(base),
        baseline=float(base.mean()),
        candidate=float(cand.mean()),
        delta=0.0,
        se=se,
        lower=lower,
        upper=upper,
        p_value=1.0,
        interval_method="normal",  # without discordant units it is centred: 0 ± z·adjusted SE
        method="Bonett-Price bound, no unit moved",
        confidence=confidence,
        n_clusters=n_clusters,
        counts=paired_counts(base, cand) if kind == "binary" else None,
    )


def _clustered(
    base: Floats,
    cand: Floats,
    index: Ints,
    n_clusters: int,
    kind: Kind,
    confidence: float,
    seed: int,
) -> PairedEstimate | Undetermined:
    """Sandwich variance Σ_g(Σ_{i∈g}(d_i - d̄))²/n² x G/(G-1), t with G-1 degrees of freedom."""
    d, n = _differences(base, cand), len(base)
    delta = float(d.mean())
    if n_clusters == 1:
        return Undetermined("all items belong to one cluster", 1, delta)
    sizes_G = np.bincount(index, minlength=n_clusters).astype(np.float64)
    sums_G = sum_within(d, index, n_clusters)
    pulls_G = sums_G - delta * sizes_G
    if float(np.abs(pulls_G).max()) <= _rounding(base, cand) * float(sizes_G.max()):
        if np.ptp(d) <= _rounding(base, cand):
            return _without_variation(base, cand, n_clusters, n_clusters, kind, confidence)
        return Undetermined("every cluster differs by the same amount", n_clusters, delta)
    # In units of the largest difference nothing under- or overflows.
    scale = float(np.abs(d).max())
    variance = float(((pulls_G / scale) ** 2).sum()) / n**2 * n_clusters / (n_clusters - 1.0)
    se = scale * math.sqrt(variance)
    df = float(n_clusters - 1)
    half = critical_value(confidence, df) * se
    lower, upper, by = delta - half, delta + half, "clustered t"
    interval_method: IntervalMethod = "t"
    if _FEWEST_CLUSTERS_TO_RESAMPLE <= n_clusters < _FEW_CLUSTERS:
        ends = bca_interval(sums_G / scale, sizes_G, confidence, seed)
        lower, upper = (scale * end for end in ends)
        interval_method, by = "BCa", "cluster BCa bootstrap"
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
    )
