"""Rank tests on counts by ordered level: does one group tend to higher levels than the rest?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

__all__ = ["rank_enrichment"]

Doubles = NDArray[np.float64]


def rank_enrichment(levels_CH: ArrayLike) -> tuple[Doubles, Doubles]:
    """Compare each of C groups with all others together; returns (auroc_C, p_C).

    `levels_CH`: units by group and level, lowest level first.  AUROC counts ties half; p is the
    one-sided Mann–Whitney p for "this group is higher", normal approximation with tie and
    continuity correction.  A group that is empty or everything has AUROC ½ and p 1.
    """
    counts_CH = np.asarray(levels_CH, dtype=np.float64)
    total_H = counts_CH.sum(axis=0)
    rest_CH = total_H - counts_CH
    n_C, m_C = counts_CH.sum(axis=1), rest_CH.sum(axis=1)
    below_CH = np.cumsum(rest_CH, axis=1) - rest_CH
    u_C = (counts_CH * (below_CH + 0.5 * rest_CH)).sum(axis=1)
    n = float(total_H.sum())
    ties = float((total_H**3 - total_H).sum()) / (n * (n - 1.0)) if n > 1 else 0.0
    variance_C = n_C * m_C / 12.0 * max(n + 1.0 - ties, 0.0)
    usable_C = variance_C > 0
    pairs_C = np.where(usable_C, n_C * m_C, 1.0)
    auroc_C = np.where(usable_C, u_C / pairs_C, 0.5)
    spread_C = np.sqrt(np.where(usable_C, variance_C, 1.0))
    z_C = (u_C - 0.5 * n_C * m_C - 0.5) / spread_C
    return auroc_C, np.where(usable_C, ndtr(-z_C), 1.0)
