"""The paired difference of two models on the same items."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from modeldiff_harness.errors import UsageError, did_you_mean
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
    PairedCounts,
    bonett_price_interval,
    discordance_variance,
    mcnemar_exact_p,
    mcnemar_mid_p,
)

Kind = Literal["auto", "binary", "bounded", "continuous"]

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
    kind: Kind = "auto",
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedEstimate | Undetermined:
    """Mean difference candidate - baseline over aligned items, with its interval and p.

    `baseline`, `candidate`: (N,) values of the same items in the same order. `clusters`: (N,)
    labels of items that share a document; labels that never repeat count as none. `kind`: binary
    (every value 0 or 1), bounded (every value in [0, 1]), continuous, or auto, which takes the
    narrowest of these that fits. Returns `Undetermined` for no items, or when the data hold no
    variance to learn from. Raises `UsageError` for lengths that differ, values that are not
    finite or do not fit `kind`.
    """
    check_confidence(confidence)
    base, cand = as_finite_vector(baseline, "baseline"), as_finite_vector(candidate, "candidate")
    if len(base) != len(cand):
        raise UsageError(
            f"{len(base)} baseline values and {len(cand)} candidate values;"
            " align the items before comparing"
        )
    resolved = _resolve_kind(base, cand, kind)
    n = len(base)
    if clusters is not None:
        index, n_clusters = cluster_index(clusters, n)
        if 0 < n_clusters < n:
            return _clustered(base, cand, index, n_clusters, resolved, confidence, seed)
    if n == 0:
        return Undetermined("no items in common", 0)
    if resolved == "binary":
        return paired_binary(_table(base, cand), confidence)
    return _continuous(base, cand, resolved, confidence, seed)


def paired_binary(counts: PairedCounts, confidence: float = 0.95) -> PairedEstimate | Undetermined:
    """The difference of two accuracies on the same items, from the 2x2 table alone.

    Wald SE √(w/n), Bonett-Price interval, mid-p McNemar with the exact p beside it. When no item
    (or every item, all one way) is discordant the Wald SE is zero and the adjusted SE stands in
    for it, flagged `adjusted_se`.
    """
    n = counts.n
    if n == 0:
        return Undetermined("no items in common", 0)
    delta = (counts.fixed - counts.broken) / n
    se = math.sqrt(max(0.0, discordance_variance(counts.fixed, counts.broken, n)) / n)
    lower, upper, adjusted_se = bonett_price_interval(counts.fixed, counts.broken, n, confidence)
    flags = ["no_discordant_items"] if counts.fixed + counts.broken == 0 else []
    if se == 0.0:
        flags.append("adjusted_se")
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
        method="Bonett-Price interval, mid-p McNemar",
        confidence=confidence,
        unpaired_se=math.sqrt((base * (1 - base) + cand * (1 - cand)) / n),
        p_exact=mcnemar_exact_p(counts.fixed, counts.broken),
        fixed=counts.fixed,
        broken=counts.broken,
        both_right=counts.both_right,
        both_wrong=counts.both_wrong,
        flags=tuple(flags),
    )


def unpaired_se(baseline: npt.ArrayLike, candidate: npt.ArrayLike) -> float:
    """√(s_b²/n + s_c²/n): what the SE would be had the models answered different items.

    This is the standard error that two separate runs of a harness imply. Raises `UsageError` for
    fewer than 2 items.
    """
    base, cand = as_finite_vector(baseline, "baseline"), as_finite_vector(candidate, "candidate")
    if min(len(base), len(cand)) < 2:
        raise UsageError("an unpaired standard error needs at least 2 items")
    return math.sqrt(base.var(ddof=1) / len(base) + cand.var(ddof=1) / len(cand))


def _resolve_kind(base: Floats, cand: Floats, kind: Kind) -> Kind:
    if kind not in get_args(Kind):
        raise UsageError(f"unknown kind {kind!r}.", hint=did_you_mean(kind, get_args(Kind)))
    both = np.concatenate([base, cand])
    zero_or_one = bool(np.isin(both, (0.0, 1.0)).all())
    unit = bool(((both >= 0.0) & (both <= 1.0)).all())
    if kind == "binary" and not zero_or_one:
        raise UsageError("kind is binary but some values are neither 0 nor 1; use bounded")
    if kind == "bounded" and not unit:
        raise UsageError("kind is bounded but some values lie outside [0, 1]; use continuous")
    if kind != "auto":
        return kind
    return "binary" if zero_or_one else "bounded" if unit else "continuous"


def _table(base: Floats, cand: Floats) -> PairedCounts:
    cells = np.bincount((2 * base + cand).astype(np.int64), minlength=4)
    return PairedCounts(
        both_right=int(cells[3]),
        both_wrong=int(cells[0]),
        fixed=int(cells[1]),
        broken=int(cells[2]),
    )


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
        method=f"{'BCa bootstrap' if by_bootstrap else 'paired t'} interval, sign-flip permutation",
        confidence=confidence,
        df=float(n - 1),
        unpaired_se=unpaired_se(base, cand),
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
    binary = {}
    if kind == "binary":
        table = _table(base, cand)
        binary = {"both_right": table.both_right, "both_wrong": table.both_wrong}
        binary |= {"fixed": 0, "broken": 0}
    return PairedEstimate(
        n=len(base),
        baseline=float(base.mean()),
        candidate=float(cand.mean()),
        delta=0.0,
        se=se,
        lower=lower,
        upper=upper,
        p_value=1.0,
        method="Bonett-Price bound, no unit moved",
        confidence=confidence,
        n_clusters=n_clusters,
        flags=("no_discordant_items", "adjusted_se"),
        **binary,
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
    if _FEWEST_CLUSTERS_TO_RESAMPLE <= n_clusters < _FEW_CLUSTERS:
        ends = bca_interval(sums_G / scale, sizes_G, confidence, seed)
        lower, upper = (scale * end for end in ends)
        by = "cluster BCa bootstrap"
    table = _table(base, cand) if kind == "binary" else None
    return PairedEstimate(
        n=n,
        baseline=float(base.mean()),
        candidate=float(cand.mean()),
        delta=delta,
        se=se,
        lower=lower,
        upper=upper,
        p_value=two_sided_p(delta, se, df),
        method=f"{by} interval, clustered t test",
        confidence=confidence,
        df=df,
        n_clusters=n_clusters,
        unpaired_se=unpaired_se(base, cand),
        fixed=table.fixed if table else None,
        broken=table.broken if table else None,
        both_right=table.both_right if table else None,
        both_wrong=table.both_wrong if table else None,
        flags=("few_clusters",) if n_clusters < _FEW_CLUSTERS else (),
    )
