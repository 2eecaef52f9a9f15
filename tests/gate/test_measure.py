"""A 95 % interval of a report at the gate's confidence, by how it was made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from modeldiff_harness.artifacts import Estimate, ItemClusters
from modeldiff_harness.gate.measure import at_confidence, measure_row
from modeldiff_harness.stats.estimates import PairedEstimate
from modeldiff_harness.stats.paired import paired_difference
from modeldiff_harness.testing.reports import sample_report

ROW = sample_report().benchmarks.rows[0]
numbers = st.floats(-100, 100)
errors = st.floats(1e-3, 50)
levels = st.floats(0.5, 0.999)


@given(estimate=numbers, se=errors, df=st.integers(1, 500), confidence=levels)
def test_a_t_interval_is_scipys_at_every_confidence(estimate, se, df, confidence):
    ends = stats.t.interval(0.95, df, loc=estimate, scale=se)
    found = at_confidence(Estimate(estimate, *ends, se, df, "t"), confidence)
    want = stats.t.interval(confidence, df, loc=estimate, scale=se)
    assert (found.lower, found.upper) == pytest.approx(want, rel=1e-9, abs=1e-9)
    assert (found.se, found.df) == (se, df)


@given(estimate=numbers, se=errors, confidence=levels)
def test_a_normal_interval_is_scipys_at_every_confidence(estimate, se, confidence):
    ends = stats.norm.interval(0.95, loc=estimate, scale=se)
    found = at_confidence(Estimate(estimate, *ends, se, method="normal"), confidence)
    want = stats.norm.interval(confidence, loc=estimate, scale=se)
    assert (found.lower, found.upper) == pytest.approx(want, rel=1e-9, abs=1e-9)
    assert (found.se, found.df) == (se, None)


@pytest.mark.parametrize("method", ["BCa", "bootstrap", "MOVER", "score", ""])
def test_the_ends_of_any_other_interval_are_scaled_about_the_estimate(method):
    known = Estimate(1.0, 0.4, 2.2, 0.3, 9.0, method)
    scale = stats.norm.ppf(0.95) / stats.norm.ppf(0.975)
    found = at_confidence(known, 0.90)
    assert found.lower == pytest.approx(1.0 - 0.6 * scale)
    assert found.upper == pytest.approx(1.0 + 1.2 * scale)
    assert found.se == pytest.approx(1.8 / (2 * stats.norm.ppf(0.975)))
    assert found.df is None
    same = at_confidence(known, 0.95)
    assert (same.lower, same.upper) == pytest.approx((0.4, 2.2))


def row_of(found: PairedEstimate):
    clusters = ItemClusters(found.n_clusters, "doc") if found.n_clusters else None
    return replace(
        ROW, n=found.n, baseline=found.baseline, candidate=found.candidate, delta=found.delta,
        se=found.se, lower=found.lower, upper=found.upper, p=found.p_value, df=found.df,
        counts=found.counts, clusters=clusters, method=found.method,
        interval_method=found.interval_method,
    )  # fmt: skip


def test_a_row_of_many_items_is_the_paired_t_interval_of_its_values():
    base, noise = np.random.default_rng(3).normal(size=(2, 400))
    row = row_of(paired_difference(base, base + 0.1 + noise))
    found = measure_row(row, 0.80)
    want = stats.ttest_rel(base + 0.1 + noise, base).confidence_interval(0.80)
    assert (found.lower, found.upper) == pytest.approx((want.low, want.high))
    assert found.df == 399


def test_clusters_of_right_and_wrong_items_are_not_taken_for_items_that_stand_alone():
    """The counts are there, the interval is not made from them."""
    rng = np.random.default_rng(5)
    labels = np.arange(600) // 10
    base, cand = (rng.random((2, 60)) < 0.5).astype(float)[:, labels]
    estimate = paired_difference(base, cand, labels)
    assert estimate.counts is not None
    found = measure_row(row_of(estimate), 0.90)
    half = stats.t.ppf(0.95, 59) * estimate.se
    assert (found.lower, found.upper) == pytest.approx(
        (estimate.delta - half, estimate.delta + half)
    )
    assert found.df == 59


def test_items_that_never_moved_keep_the_bound_at_the_gates_confidence():
    values, labels = np.ones(300), np.arange(300) // 3
    estimate = paired_difference(values, values, labels)
    found = measure_row(row_of(estimate), 0.90)
    want = paired_difference(values, values, labels, confidence=0.90)
    assert (found.lower, found.upper) == pytest.approx((want.lower, want.upper))
