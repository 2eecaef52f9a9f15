"""Bounds that hold however rare the losses: closed forms, and simulation with known truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.bounded_mean import bounded_mean_bounds, paired_share_bounds
from modeldiff_harness.stats.paired_binary import (
    bonett_price_interval,
    guarded_interval,
    pseudo_count_interval,
)


@pytest.mark.parametrize(("broken", "n"), [(0, 50), (1, 50), (3, 200), (12, 600), (50, 50)])
def test_pure_losses_are_clopper_and_pearsons(broken: int, n: int) -> None:
    want = stats.binomtest(broken, n).proportion_ci(0.90, method="exact").high
    assert paired_share_bounds(0, broken, n, 0.90)[0] == pytest.approx(-want, abs=1e-7)
    assert paired_share_bounds(broken, 0, n, 0.90)[1] == pytest.approx(want, abs=1e-7)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 300), data=st.data())
def test_swapped_sides_negate_the_bounds(n: int, data: st.DataObject) -> None:
    fixed = data.draw(st.integers(0, n))
    broken = data.draw(st.integers(0, n - fixed))
    lower, upper = paired_share_bounds(fixed, broken, n)
    assert paired_share_bounds(broken, fixed, n) == pytest.approx((-upper, -lower))
    assert -1 <= lower <= (fixed - broken) / n <= upper <= 1


# The chance is summed over all tables, not simulated.
@pytest.mark.parametrize("n", [50, 200, 600])
@pytest.mark.parametrize("margin", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("fixed", [0.0, 0.002, 0.01, 0.03])
def test_a_true_loss_of_the_margin_passes_at_most_six_times_in_a_hundred(
    n: int, margin: float, fixed: float
) -> None:
    p_fixed, p_broken = fixed, fixed + margin
    chance = 0.0
    for up in range(int(stats.binom.ppf(1 - 1e-6, n, p_fixed)) + 1):
        for down in range(int(stats.binom.ppf(0.6, n, p_broken)) + 2):
            if guarded_interval(up, down, n, 0.90)[0] > -margin:
                cells = [p_fixed, p_broken, 1 - p_fixed - p_broken]
                chance += stats.multinomial.pmf([up, down, n - up - down], n, cells)
    assert chance <= 0.06


def test_from_ten_fixed_and_broken_on_the_interval_is_bonett_and_prices() -> None:
    assert guarded_interval(10, 14, 900, 0.90) == bonett_price_interval(10, 14, 900, 0.90)
    assert guarded_interval(9, 14, 900, 0.90)[0] < bonett_price_interval(9, 14, 900, 0.90)[0]


def test_pseudo_counts_of_right_and_wrong_are_bonett_and_prices() -> None:
    want = bonett_price_interval(7, 12, 80)
    assert pseudo_count_interval(-5 / 80, 19 / 80, 80) == pytest.approx(want)


def test_drawn_weights_agree_with_the_closed_form_of_right_and_wrong() -> None:
    values = np.repeat([1.0, -1.0, 0.0], [4, 9, 187])
    want = paired_share_bounds(4, 9, 200, 0.90)
    assert bounded_mean_bounds(values, 1.0, 0.90) == pytest.approx(want, rel=0.03)


@pytest.mark.parametrize("n", [900, 1_500])
def test_many_units_come_to_the_t_interval(n: int) -> None:
    """Beside one unit lost and one won in n."""
    d = np.random.default_rng(0).uniform(-0.3, 0.3, n)
    lower, upper = bounded_mean_bounds(d, 1.0, 0.90)
    want = stats.t.interval(0.90, n - 1, d.mean(), d.std(ddof=1) / np.sqrt(n))
    assert (lower, upper) == pytest.approx(want, abs=4 / n)
    assert lower < want[0]
    assert upper > want[1]


def test_order_and_orientation_do_not_matter() -> None:
    d = np.random.default_rng(1).uniform(-1, 1, 60)
    sizes = np.arange(60) % 3 + 1.0
    lower, upper = bounded_mean_bounds(d, 1.0, 0.95, sizes)
    assert bounded_mean_bounds(d[::-1], 1.0, 0.95, sizes[::-1]) == (lower, upper)
    assert bounded_mean_bounds(-d, 1.0, 0.95, sizes) == pytest.approx((-upper, -lower))


def test_bad_input_says_what_is_wrong() -> None:
    with pytest.raises(UsageError, match="not a table"):
        paired_share_bounds(3, 3, 5)
    with pytest.raises(UsageError, match="at least one unit"):
        bounded_mean_bounds([], 1.0)
    with pytest.raises(UsageError, match="beyond the reach"):
        bounded_mean_bounds([2.0], 1.0)
