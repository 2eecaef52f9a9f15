from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.multiplicity import (
    benjamini_hochberg,
    holm,
    simultaneous_multiplier,
)

p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@settings(deadline=None, max_examples=40)
@given(p=p_lists)
def test_against_statsmodels(p: list[float]) -> None:
    oracle = multipletests(p, method="fdr_bh")[1]
    np.testing.assert_allclose(benjamini_hochberg(p), oracle, atol=1e-300)
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], atol=1e-300)


@settings(deadline=None, max_examples=40)
@given(p=p_lists, data=st.data())
def test_order_does_not_matter(p: list[float], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(p))))
    np.testing.assert_array_equal(
        benjamini_hochberg(p)[order], benjamini_hochberg(np.take(p, order))
    )
    np.testing.assert_array_equal(holm(p)[order], holm(np.take(p, order)))


def test_no_p_values_and_bad_ones() -> None:
    assert len(benjamini_hochberg([])) == len(holm([])) == 0
    with pytest.raises(UsageError, match="between 0 and 1"):
        holm([0.5, 1.5])
    with pytest.raises(UsageError, match="not finite"):
        benjamini_hochberg([0.5, float("nan")])


def test_bonferroni_covers_independent_comparisons_together() -> None:
    draws = np.abs(np.random.default_rng(0).standard_normal((200_000, 10))).max(axis=1)
    together = (draws <= simultaneous_multiplier(10)).mean()
    assert 0.95 <= together <= 0.955


def test_one_comparison_is_the_plain_interval() -> None:
    assert simultaneous_multiplier(1) == pytest.approx(1.959964, abs=1e-6)
    assert simultaneous_multiplier(1, df=10) == pytest.approx(2.228139, abs=1e-6)
    with pytest.raises(UsageError, match="at least one"):
        simultaneous_multiplier(0)
