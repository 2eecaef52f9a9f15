from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldiff_harness.artifacts import (
    BenchmarkRow,
    BenchmarksReport,
    CapabilityProfile,
    Estimate,
    LatentsReport,
    Lens,
    PreferenceCategory,
    PreferencesReport,
    ProfileRow,
    ShareComparison,
)
from modeldiff_harness.report.build.lenses import capability_rows, compare_lenses
from modeldiff_harness.taxonomy import load_taxonomy
from modeldiff_harness.testing.reports import sample_report, with_preferences

ABSENT = Lens("not measured")
UP = Lens("measured", 0.2, 0.1, 0.3, "x", "up")
DOWN = Lens("measured", -0.2, -0.3, -0.1, "x", "down")
UNCLEAR = Lens("measured", 0.0, -0.1, 0.1, "x", "unclear")
SAME = load_taxonomy().capability("refusal")
UNKNOWN = load_taxonomy().capability("self_reference")
NOTHING = (
    BenchmarksReport("not measured", "off"),
    PreferencesReport("not measured", "off"),
    LatentsReport("not measured", "off"),
)


@pytest.mark.parametrize(
    ("benchmark", "preference", "latents", "mark"),
    [
        (UP, UP, ABSENT, "agree"),
        (DOWN, DOWN, DOWN, "agree"),
        (UP, DOWN, ABSENT, "conflict"),
        (UP, ABSENT, DOWN, "conflict"),
        (ABSENT, DOWN, UP, "conflict"),
        (UP, UP, DOWN, "conflict"),
        (UP, UNCLEAR, UP, "agree"),
        (UP, UNCLEAR, UNCLEAR, "unclear"),
        (UNCLEAR, UNCLEAR, ABSENT, "unclear"),
        (UP, ABSENT, ABSENT, "not measured"),
        (ABSENT, ABSENT, UP, "not measured"),
        (ABSENT, ABSENT, ABSENT, "not measured"),
    ],
)
def test_the_rule_where_emphasis_goes_with_behaviour(benchmark, preference, latents, mark):
    assert compare_lenses(SAME, benchmark, preference, latents)[0] == mark


@pytest.mark.parametrize("latents", [UP, DOWN, UNCLEAR])
def test_latents_of_unknown_emphasis_never_change_the_mark(latents):
    for benchmark, preference in [(UP, UP), (UP, DOWN), (UP, ABSENT), (ABSENT, ABSENT)]:
        with_latents = compare_lenses(UNKNOWN, benchmark, preference, latents)
        without = compare_lenses(UNKNOWN, benchmark, preference, ABSENT)
        assert with_latents[0] == without[0]
        assert "without a mark" in with_latents[1]
        assert "without a mark" not in without[1]


def test_the_reading_names_the_lenses_and_their_directions():
    _, reading = compare_lenses(SAME, UP, DOWN, ABSENT)
    assert "benchmark up" in reading
    assert "preference down" in reading


def row(task: str, delta: float, half: float, n: int = 100, **changes: object) -> BenchmarkRow:
    made = BenchmarkRow(
        task=task,
        capability="refusal",
        metric="acc",
        filter="none",
        higher_is_better=True,
        primary=True,
        n=n,
        baseline=0.5,
        candidate=0.5 + delta,
        delta=delta,
        se=half / 1.96,
        lower=delta - half,
        upper=delta + half,
        p=None,
        q=None,
        mde=None,
        method="",
        n_unmatched=0,
        version="",
        num_fewshot=None,
    )
    return replace(made, **changes)


def benchmark_lens(*rows: BenchmarkRow) -> Lens:
    section = BenchmarksReport("measured", rows=rows)
    found = capability_rows(section, *NOTHING[1:])
    return next(r.benchmark for r in found if r.capability == "refusal")


def test_one_task_keeps_its_own_interval_and_lower_is_better_turns_it():
    lens = benchmark_lens(row("a", 0.1, 0.04, lower=0.05, upper=0.18))
    assert (lens.effect, lens.lower, lens.upper, lens.sign) == (0.1, 0.05, 0.18, "up")
    turned = benchmark_lens(row("a", 0.1, 0.04, lower=0.05, upper=0.18, higher_is_better=False))
    assert (turned.effect, turned.lower, turned.upper) == (-0.1, -0.18, -0.05)
    assert turned.sign == "down"


