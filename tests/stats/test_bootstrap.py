from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.bootstrap import bca_interval, sign_flip_p


def test_bca_against_scipy() -> None:
    data = np.random.default_rng(0).exponential(size=120)
    own = bca_interval(data, seed=1, n_resamples=20_000, expand=False)
    oracle = stats.bootstrap(
        (data,), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert own == pytest.approx((oracle.low, oracle.high), abs=0.01)


def test_bca_of_a_ratio_against_scipy() -> None:
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 9, size=60).astype(float)
    sums = sizes * rng.normal(1.0, 0.5, size=60)
    oracle = stats.bootstrap(
        (sums, sizes),
        lambda a, b, axis: a.sum(axis) / b.sum(axis),
        paired=True,
        method="BCa",
        n_resamples=20_000,
        rng=np.random.default_rng(4),
    ).confidence_interval
    own = bca_interval(sums, sizes, seed=5, n_resamples=20_000, expand=False)
    assert own == pytest.approx((oracle.low, oracle.high), abs=0.01)


def test_bca_is_seeded_and_expansion_widens() -> None:
    data = np.random.default_rng(6).normal(size=15)
    assert bca_interval(data, seed=7) == bca_interval(data, seed=7)
    narrow, wide = bca_interval(data, seed=7, expand=False), bca_interval(data, seed=7)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_bca_refuses_what_it_cannot_resample() -> None:
    with pytest.raises(UsageError, match="does not vary"):
        bca_interval([2.0, 2.0, 2.0])
    with pytest.raises(UsageError, match="at least 2"):
        bca_interval([1.0])
    with pytest.raises(UsageError, match="positive denominator"):
        bca_interval([1.0, 2.0], [1.0, 0.0])


def test_sign_flip_is_exact_for_few_items() -> None:
    d = np.array([0.3, -0.1, 0.8, 0.25, 0.0, 1.1])
    sums = [np.dot(signs, d) for signs in itertools.product([-1, 1], repeat=6)]
    expected = np.mean([abs(s) >= abs(d.sum()) - 1e-12 for s in sums])
    assert sign_flip_p(d) == pytest.approx(expected)
    assert sign_flip_p(np.ones(10)) == pytest.approx(2 / 2**10)
    assert sign_flip_p([]) == sign_flip_p([0.0, 0.0]) == 1.0


def test_sampled_sign_flip_against_scipy() -> None:
    d = np.random.default_rng(8).normal(0.25, 1.0, size=60)
    oracle = stats.permutation_test(
        (d,),
        lambda x, axis: x.mean(axis),
        permutation_type="samples",
        n_resamples=9_999,
        rng=np.random.default_rng(9),
    ).pvalue
    assert sign_flip_p(d, seed=10) == pytest.approx(oracle, abs=0.012)
    assert sign_flip_p(d, seed=10) == sign_flip_p(d, seed=10)
    assert sign_flip_p(-d, seed=10) == pytest.approx(sign_flip_p(d, seed=10))


def test_sampled_sign_flip_never_reaches_zero() -> None:
    assert sign_flip_p(np.arange(1.0, 101.0), n_flips=999) == pytest.approx(1 / 1000)
