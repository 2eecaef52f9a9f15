from __future__ import annotations

from dataclasses import replace

import pytest

from modeldiff_harness.artifacts import (
    BenchmarksReport,
    Estimate,
    LatentsReport,
    PreferencesReport,
)
from modeldiff_harness.report.build.summary import summarise
from modeldiff_harness.testing.reports import with_preferences

OFF = (PreferencesReport("not measured", "turned off"), LatentsReport("not measured", "no pair"))


@pytest.fixture
def row(report):
    """A loss of 0.10 with a 95 % interval that just excludes zero."""
    found = report.benchmarks.rows[0]
    return replace(found, task="t", delta=-0.10, lower=-0.195, upper=-0.005, n=90)


def losses_and_gains(*rows, gateable=True):
    section = BenchmarksReport("measured", rows=rows, gateable=gateable)
    return summarise(section, *OFF)[:2]


def test_one_task_alone_is_confirmed_at_95_percent(row):
    lost, won = losses_and_gains(row)
    assert lost.startswith("Largest confirmed loss: t acc −0.100 (−0.195 to −0.005, n = 90)")
    assert won.startswith("No benchmark gain is confirmed")


def test_the_same_loss_among_many_tasks_is_not_confirmed(row):
    still = [replace(row, task=f"s{i}", delta=0.0, lower=-0.1, upper=0.1) for i in range(9)]
    lost, _ = losses_and_gains(row, *still)
    assert lost.startswith("No benchmark loss is confirmed (simultaneous 95 % interval over 10")


def test_the_interval_widens_by_the_ratio_of_normal_quantiles(row):
    # 10 tasks: z(1 − 0.05/20) / z(0.975) = 2.8070 / 1.9600.
    strong = replace(row, delta=-0.5, lower=-0.6, upper=-0.4)
    still = [replace(row, task=f"s{i}", delta=0.0, lower=-0.1, upper=0.1) for i in range(9)]
    lost, _ = losses_and_gains(strong, *still)
    half = 0.1 * 2.8070 / 1.9600
    assert f"(−{0.5 + half:.3f} to −{0.5 - half:.3f}" in lost


def test_the_largest_is_the_largest_of_the_confirmed_ones(row):
    noisy = replace(row, task="noisy", delta=-0.4, lower=-0.9, upper=0.1)
    small = replace(row, task="small", delta=-0.02, lower=-0.03, upper=-0.01)
    large = replace(row, task="large", delta=-0.05, lower=-0.07, upper=-0.03)
    lost, _ = losses_and_gains(noisy, small, large)
    assert "Largest confirmed loss: large " in lost


def test_a_rise_of_a_metric_that_should_fall_is_a_loss_in_its_own_unit(row):
    ppl = replace(
        row,
        task="wiki",
        metric="perplexity",
        higher_is_better=False,
        baseline=20.0,
        candidate=23.0,
        delta=3.0,
        lower=2.5,
        upper=3.5,
    )
    small = replace(row, task="small", delta=-0.02, lower=-0.03, upper=-0.01)
    lost, won = losses_and_gains(ppl, small)
    assert "Largest confirmed loss: small " in lost
    assert "In other units: wiki perplexity +3.000" in lost
    assert "lower is better" in lost
    assert "No benchmark gain" in won
    assert losses_and_gains(ppl)[0].startswith("Confirmed loss: wiki perplexity +3.000")


def test_secondary_metrics_are_not_counted(row):
    second = [replace(row, task="t", metric=f"m{i}", primary=False) for i in range(20)]
    assert "Largest confirmed loss: t acc" in losses_and_gains(row, *second)[0]


def test_a_limited_run_says_so(row):
    for sentence in losses_and_gains(row, gateable=False):
        assert "not gateable" in sentence


def test_arms_that_were_not_run_are_said_with_their_reason():
    off = BenchmarksReport("not measured", "no task was named.")
    assert summarise(off, *OFF) == (
        "Benchmarks were not measured: no task was named.",
        "Preferences were not measured: turned off.",
        "Latents were not measured: no pair.",
    )


def test_style_part_of_the_preference(report):
    told = summarise(report.benchmarks, report.preferences, OFF[1])[2]
    assert "raw +65 Elo (+31 to +99)" in told
    assert "substance +36 (−4 to +75) and style +33 (+20 to +46)" in told


def test_style_that_was_not_separated_and_preferences_near_zero(report):
    near_zero = with_preferences(
        report, substance_elo=None, style_elo=None, raw_elo=Estimate(5, -20, 30)
    )
    told = summarise(report.benchmarks, near_zero.preferences, OFF[1])[2]
    assert "not distinguishable from none" in told
    assert "could not be separated" in told


def test_latents_are_counted_under_every_rule_and_skipped_ones_named(report):
    section = report.latents
    skipped = tuple(
        replace(
            d,
            counts={k: v for k, v in d.counts.items() if k != "above_null"},
            rules_skipped={"above_null": "no null run"},
        )
        for d in section.dictionaries
    )
    told = summarise(report.benchmarks, report.preferences, replace(section, dictionaries=skipped))
    assert "published 0 and 0; calibrated 6 and 6; above_null skipped" in told[-1]
