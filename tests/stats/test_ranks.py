"""Rank enrichment against scipy's Mann–Whitney."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import mannwhitneyu

from modeldiff_harness.stats.ranks import rank_enrichment


@given(arrays(np.int64, (3, 5), elements=st.integers(0, 6)))
def test_it_is_the_one_sided_mann_whitney_of_each_group(levels):
    auroc, p = rank_enrichment(levels)
    for c in range(3):
        own = np.repeat(np.arange(5), levels[c])
        rest = np.repeat(np.arange(5), levels.sum(axis=0) - levels[c])
        if not len(own) or not len(rest) or len(set(own) | set(rest)) < 2:
            assert auroc[c] == 0.5
            assert p[c] == 1.0
            continue
        oracle = mannwhitneyu(own, rest, alternative="greater", method="asymptotic")
        assert auroc[c] == pytest.approx(oracle.statistic / (len(own) * len(rest)))
        assert p[c] == pytest.approx(oracle.pvalue, abs=1e-12)


def test_a_perfect_group_stands_out():
    auroc, p = rank_enrichment([[0, 0, 20], [20, 0, 0], [15, 5, 0]])
    assert auroc[0] == 1.0
    assert p[0] < 1e-6
    assert p[1] > 0.9
