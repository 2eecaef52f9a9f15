from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats
from statsmodels.stats.contingency_tables import mcnemar

from modeldiff_harness.artifacts import PairedCounts
from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.clusters import clustered_mean_df
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
    both_ways = paired_difference([0.0, 4.0], [2.0, 6.0], clusters=["a", "a"])
    assert isinstance(both_ways, Undetermined)
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


def test_small_or_skewed_continuous_takes_the_wider_end_of_t_and_bootstrap() -> None:
    rng = np.random.default_rng(2)
    small = determined(paired_difference(np.zeros(50), rng.normal(size=50)))
    skewed = determined(paired_difference(np.zeros(300), rng.lognormal(0, 2, size=300)))
    assert small.interval_method == skewed.interval_method == "BCa"
    for one in (small, skewed):
        half = stats.t.ppf(0.975, one.n - 1) * one.se
        assert one.lower <= one.delta - half
        assert one.upper >= one.delta + half
    # A skewed interval reaches further on the side of its tail.
    assert skewed.upper - skewed.delta > skewed.delta - skewed.lower


@pytest.mark.parametrize("n", [2, 10, 19])
def test_a_bootstrap_of_fewer_than_twenty_items_is_never_taken(n: int) -> None:
    found = determined(paired_difference(np.zeros(n), np.random.default_rng(n).normal(size=n)))
    want = stats.t.interval(0.95, n - 1, loc=found.delta, scale=found.se)
    assert found.interval_method == "t"
    assert (found.lower, found.upper) == pytest.approx(want)


def test_clustered_standard_error_by_hand_and_t_interval() -> None:
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(60), rng.integers(1, 6, size=60))
    base = rng.normal(size=len(cluster))
    cand = base + rng.normal(size=60)[cluster] + 0.2 * rng.normal(size=len(cluster))
    result = determined(paired_difference(base, cand, clusters=cluster))
    d = cand - base
    # CR2 by its definition: the residuals of a cluster times (I - H_gg)^(-1/2).
    n, variance = len(d), 0.0
    for g in range(60):
        mine = cluster == g
        kept = np.eye(mine.sum()) - np.ones((mine.sum(), mine.sum())) / n
        root = np.linalg.inv(linalg.sqrtm(kept).real)
        variance += (root @ (d[mine] - d.mean())).sum() ** 2 / n**2
    assert result.se == pytest.approx(math.sqrt(variance))
    assert result.df is not None
    assert 30 < result.df < 59  # unequal clusters count less than G - 1
    assert result.n_clusters == 60
    half = stats.t.ppf(0.975, result.df) * result.se
    assert (result.lower, result.upper) == pytest.approx((d.mean() - half, d.mean() + half))
    assert result.p_value == pytest.approx(2 * stats.t.sf(abs(d.mean()) / result.se, result.df))


def test_degrees_of_freedom_of_equal_clusters_are_one_less_than_their_number() -> None:
    assert clustered_mean_df(np.full(12, 7.0)) == pytest.approx(11)


def test_degrees_of_freedom_are_satterthwaites_by_definition() -> None:
    """2·E[V]²/Var[V] of the CR2 variance for normal clusters that move as one."""
    sizes = np.array([1.0, 2.0, 5.0, 30.0, 3.0, 3.0])
    rng = np.random.default_rng(0)
    pulls = rng.normal(size=(200_000, 6)) * sizes
    pulls -= sizes * pulls.sum(axis=1, keepdims=True) / sizes.sum()
    found = (pulls**2 / (1 - sizes / sizes.sum())).sum(axis=1)
    want = 2 * found.mean() ** 2 / found.var()
    assert clustered_mean_df(sizes) == pytest.approx(want, rel=0.05)


def test_clustered_standard_error_against_statsmodels() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(4)
    cluster = np.arange(400) % 50  # of one size CR1 and CR2 agree
    d = rng.normal(size=400) + rng.normal(size=50)[cluster]
    groups = {"groups": cluster, "use_correction": True}
    oracle = sm.OLS(d, np.ones(400)).fit(cov_type="cluster", cov_kwds=groups)
    # statsmodels multiplies by (n-1)/(n-1) for an intercept alone, so the factors agree.
    result = determined(paired_difference(np.zeros(400), d, clusters=cluster))
    assert result.se == pytest.approx(float(oracle.bse[0]))


