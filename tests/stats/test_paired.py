from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from modeldiff_harness.artifacts import PairedCounts
from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import PairedEstimate, Undetermined
from modeldiff_harness.stats.paired import paired_binary, paired_difference
from modeldiff_harness.stats.paired_binary import (
    bonett_price_interval,
    mcnemar_exact_p,
    mcnemar_mid_p,
)


def determined(result: PairedEstimate | Undetermined) -> PairedEstimate:
    assert isinstance(result, PairedEstimate)
    return result


def items_of(counts: PairedCounts) -> tuple[np.ndarray, np.ndarray]:
    cells = [
        (1, 1, counts.both_right),
        (0, 0, counts.both_wrong),
        (0, 1, counts.fixed),
        (1, 0, counts.broken),
    ]
    base = np.concatenate([np.full(n, b) for b, _, n in cells])
    cand = np.concatenate([np.full(n, c) for _, c, n in cells])
    return base.astype(float), cand.astype(float)


def test_check_values_of_a_large_benchmark() -> None:
    # 1,319 items, 155 lost and 73 gained; accuracies near 0.66 give the unpaired figure.
    counts = PairedCounts(both_right=757, both_wrong=334, fixed=73, broken=155)
    base, cand = items_of(counts)
    result = determined(paired_difference(base, cand))
    assert result.n == 1319
    assert result.counts == counts
    assert 100 * result.delta == pytest.approx(-6.2, abs=0.05)
    assert 100 * result.se == pytest.approx(1.13, abs=0.005)
    assert result.unpaired_se is not None
    assert 100 * result.unpaired_se == pytest.approx(1.84, abs=0.01)
    assert result.upper < 0
    assert result.p_value < 1e-6


@pytest.mark.parametrize(("fixed", "broken"), [(0, 1), (3, 9), (9, 3), (5, 5), (40, 61), (0, 0)])
def test_mcnemar_against_statsmodels_and_binomial(fixed: int, broken: int) -> None:
    oracle = mcnemar([[0, fixed], [broken, 0]], exact=True).pvalue if fixed + broken else 1.0
    assert mcnemar_exact_p(fixed, broken) == pytest.approx(min(1.0, oracle))
    total = fixed + broken
    outcomes = stats.binom.pmf(np.arange(total + 1), total, 0.5)
    distance = np.abs(np.arange(total + 1) - total / 2)
    seen = abs(fixed - total / 2)
    mid = outcomes[distance > seen].sum() + 0.5 * outcomes[distance == seen].sum()
    # At equality the two-sided mid-p is 1 by convention.
    assert mcnemar_mid_p(fixed, broken) == pytest.approx(1.0 if fixed == broken else mid)


@pytest.mark.parametrize(("p01", "p10"), [(0.05, 0.05), (0.02, 0.15), (0.3, 0.1), (0.01, 0.01)])
def test_bonett_price_covers_by_enumeration(p01: float, p10: float) -> None:
    n, covered = 40, 0.0
    for fixed, broken in itertools.product(range(n + 1), repeat=2):
        if fixed + broken <= n:
            lower, upper, _ = bonett_price_interval(fixed, broken, n)
            inside = lower <= p01 - p10 <= upper
            cells = [fixed, broken, n - fixed - broken]
            covered += inside * stats.multinomial.pmf(cells, n, [p01, p10, 1 - p01 - p10])
    assert covered >= 0.93


@pytest.mark.parametrize("n", [1, 5, 200])
def test_without_discordant_items_the_interval_keeps_a_width(n: int) -> None:
    result = determined(paired_difference(np.ones(n), np.ones(n)))
    assert result.delta == 0
    assert result.p_value == 1
    assert result.lower < 0 < result.upper
    assert result.se > 0


def test_every_item_broken_keeps_a_width() -> None:
    result = determined(paired_difference(np.ones(10), np.zeros(10)))
    assert result.delta == -1
    assert result.lower == -1
    assert result.upper > -1
    assert result.se > 0


