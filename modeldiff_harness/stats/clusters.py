"""Cluster labels become indices; values become sums within clusters."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import Floats, Ints

_MOST_CLUSTERS_AS_ONE = 400

ClusterLabels = Sequence[Hashable] | npt.NDArray[np.generic]


def cluster_index(clusters: ClusterLabels | None, n: int) -> tuple[Ints, int]:
    """Number clusters from 0: (index_N, number of clusters).

    `None` makes every unit its own cluster. Raises `UsageError` when the lengths differ.
    """
    if clusters is None:
        return np.arange(n, dtype=np.int64), n
    if len(clusters) != n:
        raise UsageError(f"{len(clusters)} cluster labels for {n} rows; give one label a row")
    if isinstance(clusters, np.ndarray):
        if np.issubdtype(clusters.dtype, np.integer):
            present, index = np.unique(clusters, return_inverse=True)
            return index.astype(np.int64), len(present)
        clusters = clusters.tolist()
    numbers = {label: number for number, label in enumerate(dict.fromkeys(clusters))}
    return np.fromiter(map(numbers.__getitem__, clusters), np.int64, n), len(numbers)


def sum_within(values: Floats, index: Ints, n_clusters: int) -> Floats:
    """Sums of values (N,) or (N, K) within clusters: (C,) or (C, K)."""
    if n_clusters == 1:
        total: Floats = values.sum(axis=0, keepdims=True)
        return total
    if values.ndim == 1:
        sums = np.bincount(index, weights=values, minlength=n_clusters)
        return np.asarray(sums, dtype=np.float64)
    columns = [np.bincount(index, weights=column, minlength=n_clusters) for column in values.T]
    return np.stack(columns, axis=1) if columns else np.zeros((n_clusters, 0))


def clustered_covariance(influence_CP: Floats) -> Floats:
    """Covariance (P, P) of estimates from cluster sums of influence functions (C, P).

    Σ_c u_c u_cᵀ x C/(C-1) (Liang and Zeger 1986). Raises `UsageError` with fewer than 2 clusters.
    """
    n_clusters = influence_CP.shape[0]
    if n_clusters < 2:
        raise UsageError(f"{n_clusters} cluster; a clustered variance needs at least 2")
    covariance: Floats = influence_CP.T @ influence_CP * (n_clusters / (n_clusters - 1.0))
    return covariance


def clustered_mean_variance(pulls_G: Floats, sizes_G: Floats) -> float:
    """Variance of a mean over items in clusters, CR2 (Bell and McCaffrey 2002).

    `pulls_G`: sums within clusters of the items' deviations from the mean.  Each is divided by
    √(1 - n_g/n), what the mean takes from it; with clusters of one size that is the factor G/(G-1).
    """
    share_G = sizes_G / sizes_G.sum()
    return float((pulls_G**2 / (1.0 - share_G)).sum()) / float(sizes_G.sum()) ** 2


def clustered_mean_df(sizes_G: Floats) -> float:
    """Satterthwaite degrees of freedom of `clustered_mean_variance`: G - 1 for equal sizes.

    The smaller of those for independent items and for clusters that move as one, between which the
    truth lies (the latter up to 400 clusters; with more they no longer matter).
    """
    share_G = sizes_G / sizes_G.sum()
    leverage_G = share_G**2 / (1.0 - share_G)
    spread = float((share_G**2).sum() + leverage_G.sum() ** 2 - (leverage_G**2).sum())
    df = 1.0 / spread
    if len(share_G) <= _MOST_CLUSTERS_AS_ONE:
        pull_GG = (np.diag(share_G) - np.outer(share_G, share_G)) / np.sqrt(1.0 - share_G)
        product_GG = pull_GG.T @ pull_GG
        df = min(df, float(np.trace(product_GG) ** 2 / (product_GG**2).sum()))
    return df
