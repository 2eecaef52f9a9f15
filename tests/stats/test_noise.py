"""The noise floor against closed forms and simulated reruns."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.noise import aggregate_noise, rerun_noise


def test_one_rerun_of_a_binary_metric_is_the_root_of_flips_over_items() -> None:
    first = np.array([1, 1, 0, 0, 1, 0, 1, 1, 0, 0])
    again = np.array([1, 0, 0, 1, 1, 0, 1, 0, 0, 0])
    noise = rerun_noise([first, again])
    assert (noise.n_reruns, noise.flip_rate) == (1, pytest.approx(0.3))
    assert noise.se == pytest.approx(math.sqrt(0.3 / 10))


def test_identical_runs_have_no_noise() -> None:
    run = np.array([0.25, 0.5, 1.0])
    noise = rerun_noise([run, run + 1e-9, run])
    assert noise.flip_rate == 0
    assert noise.se == pytest.approx(0, abs=1e-8)


def test_se_is_that_of_the_difference_of_two_simulated_runs() -> None:
    """Independent flips: the formula against the spread of 4,000 simulated differences."""
    rng = np.random.default_rng(1)
    chance = rng.choice([0.0, 1.0, 0.3, 0.7], 400, p=[0.4, 0.4, 0.1, 0.1])
    runs = (rng.random((4000, 2, 400)) < chance).mean(axis=2)
    spread = float((runs[:, 0] - runs[:, 1]).std())
    two = [rerun_noise(rng.random((2, 400)) < chance).se ** 2 for _ in range(200)]
    assert math.sqrt(float(np.mean(two))) == pytest.approx(spread, rel=0.05)


def test_a_shift_that_all_items_share_is_seen_from_three_runs_on() -> None:
    base = np.linspace(0, 1, 500)
    runs = np.stack([base, base + 0.1, base - 0.1])
    assert rerun_noise(runs).se == pytest.approx(math.sqrt(2) * 0.1)
    assert rerun_noise(runs[:2]).se == pytest.approx(0.1 / math.sqrt(500))


def test_items_of_one_cluster_move_together() -> None:
    """Five copies of every item: the noise is that of the fifth of the items."""
    rng = np.random.default_rng(2)
    runs = rng.integers(0, 2, (2, 40)).astype(float)
    copies = np.repeat(runs, 5, axis=1)
    labels = np.repeat(np.arange(40), 5)
    assert rerun_noise(copies, labels).se == pytest.approx(rerun_noise(runs).se)
    assert rerun_noise(copies).se == pytest.approx(rerun_noise(runs).se / math.sqrt(5))


@given(hnp.arrays(np.float64, (3, 12), elements=st.floats(-5, 5)))
def test_neither_the_order_of_runs_nor_of_items_matters(runs: np.ndarray) -> None:
    noise = rerun_noise(runs)
    turned = rerun_noise(runs[::-1, ::-1])
    assert turned.se == pytest.approx(noise.se, abs=1e-12)
    assert turned.flip_rate == pytest.approx(noise.flip_rate or 0.0)


def test_an_aggregate_of_two_runs_is_their_distance() -> None:
    assert aggregate_noise([20.0, 20.5]).se == pytest.approx(0.5)
    assert aggregate_noise([20.0, 20.5]).flip_rate is None
    three = [20.0, 20.5, 21.0]
    assert aggregate_noise(three).se == pytest.approx(math.sqrt(2) * 0.5)


@pytest.mark.parametrize("runs", [[[1.0, 0.0]], [[1.0, math.nan], [1.0, 0.0]], [[], []]])
def test_too_few_runs_or_missing_values_are_refused(runs: list[list[float]]) -> None:
    with pytest.raises(UsageError, match="noise floor needs"):
        rerun_noise(runs)
    with pytest.raises(UsageError, match="at least two runs"):
        aggregate_noise([1.0])
