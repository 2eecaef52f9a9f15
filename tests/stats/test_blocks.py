from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.blocks import block_jackknife_ratio


def test_of_a_mean_it_is_the_t_interval() -> None:
    values = np.random.default_rng(0).normal(size=(30, 4))
    result = block_jackknife_ratio(values, np.ones_like(values))
    np.testing.assert_allclose(result.estimate_L, values.mean(axis=0))
    np.testing.assert_allclose(result.se_L, values.std(axis=0, ddof=1) / np.sqrt(30))
    oracle = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(result.lower_L, oracle.low)
    np.testing.assert_allclose(result.upper_L, oracle.high)


def test_of_a_ratio_it_is_near_the_linearised_error() -> None:
    rng = np.random.default_rng(1)
    bottom = rng.uniform(1, 3, size=(200, 1))
    top = 0.7 * bottom + rng.normal(0, 0.3, size=(200, 1))
    result = block_jackknife_ratio(top, bottom)
    pulls = top - result.estimate_L * bottom
    linear = np.sqrt((pulls**2).sum() * 200 / 199) / bottom.sum()
    assert result.se_L[0] == pytest.approx(linear, rel=0.01)


def test_columns_are_independent_and_one_column_may_be_flat() -> None:
    rng = np.random.default_rng(2)
    top, bottom = rng.uniform(0, 1, (12, 5)), rng.uniform(1, 2, (12, 5))
    whole = block_jackknife_ratio(top, bottom)
    alone = block_jackknife_ratio(top[:, 3], bottom[:, 3])
    assert (alone.estimate_L[0], alone.se_L[0]) == pytest.approx(
        (whole.estimate_L[3], whole.se_L[3])
    )
    shuffled = rng.permutation(12)
    np.testing.assert_allclose(
        block_jackknife_ratio(top[shuffled], bottom[shuffled]).se_L, whole.se_L
    )


def test_coverage_with_unequal_blocks() -> None:
    rng = np.random.default_rng(3)
    sizes = rng.integers(5, 40, size=(20, 1))
    latents = 2_000
    bottom = rng.gamma(sizes * 2.0, 1.0, size=(20, latents))
    top = 0.4 * bottom + rng.normal(size=(20, latents)) * np.sqrt(sizes)
    result = block_jackknife_ratio(top, bottom)
    covered = (result.lower_L <= 0.4) & (result.upper_L >= 0.4)
    assert 0.93 <= covered.mean() <= 0.97


def test_masks_say_what_is_not_known() -> None:
    bottom = np.array([[0.0, 2.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    result = block_jackknife_ratio(bottom / 2, bottom)
    np.testing.assert_array_equal(result.has_estimate_L, [False, True, True])
    np.testing.assert_array_equal(result.has_interval_L, [False, False, True])
    assert result.estimate_L[1] == 0.5
    assert result.se_L[2] == 0
    assert np.isfinite(result.estimate_L[result.has_estimate_L]).all()
    assert np.isfinite(result.lower_L[result.has_interval_L]).all()


def test_bad_sums_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 2"):
        block_jackknife_ratio(np.ones((1, 3)), np.ones((1, 3)))
    with pytest.raises(UsageError, match="do not match"):
        block_jackknife_ratio(np.ones((4, 3)), np.ones((4, 2)))
    with pytest.raises(UsageError, match="NaN"):
        block_jackknife_ratio(np.array([[1.0], [np.nan]]), np.ones((2, 1)))
