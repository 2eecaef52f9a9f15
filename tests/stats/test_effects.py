from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_effectsize

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.effects import cohens_dz, cohens_h, matched_log_odds_ratio
from modeldiff_harness.stats.estimates import Undetermined


def test_cohens_dz_of_a_known_spread() -> None:
    d = np.array([1.0, -1.0] * 8) + 0.5
    assert cohens_dz(np.zeros(16), d) == pytest.approx(0.5 / d.std(ddof=1))
    assert isinstance(cohens_dz([1.0, 2.0], [2.0, 3.0]), Undetermined)


def test_cohens_h_against_statsmodels() -> None:
    assert cohens_h(0.3, 0.45) == pytest.approx(proportion_effectsize(0.45, 0.3))
    with pytest.raises(UsageError):
        cohens_h(-0.1, 0.5)


def test_matched_odds() -> None:
    forward, backward = matched_log_odds_ratio(30, 10), matched_log_odds_ratio(10, 30)
    assert forward.estimate == pytest.approx(math.log(3), abs=0.05)
    assert (backward.lower, backward.upper) == pytest.approx((-forward.upper, -forward.lower))
    assert matched_log_odds_ratio(0, 0).estimate == 0
    with pytest.raises(UsageError):
        matched_log_odds_ratio(-1, 2)
