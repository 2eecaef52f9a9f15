from __future__ import annotations

import math

import numpy as np
import pytest

from modeldiff_harness.artifacts import PairedCounts
from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.effects import cohens_dz, matched_log_odds_ratio


def test_cohens_dz_of_a_known_spread() -> None:
    d = np.array([1.0, -1.0] * 8) + 0.5
    found = cohens_dz(np.zeros(16), d)
    assert found is not None
    assert (found.size, found.name) == (pytest.approx(0.5 / d.std(ddof=1)), "Cohen's dz")
    assert cohens_dz(np.array([1.0, 2.0]), np.array([2.0, 3.0])) is None


def test_matched_odds() -> None:
    forward = matched_log_odds_ratio(PairedCounts(5, 5, fixed=30, broken=10))
    backward = matched_log_odds_ratio(PairedCounts(5, 5, fixed=10, broken=30))
    assert forward.size == pytest.approx(math.log(3), abs=0.05)
    assert backward.size == pytest.approx(-forward.size)
    assert matched_log_odds_ratio(PairedCounts(5, 5, 0, 0)).size == 0


def test_counts_cannot_be_negative() -> None:
    with pytest.raises(UsageError, match="negative"):
        PairedCounts(1, 1, -1, 2)
