"""Bounds for missing items hold whatever the missing items are, and are reached."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.missing import worst_case

differences = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 1.0]), min_size=1, max_size=30)


@given(seen=differences, unseen=differences)
def test_the_mean_over_all_items_lies_between_the_ends(seen, unseen):
    mean = float(np.mean(seen))
    low, high = worst_case(mean, mean, len(seen), len(unseen))
    assert low - 1e-12 <= float(np.mean([*seen, *unseen])) <= high + 1e-12


@given(seen=differences, n_missing=st.integers(0, 40))
def test_the_ends_are_reached(seen, n_missing):
    mean = float(np.mean(seen))
    low, high = worst_case(mean, mean, len(seen), n_missing)
    assert low == pytest.approx(np.mean([*seen, *[-1.0] * n_missing]))
    assert high == pytest.approx(np.mean([*seen, *[1.0] * n_missing]))


def test_no_items_bound_nothing():
    with pytest.raises(UsageError, match="bound no mean"):
        worst_case(0.0, 0.0, 0, 1)