def test_no_items_and_no_variance_are_undetermined() -> None:
    empty = paired_difference([], [])
    assert isinstance(empty, Undetermined)
    assert empty.n == 0
    assert isinstance(paired_binary(PairedCounts(0, 0, 0, 0)), Undetermined)
    one = paired_difference([3.0], [5.0])
    assert isinstance(one, Undetermined)
    assert one.delta == 2.0
    constant = paired_difference([1.0, 2.0, 3.0], [3.0, 4.0, 5.0])
    assert isinstance(constant, Undetermined)
    assert constant.delta == 2.0
    same = paired_difference([0.25, 0.5], [0.25, 0.5])
    assert determined(same).lower < 0  # bounded scores that never moved still have a bound
    one_cluster = paired_difference([1.0, 0.0], [0.0, 0.0], clusters=["a", "a"])
    assert isinstance(one_cluster, Undetermined)
    assert one_cluster.delta == -0.5


def test_large_continuous_is_the_paired_t_interval() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(size=500)
    cand = base + rng.normal(0.1, 1.0, size=500)
    result = determined(paired_difference(base, cand))
    oracle = stats.ttest_rel(cand, base)
    interval = oracle.confidence_interval(0.95)
    assert (result.lower, result.upper) == pytest.approx((interval.low, interval.high))
    assert result.delta / result.se == pytest.approx(oracle.statistic)
    assert result.p_value == pytest.approx(oracle.pvalue, abs=0.01)  # permutation beside t
    assert result.method.startswith("paired t")
    assert (result.interval_method, result.df) == ("t", 499)


def test_small_or_skewed_continuous_uses_the_bootstrap() -> None:
    rng = np.random.default_rng(2)
    small = determined(paired_difference(np.zeros(50), rng.normal(size=50)))
    skewed = determined(paired_difference(np.zeros(300), rng.lognormal(0, 2, size=300)))
    assert small.method.startswith("BCa")
    assert skewed.method.startswith("BCa")
    assert small.interval_method == skewed.interval_method == "BCa"
    # A skewed interval reaches further on the side of its tail.
    assert skewed.upper - skewed.delta > skewed.delta - skewed.lower


def test_clustered_standard_error_by_hand_and_t_interval() -> None:
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(60), rng.integers(1, 6, size=60))
    base = rng.normal(size=len(cluster))
    cand = base + rng.normal(size=60)[cluster] + 0.2 * rng.normal(size=len(cluster))
    result = determined(paired_difference(base, cand, clusters=cluster))
    d = cand - base
    pulls = [(d[cluster == g] - d.mean()).sum() for g in range(60)]
    se = math.sqrt(sum(pull**2 for pull in pulls) / len(d) ** 2 * 60 / 59)
    assert result.se == pytest.approx(se)
    assert result.df == 59
    assert result.n_clusters == 60
    half = stats.t.ppf(0.975, 59) * se
    assert (result.lower, result.upper) == pytest.approx((d.mean() - half, d.mean() + half))
    assert result.p_value == pytest.approx(2 * stats.t.sf(abs(d.mean()) / se, 59))


def test_clustered_standard_error_against_statsmodels() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(4)
    cluster = rng.integers(0, 50, size=400)
    d = rng.normal(size=400) + rng.normal(size=50)[cluster]
    groups = {"groups": cluster, "use_correction": True}
    oracle = sm.OLS(d, np.ones(400)).fit(cov_type="cluster", cov_kwds=groups)
    # statsmodels multiplies by (n-1)/(n-1) for an intercept alone, so the factors agree.
    result = determined(paired_difference(np.zeros(400), d, clusters=cluster))
    assert result.se == pytest.approx(float(oracle.bse[0]))


def test_few_clusters_use_the_cluster_bootstrap() -> None:
    rng = np.random.default_rng(5)
    cluster = np.repeat(np.arange(20), 5)
    right = (rng.random(100) < 0.6).astype(float)
    right_now = (rng.random(100) < 0.5).astype(float)
    result = determined(paired_difference(right, right_now, clusters=cluster))
    assert result.method.startswith("cluster BCa")
    assert result.counts is not None
    assert (result.counts.fixed - result.counts.broken) / 100 == pytest.approx(result.delta)


def test_clusters_of_one_item_change_nothing() -> None:
    rng = np.random.default_rng(6)
    base, cand = rng.normal(size=(2, 80))
    alone = paired_difference(base, cand)
    assert paired_difference(base, cand, clusters=[f"d{i}" for i in range(80)]) == alone


