"""Small samples do not pass: rows as the arms make them, decided by `decide` at default margins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from modeldiff_harness.artifacts import BenchmarkRow, Estimate
from modeldiff_harness.benchmarks.pairing.rows import clusters_of, numbers_of
from modeldiff_harness.gate.measure import Measured, Missing, at_confidence, measure, measure_row
from modeldiff_harness.gate.policy import Rule
from modeldiff_harness.report.build.lenses import capability_rows
from modeldiff_harness.stats.estimates import PairedEstimate
from modeldiff_harness.stats.paired import paired_difference
from modeldiff_harness.stats.pairfit.fit import PairFit, fit_pair
from modeldiff_harness.stats.pairfit.rows import pair_rows
from modeldiff_harness.taxonomy import load_taxonomy
from modeldiff_harness.testing.reports import assemble_report, sample_report, with_preferences

SAMPLE = sample_report()
ROW = next(row for row in SAMPLE.benchmarks.rows if row.primary)
MATHS = next(key for key in load_taxonomy().keys if "math" in key)
SUBSTANCE = Rule("substance", "preference", "substance", 20.0)


def row_of(base: Any, cand: Any, clusters: Any = None, **more: Any) -> BenchmarkRow:
    found = paired_difference(base, cand, clusters)
    assert isinstance(found, PairedEstimate)
    named = {"metric": "acc", "noise": None, "effect": None, "simultaneous": None, **more}
    return replace(ROW, clusters=clusters_of(found, "doc"), **numbers_of(found, True), **named)


def moved(n: int, n_moved: int, by: float, start: float) -> tuple[np.ndarray, np.ndarray]:
    base = np.full(n, start)
    return base, base + np.where(np.arange(n) < n_moved, by, 0.0)


CASES = {
    "two items": (np.array([0.4, 0.6]), np.array([0.401, 0.602]), None),
    "five items, one moved": (*moved(5, 1, 0.001, 0.5), None),
    "sixty graded items": (np.full(60, 0.5), np.full(60, 0.5) + np.linspace(0, 0.001, 60), None),
    "fifty in ten clusters, one fixed": (*moved(50, 1, 1.0, 0.0), np.arange(50) // 5),
    "forty equal items": (*moved(40, 0, 1.0, 1.0), None),
    "copies: thirty of sixty": (*moved(1_800, 30, 1.0, 0.0), np.arange(1_800) // 30),
}


@pytest.mark.parametrize("case", CASES)
def test_small_samples_exclude_no_loss_of_two_points(case: str) -> None:
    found = measure_row(row_of(*CASES[case]), 0.90)
    assert isinstance(found, Measured)
    assert found.lower < -0.02
    assert found.upper > found.delta


def test_a_metric_without_bounds_needs_items_and_says_so() -> None:
    base = np.array([10.0, 12.0])
    found = measure_row(row_of(base, base + np.array([0.001, 0.002]), metric="ppl"), 0.90)
    assert found == Missing("2 items are too few to gate this metric; 30 are needed")


def test_graded_items_that_are_too_few_can_still_fail() -> None:
    base = np.full(60, 0.8)
    found = measure_row(row_of(base, np.linspace(0.0, 0.1, 60)), 0.90)
    assert isinstance(found, Measured)
    assert (found.lower, found.upper) == (-1.0, 1.0)
    assert found.loss_p is not None
    assert found.loss_p < 1e-3
    assert "100 are needed" in found.remarks[0]


@pytest.mark.parametrize("n_clusters", [20, 100])
def test_a_collapse_with_a_cluster_key_is_a_significant_loss(n_clusters: int) -> None:
    labels = np.arange(200) % n_clusters
    found = measure_row(row_of(np.ones(200), np.zeros(200), labels), 0.90)
    assert isinstance(found, Measured)
    assert (found.delta, found.loss_p) == (-1.0, pytest.approx(0.5**n_clusters))


def test_an_honest_equal_pair_of_many_items_still_passes_one_point() -> None:
    base = np.ones(6_000)
    base[:90] = 0.0
    cand = np.ones(6_000)
    cand[90:180] = 0.0
    found = measure_row(row_of(base, cand), 0.90)
    assert isinstance(found, Measured)
    assert found.lower > -0.01


def test_tasks_pooled_keep_degrees_of_freedom() -> None:
    """Welch-Satterthwaite by hand for two tasks of one size."""
    rng = np.random.default_rng(0)
    rows = []
    for task in ("one", "two"):
        base = rng.uniform(0.3, 0.5, 600)
        labels = np.arange(600) % 25
        cand = base + rng.uniform(-0.1, 0.1, 25)[labels]
        rows.append(row_of(base, cand, labels, task=task, capability=MATHS, primary=True))
    section = replace(SAMPLE.benchmarks, rows=tuple(rows))
    report = assemble_report(section, SAMPLE.preferences, SAMPLE.latents)
    rule = Rule("maths", "capability", MATHS, 0.02)
    found = measure(report, rule, 0.90)
    assert isinstance(found, Measured)
    v = [(row.se / 2) ** 2 for row in rows]
    assert found.df == pytest.approx(sum(v) ** 2 / sum(one**2 / 24 for one in v))
    # The report pools the same numbers.
    told = capability_rows(section, SAMPLE.preferences, SAMPLE.latents)
    lens = next(row.benchmark for row in told if row.capability == MATHS)
    assert lens.effect == pytest.approx(found.delta)


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.9, 0.95, 0.99, 0.999])
def test_a_scaled_bound_of_losses_that_none_showed_is_never_too_near(confidence: float) -> None:
    """Clopper and Pearson's bound for none of n, scaled from 95 %, holds at every confidence."""
    for n in (30, 300):
        at_95 = -stats.binomtest(0, n).proportion_ci(0.95).high
        known = Estimate(0.0, at_95, -at_95, method="bounded mean")
        want = -stats.binomtest(0, n).proportion_ci(confidence).high
        if confidence >= 0.9:
            assert at_confidence(known, confidence).lower <= want * (1 - 3 / n)


