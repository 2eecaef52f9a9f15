from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.counts import (
    RatioInterval,
    fisher_p,
    newcombe_difference,
    score_ratio_interval,
    share_shift,
    wilson_interval,
)
from modeldiff_harness.stats.estimates import Undetermined

TABLES = [(1, 112, 2, 89), (18, 112, 19, 89), (4, 112, 1, 89), (30, 40, 10, 90), (6, 7, 3, 9)]


@pytest.mark.parametrize(
    ("table", "ratio", "lower", "upper"),
    [
        ((1, 112, 2, 89), 151.7, -67, 1811),
        ((18, 112, 19, 89), 32.8, -25, 136),
        ((4, 112, 1, 89), -68.5, -95, 105),
    ],
)
def test_published_ratios_of_counts(
    table: tuple[int, int, int, int], ratio: float, lower: float, upper: float
) -> None:
    interval = score_ratio_interval(*table)
    assert interval.ratio is not None
    assert interval.upper is not None
    assert 100 * (interval.ratio - 1) == pytest.approx(ratio, abs=0.05)
    assert 100 * (interval.lower - 1) == pytest.approx(lower, abs=0.5)
    assert 100 * (interval.upper - 1) == pytest.approx(upper, abs=0.5)


@pytest.mark.parametrize("table", TABLES)
def test_ratio_interval_against_statsmodels(table: tuple[int, int, int, int]) -> None:
    n_b, total_b, n_c, total_c = table
    interval = score_ratio_interval(*table, 0.9)
    oracle = confint_proportions_2indep(
        n_c,
        total_c,
        n_b,
        total_b,
        compare="ratio",
        method="score",
        alpha=0.1,
        correction=True,
    )
    assert (interval.lower, interval.upper) == pytest.approx(oracle, rel=1e-4)


def test_ratio_interval_at_the_edge_by_numerical_likelihood() -> None:
    n_b, total_b, n_c, total_c = 7, 7, 3, 9
    interval = score_ratio_interval(n_b, total_b, n_c, total_c, 0.9)
    assert interval.upper is not None
    for ratio in (interval.lower, interval.upper):

        def negative_log_likelihood(p: float, ratio: float = ratio) -> float:
            return -stats.binom.logpmf(n_b, total_b, p) - stats.binom.logpmf(
                n_c, total_c, ratio * p
            )

        p = optimize.minimize_scalar(
            negative_log_likelihood, bounds=(1e-9, 1.0), method="bounded", options={"xatol": 1e-10}
        ).x
        gap = n_c / total_c - ratio * n_b / total_b
        variance = ratio * p * (1 - ratio * p) / total_c + ratio**2 * p * (1 - p) / total_b
        total = total_b + total_c
        excess = gap**2 / (variance * total / (total - 1))
        assert excess == pytest.approx(stats.norm.ppf(0.95) ** 2, rel=1e-3)


@pytest.mark.parametrize("table", TABLES)
def test_wilson_and_newcombe_against_statsmodels(table: tuple[int, int, int, int]) -> None:
    n_b, total_b, n_c, total_c = table
    oracle = proportion_confint(n_b, total_b, method="wilson")
    assert wilson_interval(n_b, total_b) == pytest.approx(oracle)
    difference = newcombe_difference(*table)
    newcombe = confint_proportions_2indep(n_c, total_c, n_b, total_b, method="newcomb")
    assert (difference.lower, difference.upper) == pytest.approx(newcombe)
    assert difference.estimate == pytest.approx(n_c / total_c - n_b / total_b)


def test_zero_counts_leave_an_open_end() -> None:
    none_before = score_ratio_interval(0, 50, 10, 50)
    assert none_before.ratio is None
    assert none_before.upper is None
    assert none_before.lower > 1
    none_after = score_ratio_interval(10, 50, 0, 50)
    assert none_after.ratio == 0
    assert none_after.lower == 0
    assert none_after.upper is not None
    assert none_after.upper < 1
    with pytest.raises(UsageError, match="two zero counts"):
        score_ratio_interval(0, 50, 0, 50)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_swap_inverts_ratios_and_negates_differences(data: st.DataObject) -> None:
    total_b, total_c = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 200))
    n_b, n_c = data.draw(st.integers(1, total_b)), data.draw(st.integers(1, total_c))
    forward = score_ratio_interval(n_b, total_b, n_c, total_c)
    backward = score_ratio_interval(n_c, total_c, n_b, total_b)
    assert forward.upper is not None
    assert backward.upper is not None
    assert forward.lower == pytest.approx(1 / backward.upper, rel=1e-6)
    assert forward.upper == pytest.approx(1 / backward.lower, rel=1e-6)
    assert forward.ratio is not None
    assert forward.lower <= forward.ratio <= forward.upper
    difference = newcombe_difference(n_b, total_b, n_c, total_c)
    swapped = newcombe_difference(n_c, total_c, n_b, total_b)
    assert (swapped.estimate, swapped.lower) == pytest.approx(
        (-difference.estimate, -difference.upper), abs=1e-12
    )


def test_small_counts_suppress_the_ratio_and_keep_the_difference() -> None:
    shift = share_shift(4, 112, 1, 89)
    assert isinstance(shift.ratio, Undetermined)
    assert shift.ratio.reason == "too few"
    assert shift.difference.lower < 0 < shift.difference.upper
    large = share_shift(18, 112, 19, 89)
    assert isinstance(large.ratio, RatioInterval)
    oracle = stats.fisher_exact([[19, 70], [18, 94]]).pvalue
    assert large.p_value == pytest.approx(oracle) == fisher_p(18, 112, 19, 89)
    assert isinstance(share_shift(5, 112, 4, 89).ratio, Undetermined)
    assert isinstance(share_shift(5, 112, 5, 89).ratio, RatioInterval)


def test_counts_out_of_range_are_refused() -> None:
    for call in (
        lambda: wilson_interval(3, 0),
        lambda: wilson_interval(5, 4),
        lambda: newcombe_difference(-1, 4, 2, 4),
        lambda: share_shift(1, 4, 5, 4),
    ):
        with pytest.raises(UsageError, match="not a share"):
            call()
