from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.label_nulls import (
    permute_owner_labels,
    shrunken_shares,
    sign_stability,
)

BASE, CAND = np.array([12, 30, 5, 65]), np.array([25, 20, 4, 40])


def test_each_category_is_hypergeometric_under_the_null() -> None:
    result = permute_owner_labels(BASE, CAND, n_permutations=20_000)
    pooled, n_c, n_b = BASE + CAND, CAND.sum(), BASE.sum()
    for k in range(4):
        counts = np.arange(pooled[k] + 1)
        gaps = np.abs(counts / n_c - (pooled[k] - counts) / n_b)
        mass = stats.hypergeom.pmf(counts, n_c + n_b, pooled[k], n_c)
        exact = mass[gaps >= abs(result.difference_K[k]) - 1e-12].sum()
        assert result.p_K[k] == pytest.approx(exact, abs=0.012)
        assert result.lower_K[k] < 0 < result.upper_K[k]
    assert result.p_largest >= result.p_K.min()


def test_equal_shares_are_unremarkable_and_swaps_negate() -> None:
    same = permute_owner_labels(BASE, 2 * BASE)
    np.testing.assert_allclose(same.difference_K, 0, atol=1e-12)
    np.testing.assert_array_equal(same.p_K, 1.0)
    forward, backward = permute_owner_labels(BASE, CAND), permute_owner_labels(CAND, BASE)
    np.testing.assert_allclose(backward.difference_K, -forward.difference_K)


def test_shrunken_shares_are_beta_and_lie_between_own_and_pooled() -> None:
    result = shrunken_shares(BASE, CAND, prior_strength=10)
    pooled = (BASE + CAND + 0.5) / (BASE + CAND + 0.5).sum()
    alpha = CAND + 10 * pooled
    beta = stats.beta(alpha, alpha.sum() - alpha)
    np.testing.assert_allclose(result.share_MK[1], beta.mean())
    np.testing.assert_allclose(result.lower_MK[1], beta.ppf(0.025))
    np.testing.assert_allclose(result.upper_MK[1], beta.ppf(0.975))
    own = CAND / CAND.sum()
    low, high = np.minimum(own, pooled), np.maximum(own, pooled)
    assert ((result.share_MK[1] >= low) & (result.share_MK[1] <= high)).all()
    np.testing.assert_allclose(result.share_MK.sum(axis=1), 1)
    assert (result.difference_lower_K < result.difference_K).all()
    assert (result.difference_K < result.difference_upper_K).all()


def test_a_stronger_prior_moves_the_models_together() -> None:
    gaps = [np.abs(shrunken_shares(BASE, CAND, s).difference_K).max() for s in (1.0, 20.0, 1e6)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] == pytest.approx(0, abs=1e-3)


def test_sign_stability() -> None:
    seeds = np.array([[1.0, -1.0, 0.0], [2.0, 1.0, 0.0], [0.5, -3.0, 1.0]])
    np.testing.assert_allclose(sign_stability(seeds), [1, 2 / 3, 1 / 3])
    with pytest.raises(UsageError, match="3 seeds"):
        sign_stability(seeds[:2])


def test_bad_counts_are_refused() -> None:
    with pytest.raises(UsageError, match="categories"):
        permute_owner_labels([1, 2], [1, 2, 3])
    with pytest.raises(UsageError, match="each model needs"):
        permute_owner_labels([0, 0], [1, 2])
    with pytest.raises(UsageError, match="positive"):
        shrunken_shares([1], [1], prior_strength=0)