def test_several_tasks_pool_their_items():
    # Two tasks as one set of 400 independent items: the mean of means weighted by n, and the
    # variance of a weighted sum of independent means.
    lens = benchmark_lens(row("a", 0.10, 0.04, n=300), row("b", -0.06, 0.08, n=100))
    half = math.sqrt((0.75 * 0.04) ** 2 + (0.25 * 0.08) ** 2)
    assert lens.effect == pytest.approx(0.75 * 0.10 - 0.25 * 0.06)
    assert (lens.lower, lens.upper) == pytest.approx((lens.effect - half, lens.effect + half))
    assert lens.detail == "a, b"


def test_a_task_without_any_change_does_not_swamp_the_others():
    lens = benchmark_lens(row("changed", 0.4, 0.1, n=100), row("still", 0.0, 0.0, n=100))
    assert lens.effect == pytest.approx(0.2)
    assert lens.sign == "up"


def test_metrics_of_another_unit_are_left_out_and_named():
    perplexity = row("ppl", 3.0, 0.5, baseline=20.0, candidate=23.0, higher_is_better=False)
    lens = benchmark_lens(row("a", 0.1, 0.04), perplexity)
    assert lens.effect == pytest.approx(0.1)
    assert "left out: ppl" in lens.detail
    alone = benchmark_lens(perplexity)
    assert (alone.effect, alone.unit, alone.sign) == (-3.0, "acc", "down")


def test_secondary_metrics_are_not_read():
    assert benchmark_lens(row("a", 0.1, 0.04, primary=False)).status == "not measured"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-0.4, 0.4), st.floats(0.0, 0.3), st.integers(1, 500)),
        min_size=1,
        max_size=5,
    )
)
def test_swapping_the_pair_negates_the_benchmark_lens(tasks):
    def turned(made: BenchmarkRow) -> BenchmarkRow:
        return replace(
            made,
            baseline=made.candidate,
            candidate=made.baseline,
            delta=-made.delta,
            lower=-made.upper,
            upper=-made.lower,
        )

    rows = [row(f"t{i}", delta, half, n) for i, (delta, half, n) in enumerate(tasks)]
    lens, swapped = benchmark_lens(*rows), benchmark_lens(*map(turned, rows))
    assert swapped.effect == pytest.approx(-lens.effect)
    assert swapped.lower == pytest.approx(-lens.upper)
    opposite = {"up": "down", "down": "up", "unclear": "unclear"}
    assert swapped.sign == opposite[lens.sign]


def category(substance: Estimate | None, raw: Estimate | None) -> PreferencesReport:
    row = PreferenceCategory("refusal", 40, 40, 0.1, raw, substance, None, True)
    return with_preferences(sample_report(), categories=(row,)).preferences


@pytest.mark.parametrize(
    ("section", "sign", "detail"),
    [
        (category(Estimate(50, 10, 90), Estimate(-9, -10, -8)), "up", "substance"),
        (category(None, Estimate(-9, -10, -8)), "down", "style not separated"),
        (category(None, None), None, "no prompts with a usable estimate"),
    ],
)
def test_preference_reads_substance_first_and_says_when_it_cannot(section, sign, detail):
    rows = capability_rows(NOTHING[0], section, NOTHING[2])
    lens = next(r.preference for r in rows if r.capability == "refusal")
    assert lens.sign == sign
    assert detail in lens.detail


def test_latents_read_the_share_difference_and_name_the_band():
    def section(lower: float, upper: float) -> LatentsReport:
        counts = ShareComparison(1, 10, 6, 10, Estimate(0.5, 0.1, 0.8), None)
        found = ProfileRow("capability", "refusal", "x", counts, None, lower, upper)
        return LatentsReport("measured", profile=CapabilityProfile("r", (), (found,), {}, {}))

    for band, said in (((-0.1, 0.6), "inside"), ((-0.1, 0.2), "outside")):
        rows = capability_rows(*NOTHING[:2], section(*band))
        lens = next(r.latents for r in rows if r.capability == "refusal")
        assert (lens.effect, lens.sign) == (0.5, "up")
        assert "6/10 against 1/10" in lens.detail
        assert f"{said} the null band" in lens.detail


def test_every_capability_has_a_row_and_conflicts_come_first(report):
    marks = [r.agreement for r in report.capabilities]
    order = ["conflict", "agree", "unclear", "not measured"]
    assert marks == sorted(marks, key=order.index)
    assert {r.capability for r in report.capabilities} == set(load_taxonomy().keys)
    assert report.capabilities[0].capability == "math_reasoning"


def test_arms_that_were_not_run_are_not_measured_and_carry_no_number():
    for found in capability_rows(*NOTHING):
        assert found.agreement == "not measured"
        for lens in (found.benchmark, found.preference, found.latents):
            assert lens.status == "not measured"
            assert lens.effect is None
            assert lens.sign is None