def test_few_clusters_use_t() -> None:
    rng = np.random.default_rng(5)
    cluster = np.repeat(np.arange(20), 5)
    right = (rng.random(100) < 0.6).astype(float)
    right_now = (rng.random(100) < 0.5).astype(float)
    result = determined(paired_difference(right, right_now, clusters=cluster))
    want = stats.t.interval(0.95, 19, loc=result.delta, scale=result.se)
    assert (result.lower, result.upper) == pytest.approx(want)
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
    shifted = determined(paired_difference(base, (base * 3 + 0.3) / 3))
    assert shifted.delta == pytest.approx(0.1)
    assert shifted.p_value == 2 / 2**4  # all four moved alike


def test_bad_input_says_what_is_wrong() -> None:
    with pytest.raises(UsageError, match="align"):
        paired_difference([1.0], [1.0, 0.0])
    with pytest.raises(UsageError, match=r"candidate\[1\] is not finite"):
        paired_difference([1.0, 0.0], [1.0, math.nan])
    with pytest.raises(UsageError, match="cluster labels"):
        paired_difference([1.0, 0.0], [1.0, 1.0], clusters=["a"])
    with pytest.raises(UsageError, match="confidence"):
        paired_difference([1.0], [1.0], confidence=95)


def _moved(n: int, n_moved: int, by: float, start: float) -> tuple[np.ndarray, np.ndarray]:
    base = np.full(n, start)
    return base, base + np.where(np.arange(n) < n_moved, by, 0.0)


# What may not pass a margin of two points, and what must be told of it.
SMALL = {
    "two items of a metric without bounds": ([10.0, 12.0], [10.001, 12.002], None),
    "two items of a bounded metric": ([0.4, 0.6], [0.401, 0.602], None),
    "five items, one moved a little": (*_moved(5, 1, 0.001, 0.5), None),
    "a metric without bounds, one of sixty moved": (*_moved(60, 1, 0.001, 5.0), None),
    "fifty items in ten clusters, one fixed": (*_moved(50, 1, 1.0, 0.0), np.arange(50) // 5),
    "one cluster of ten broken": (*_moved(50, 5, -1.0, 1.0), np.arange(50) // 5),
    "four clusters": (*_moved(400, 200, 0.01, 0.5), np.arange(400) // 100),
    "forty items, all equal": (*_moved(40, 0, 0.0, 1.0), None),
    "forty clusters, all equal": (*_moved(4_000, 0, 0.0, 1.0), np.arange(4_000) // 100),
}


@pytest.mark.parametrize("case", SMALL)
def test_few_units_or_few_differences_bound_nothing_near(case: str) -> None:
    base, cand, clusters = SMALL[case]
    found = determined(paired_difference(base, cand, clusters))
    assert found.not_gateable or (found.guarded is not None and found.guarded.lower < -0.02)
    assert found.lower < found.upper


@pytest.mark.parametrize("clusters", [None, np.arange(200) // 10, np.arange(200) // 2])
@pytest.mark.parametrize("start", [1.0, 0.9])
def test_a_collapse_is_measured(clusters: np.ndarray | None, start: float) -> None:
    """200 of 200 items lost are a loss, with and without a cluster key."""
    found = determined(paired_difference(np.full(200, start), np.zeros(200), clusters))
    n_units = 200 if clusters is None else len(set(clusters))
    assert found.delta == pytest.approx(-start)
    assert found.p_value <= max(2 * 0.5**n_units, 1e-4)
    assert found.lower < found.upper < -0.5


@pytest.mark.parametrize("n", [0, 1, 4, 50])
def test_mid_p_of_as_many_fixed_as_broken_is_one(n: int) -> None:
    """Closed form: 2·P(X < n) + P(X = n) of a binomial(2n, ½) is 1."""
    below, at = stats.binom.cdf(n - 1, 2 * n, 0.5), stats.binom.pmf(n, 2 * n, 0.5)
    assert 2 * below + at == pytest.approx(1)
    assert mcnemar_mid_p(n, n) == 1.0
