"""AUROC against scikit-learn, and the interval's coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.auroc import auroc


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=60).filter(
        lambda rows: 0 < sum(p for _, p in rows) < len(rows)
    )
)
def test_auroc_agrees_with_scikit_learn_and_mirrors(rows: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([s for s, _ in rows]), np.array([p for _, p in rows])
    found = auroc(scores, positive)
    assert found.estimate == pytest.approx(roc_auc_score(positive, scores))
    assert 0.0 <= found.lower <= found.estimate <= found.upper <= 1.0
    mirrored = auroc(-scores, positive)
    assert mirrored.lower == pytest.approx(1.0 - found.upper, abs=1e-8)


def test_perfect_separation_keeps_an_honest_interval() -> None:
    found = auroc(np.arange(20), np.arange(20) >= 10)
    assert (found.estimate, found.upper) == (1.0, 1.0)
    assert 0.7 < found.lower < 0.95


def test_auroc_interval_covers() -> None:
    """Normal scores one standard deviation apart: true AUROC Φ(1/√2) = 0.760."""
    rng = np.random.default_rng(0)
    positive = np.repeat([True, False], [15, 40])
    covered = 0
    for _ in range(1000):
        found = auroc(rng.standard_normal(55) + positive, positive)
        covered += found.lower <= 0.7602 <= found.upper
    assert 0.925 <= covered / 1000 <= 0.98


def test_one_kind_only_has_no_auroc() -> None:
    with pytest.raises(UsageError, match="does not exist"):
        auroc([1.0, 2.0], [True, True])