def fitted(outcomes: list[float], clusters: list[int] | None = None) -> PairFit:
    found = fit_pair(pair_rows(outcomes, clusters=clusters))
    assert isinstance(found, PairFit)
    return found


@pytest.mark.parametrize("n_wins", [0, 1, 19])
def test_prompts_that_are_nearly_all_ties_gate_nothing(n_wins: int) -> None:
    fit = fitted([0.5] * (60 - n_wins) + [1.0] * n_wins)
    assert f"few_decided:{n_wins}" in fit.flags
    assert fit.elo.raw.lower < -10 + fit.elo.raw.estimate  # never ±0
    assert fit.elo.raw.upper > fit.elo.raw.estimate
    report = with_preferences(SAMPLE, raw_elo=fit.elo.raw, flags=fit.flags, n_clusters=60)
    found = measure(report, Rule("raw", "preference", "raw", 20.0), 0.90)
    assert isinstance(found, Missing)
    assert "too few to gate" in found.reason


def test_fewer_than_thirty_prompts_gate_nothing() -> None:
    found = measure(with_preferences(SAMPLE, n_clusters=29), SUBSTANCE, 0.90)
    assert found == Missing("29 prompts or conversations are too few to gate; 30 are needed")


def test_all_wins_count_prompts_not_judgments() -> None:
    once = fitted([1.0] * 12)
    often = fitted([1.0] * 120, [i % 12 for i in range(120)])
    assert often.elo.raw.estimate == pytest.approx(once.elo.raw.estimate)
    assert (often.elo.raw.lower, often.elo.raw.upper) == pytest.approx(
        (once.elo.raw.lower, once.elo.raw.upper)
    )
    assert once.elo.raw.estimate == pytest.approx(400 / np.log(10) * np.log(12.5 / 0.5))