def test_repeated_items_do_not_buy_precision() -> None:
    rng = np.random.default_rng(7)
    base, cand = (rng.random((2, 300)) < 0.5).astype(float)
    once = determined(paired_difference(base, cand))
    labels = np.tile(np.arange(300), 4)
    again = determined(paired_difference(np.tile(base, 4), np.tile(cand, 4), clusters=labels))
    assert again.n == 1200
    assert again.se == pytest.approx(once.se * math.sqrt(300 / 299))


@pytest.mark.parametrize("clustered", [False, True])
def test_continuous_coverage(clustered: bool) -> None:
    rng = np.random.default_rng(8)
    hits, runs = 0, 250
    for seed in range(runs):
        if clustered:
            cluster = np.repeat(np.arange(25), 4)
            d = rng.normal(size=25)[cluster] + rng.normal(size=100)
        else:
            cluster, d = None, rng.normal(size=25)
        result = determined(paired_difference(np.zeros(len(d)), d, clusters=cluster, seed=seed))
        hits += result.lower <= 0 <= result.upper
    assert 0.925 <= hits / runs <= 0.975


binary_items = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])))
bounded_items = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=12)


@settings(deadline=None, max_examples=60)
@given(items=binary_items)
def test_swap_negates_binary(items: list[tuple[float, float]]) -> None:
    base, cand = np.array(items).reshape(-1, 2).T
    forward, backward = paired_difference(base, cand), paired_difference(cand, base)
    if isinstance(forward, Undetermined):
        assert isinstance(backward, Undetermined)
        return
    back = determined(backward)
    assert back.delta == -forward.delta
    assert (back.lower, back.upper) == pytest.approx((-forward.upper, -forward.lower))
    assert forward.counts is not None
    assert back.counts == replace(
        forward.counts, fixed=forward.counts.broken, broken=forward.counts.fixed
    )
    assert back.p_value == forward.p_value
    assert back.se == pytest.approx(forward.se)
    assert -1 <= forward.lower <= forward.upper <= 1
    assert 0 < forward.p_value <= 1


@settings(deadline=None, max_examples=40)
@given(items=bounded_items)
def test_nothing_is_ever_nan(items: list[tuple[float, float]]) -> None:
    base, cand = np.array(items).reshape(-1, 2).T
    result = paired_difference(base, cand)
    if isinstance(result, PairedEstimate):
        numbers = [result.delta, result.se, result.lower, result.upper, result.p_value]
        assert np.isfinite(numbers).all()
        assert result.lower <= result.upper
        assert 0 < result.p_value <= 1


@pytest.mark.parametrize("scale", [1e-200, 1e-9, 1.0, 1e100])
@pytest.mark.parametrize("clusters", [None, np.arange(60) // 2])
def test_the_unit_of_a_metric_does_not_matter(scale: float, clusters: np.ndarray | None) -> None:
    base, cand = np.random.default_rng(9).normal(size=(2, 60))
    plain = determined(paired_difference(base, cand, clusters))
    scaled = determined(paired_difference(scale * base, scale * cand, clusters))
    assert scaled.p_value == pytest.approx(plain.p_value)
    for name in ("delta", "se", "lower", "upper"):
        assert getattr(scaled, name) / scale == pytest.approx(getattr(plain, name), rel=1e-6)


def test_rounding_is_not_a_difference() -> None:
    base = np.array([0.1, 0.2, 0.7, 0.3])
    result = determined(paired_difference(base, base + np.array([0.0, 1e-17, 1e-16, 0.0])))
    assert result.delta == 0
    shifted = paired_difference(base, (base * 3 + 0.3) / 3)
    assert isinstance(shifted, Undetermined)
    assert shifted.delta == pytest.approx(0.1)


def test_bad_input_says_what_is_wrong() -> None:
    with pytest.raises(UsageError, match="align"):
        paired_difference([1.0], [1.0, 0.0])
    with pytest.raises(UsageError, match=r"candidate\[1\] is not finite"):
        paired_difference([1.0, 0.0], [1.0, math.nan])
    with pytest.raises(UsageError, match="cluster labels"):
        paired_difference([1.0, 0.0], [1.0, 1.0], clusters=["a"])
    with pytest.raises(UsageError, match="confidence"):
        paired_difference([1.0], [1.0], confidence=95)
