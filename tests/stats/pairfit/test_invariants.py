from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldiff_harness.stats.estimates import Estimate, Undetermined
from modeldiff_harness.stats.pairfit.fit import PairFit, fit_pair
from modeldiff_harness.stats.pairfit.rows import FitOptions, pair_rows

PARTS = [
    f"{unit}.{part}"
    for part in ("raw", "substance", "style", "dispersion")
    for unit in ("elo", "points")
]


def assert_same(one: object, two: object, sign: float = 1.0, abs_: float = 1e-7) -> None:
    assert isinstance(one, PairFit)
    assert isinstance(two, PairFit)
    for name in PARTS:
        left, right = attrgetter(name)(one), attrgetter(name)(two)
        if left is None or right is None:
            assert left is right is None
            continue
        assert isinstance(left, Estimate)
        assert isinstance(right, Estimate)
        ends = sorted((sign * right.lower, sign * right.upper))
        assert left.estimate == pytest.approx(sign * right.estimate, abs=abs_), name
        assert [left.lower, left.upper] == pytest.approx(ends, abs=abs_), name


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_prompts=st.integers(3, 80),
    with_position=st.booleans(),
    weighted=st.booleans(),
)
def test_swapping_the_pair_negates_everything(
    simulate: Any, seed: int, n_prompts: int, with_position: bool, weighted: bool
) -> None:
    rng = np.random.default_rng(seed)
    battles = simulate(rng, n_prompts)
    position = rng.choice([-1.0, 1.0], 2 * n_prompts) if with_position else None
    weights = rng.integers(1, 4, 2 * n_prompts) if weighted else None
    forward = fit_pair(
        pair_rows(
            battles.y, battles.z, clusters=battles.cluster, position=position, weights=weights
        )
    )
    backward = fit_pair(
        pair_rows(
            1 - battles.y,
            -battles.z,
            clusters=battles.cluster,
            position=None if position is None else -position,
            weights=weights,
        )
    )
    assert_same(forward, backward, sign=-1.0, abs_=1e-6)
    assert isinstance(forward, PairFit)
    assert isinstance(backward, PairFit)
    swapped = {"all_wins": "all_losses", "all_losses": "all_wins"}
    assert [swapped.get(flag, flag) for flag in forward.flags] == list(backward.flags)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_sides_and_order_of_rows_change_nothing(simulate: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    battles = simulate(rng, 60)

    def from_sides(is_a: np.ndarray) -> PairFit | Undetermined:
        sign = np.where(is_a, 1.0, -1.0)
        y_a = np.where(is_a, battles.y, 1 - battles.y)
        z_a = sign[:, None] * battles.z
        rows = pair_rows(y_a, z_a, clusters=battles.cluster)
        return fit_pair(rows.turned(sign))

    always_a = from_sides(np.ones(120, bool))
    shuffled = from_sides(rng.random(120) < 0.5)
    assert_same(always_a, shuffled)
    order = rng.permutation(120)
    permuted = fit_pair(
        pair_rows(battles.y[order], battles.z[order], clusters=battles.cluster[order])
    )
    assert_same(always_a, permuted)
    renamed = fit_pair(
        pair_rows(battles.y, battles.z, clusters=[f"prompt {c}" for c in battles.cluster])
    )
    assert_same(always_a, renamed)


def test_duplicated_rows_within_clusters_leave_the_intervals(simulate: Any) -> None:
    battles = simulate(np.random.default_rng(0), 150)
    once = fit_pair(
        pair_rows(battles.y, battles.z, clusters=battles.cluster), FitOptions(ridge=0.0)
    )
    copies = [np.concatenate([part] * 5) for part in (battles.y, battles.z, battles.cluster)]
    many = fit_pair(pair_rows(copies[0], copies[1], clusters=copies[2]), FitOptions(ridge=0.0))
    assert_same(once, many, abs_=1e-6)
    # The ridge of a summed loss weighs a little less beside five times the rows.
    with_ridge = fit_pair(pair_rows(battles.y, battles.z, clusters=battles.cluster))
    many_with_ridge = fit_pair(pair_rows(copies[0], copies[1], clusters=copies[2]))
    assert_same(with_ridge, many_with_ridge, abs_=1.5)
    # Without clusters the copies pass for evidence: the reason clusters exist.
    naive = fit_pair(pair_rows(copies[0], copies[1]), FitOptions(ridge=0.0))
    assert isinstance(naive, PairFit)
    assert isinstance(once, PairFit)
    assert (naive.elo.raw.se or 0) < 0.6 * (once.elo.raw.se or 0)


def test_scale_of_a_feature_does_not_matter(simulate: Any) -> None:
    battles = simulate(np.random.default_rng(1), 200)
    plain = fit_pair(pair_rows(battles.y, battles.z, clusters=battles.cluster))
    scaled = fit_pair(pair_rows(battles.y, battles.z * [1000.0, 0.01], clusters=battles.cluster))
    assert_same(plain, scaled)


def test_adding_a_constant_to_style_does_matter(simulate: Any) -> None:
    # Centring would make these two fits equal; the candidate's longer answers must show.
    battles = simulate(np.random.default_rng(2), 500)
    plain = fit_pair(pair_rows(battles.y, battles.z, clusters=battles.cluster))
    shifted = fit_pair(
        pair_rows(battles.y, battles.z + np.array([0.5, 0.0]), clusters=battles.cluster)
    )
    assert isinstance(plain, PairFit)
    assert isinstance(shifted, PairFit)
    assert plain.elo.style is not None
    assert shifted.elo.style is not None
    assert shifted.elo.style.estimate > plain.elo.style.estimate + 50
