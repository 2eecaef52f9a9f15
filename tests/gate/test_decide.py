"""A verdict follows from planted numbers: outcomes, holds, waivers, directions, families."""

from __future__ import annotations

import datetime
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modeldiff_harness.artifacts import (
    BenchmarkRow,
    BenchmarksReport,
    Estimate,
    ItemClusters,
    PairedCounts,
    PreferenceCategory,
    Report,
    RerunNoise,
    TaskFailure,
    Verdict,
)
from modeldiff_harness.errors import UsageError
from modeldiff_harness.gate.decide import gate_report
from modeldiff_harness.gate.measure import Measured, Missing, measure, measure_row
from modeldiff_harness.gate.policy import Checks, Policy, Rule, Waiver
from modeldiff_harness.stats.clusters import ClusterLabels
from modeldiff_harness.stats.paired import paired_binary, paired_difference
from modeldiff_harness.testing.reports import assemble_report, sample_report, with_preferences

NOW = datetime.datetime(2030, 1, 15, 12, 0, tzinfo=datetime.UTC)
SAMPLE = sample_report()
PRIMARY = tuple(row for row in SAMPLE.benchmarks.rows if row.primary)


def binary_row(task: str, n: int, fixed: int, broken: int, /, **more: Any) -> BenchmarkRow:
    """A row as the benchmark arm makes it from counts."""
    found = paired_binary(PairedCounts(n - fixed - broken, 0, fixed, broken))
    return replace(
        PRIMARY[0], task=task, capability=None, n=n, baseline=found.baseline,
        candidate=found.candidate, delta=found.delta, se=found.se, lower=found.lower,
        upper=found.upper, p=found.p_value, counts=found.counts, method=found.method,
        interval_method=found.interval_method,
    ) if not more else replace(binary_row(task, n, fixed, broken), **more)  # fmt: skip


def report_of(*rows: BenchmarkRow, failures: tuple[TaskFailure, ...] = ()) -> Report:
    section = BenchmarksReport(
        "measured", rows=rows, failures=failures, gateable=not failures, flipped=()
    )
    return assemble_report(section, SAMPLE.preferences, SAMPLE.latents)


def bench(task: str, margin: float, **more: Any) -> Rule:
    return Rule(more.pop("name", task), "benchmark", task, margin, **more)


def gate(report: Report, *rules: Rule, previous: Verdict | None = None, **more: Any) -> Verdict:
    return gate_report(report, Policy(rules, **more), now=NOW, previous=previous)


def only(verdict: Verdict):
    (criterion,) = verdict.criteria
    return criterion


SUBSTANCE = Rule("substance", "preference", "substance", 20.0)
GOOD = binary_row("good", 4000, 200, 190)
LOST = binary_row("lost", 1319, 73, 155)
UNSURE = binary_row("unsure", 200, 10, 10)

# ── outcomes ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("row", "margin", "outcome", "code"),
    [(GOOD, 0.02, "PASS", 0), (LOST, 0.02, "FAIL", 1), (UNSURE, 0.02, "INCONCLUSIVE", 3),
     (LOST, 0.10, "PASS", 0), (LOST, 0.07, "INCONCLUSIVE", 3)],
)  # fmt: skip
def test_planted_results_get_their_verdict(row, margin, outcome, code):
    verdict = gate(report_of(row), bench(row.task, margin))
    assert (verdict.outcome, verdict.exit_code) == (outcome, code)
    assert only(verdict).outcome == only(verdict).data_outcome == outcome


def test_the_interval_and_the_test_are_those_of_the_counts():
    found = only(gate(report_of(LOST), bench("lost", 0.02)))
    oracle = paired_binary(PairedCounts(1319 - 228, 0, 73, 155), confidence=0.90)
    assert (found.lower, found.upper) == pytest.approx((oracle.lower, oracle.upper))
    assert found.loss_p == pytest.approx(stats.binomtest(73, 228, 0.5, "less").pvalue)
    assert found.delta == pytest.approx(-82 / 1319)
    assert found.n == 1319


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 400), data=st.data())
def test_every_table_of_counts_gives_the_interval_at_the_gates_level(n, data):
    fixed = data.draw(st.integers(0, n))
    broken = data.draw(st.integers(0, n - fixed))
    for higher_is_better in (True, False):
        row = binary_row("t", n, fixed, broken)
        if not higher_is_better:  # the same items, counted for a metric where 1 is bad
            counts = replace(row.counts, fixed=broken, broken=fixed)
            row = replace(row, higher_is_better=False, counts=counts)
        found = measure_row(row, 0.90)
        oracle = paired_binary(PairedCounts(n - fixed - broken, 0, fixed, broken), 0.90)
        guarded = oracle.guarded
        assert (found.lower, found.upper) == pytest.approx((guarded.lower, guarded.upper))
        assert found.lower <= oracle.lower
        if min(fixed, broken) >= 10:
            assert found.lower == pytest.approx(oracle.lower)
        lost = broken if higher_is_better else fixed
        p = stats.binom.sf(lost - 1, fixed + broken, 0.5) if fixed + broken else 1.0
        assert found.loss_p == pytest.approx(float(p), abs=1e-12)


@pytest.mark.parametrize("n_clusters", [8, 60])
def test_a_clustered_interval_keeps_its_t(n_clusters):
    rng = __import__("numpy").random.default_rng(4)
    labels: ClusterLabels = [i % n_clusters for i in range(400)]
    base, cand = rng.normal(size=400), rng.normal(-0.1, size=400)
    wide = paired_difference(base, cand, labels, confidence=0.95)
    want = paired_difference(base, cand, labels, confidence=0.90)
    row = binary_row("t", 400, 3, 3, counts=None, delta=wide.delta, se=wide.se, df=wide.df,
                     lower=wide.lower, upper=wide.upper, p=wide.p_value,
                     interval_method=wide.interval_method,
                     clusters=ItemClusters(n_clusters, "doc"))  # fmt: skip
    found = measure_row(row, 0.90)
    assert (found.lower, found.upper) == pytest.approx((want.lower, want.upper))
    assert found.df == want.df


def test_lower_is_better_turns_loss_and_margin_around():
    row = binary_row("ppl", 62, 0, 0, metric="word_perplexity", higher_is_better=False,
                     baseline=21.4, candidate=22.9, delta=1.5, se=0.2, lower=1.108, upper=1.892,
                     p=1e-6, counts=None, interval_method="bootstrap")  # fmt: skip
    lost = only(gate(report_of(row), bench("ppl", 0.5)))
    assert (lost.outcome, lost.unit, lost.higher_is_better) == ("FAIL", "word_perplexity", False)
    assert lost.delta == 1.5
    assert lost.lower == pytest.approx(1.5 - stats.norm.ppf(0.95) * 0.2, abs=1e-3)
    assert lost.lower < lost.delta < lost.upper
    assert only(gate(report_of(row), bench("ppl", 2.0))).worse_but_tolerated
    gained = replace(row, delta=-1.5, lower=-1.892, upper=-1.108)
    better = only(gate(report_of(gained), bench("ppl", 0.5)))
    assert better.outcome == "PASS"
    assert not better.worse_but_tolerated
    assert better.loss_p > 0.99


def test_swapping_the_models_turns_a_gain_into_a_loss():
    swapped = binary_row("lost", 1319, 155, 73)
    assert gate(report_of(swapped), bench("lost", 0.02)).outcome == "PASS"
    a, b = (only(gate(report_of(r), bench("lost", 0.02))) for r in (LOST, swapped))
    assert (a.lower, a.upper) == pytest.approx((-b.upper, -b.lower))


def test_amber_is_a_pass_that_is_said():
    row = binary_row("drift", 5000, 200, 260)
    verdict = gate(report_of(row), bench("drift", 0.03))
    assert verdict.outcome == "PASS"
    assert only(verdict).worse_but_tolerated
    assert "Non-inferior but worse: drift −1.2 pt." in verdict.flags


def test_holm_runs_over_all_criteria_also_optional_and_missing_ones():
    row = binary_row("edge", 400, 10, 22)  # exact one-sided p = 0.025
    alone = gate(report_of(row), bench("edge", 0.02))
    assert alone.outcome == "FAIL"
    rules = (bench("edge", 0.02), bench("good", 0.02, required=False), bench("none", 0.02))
    family = gate(report_of(row, GOOD), *rules)
    found = family.criteria[0]
    assert found.outcome == "INCONCLUSIVE"
    assert found.loss_p_holm == pytest.approx(3 * found.loss_p)
    assert family.n_family == 3


def test_optional_criteria_do_not_decide():
    rules = (bench("good", 0.02), bench("lost", 0.02, required=False))
    verdict = gate(report_of(GOOD, LOST), *rules)
    assert verdict.outcome == "PASS"
    assert verdict.criteria[1].outcome == "FAIL"
    assert gate(report_of(LOST), rules[1]).outcome == "INCONCLUSIVE"


# ── what is measured ─────────────────────────────────────────────────────────────────────────


def test_a_required_criterion_that_was_not_measured_is_inconclusive():
    verdict = gate(report_of(GOOD), bench("good", 0.02), bench("gsm9k", 0.02))
    assert verdict.outcome == "INCONCLUSIVE"
    missing = verdict.criteria[1]
    assert not missing.measured
    assert missing.delta is None
    assert "no task gsm9k" in missing.reason
    assert "1 not measured" in verdict.sentence
    off = replace(SAMPLE, benchmarks=BenchmarksReport("not measured", "no tasks"))
    assert "not measured: no tasks" in only(gate(off, bench("good", 0.02))).reason


def test_a_failed_task_is_seen_by_a_pattern_too():
    report = report_of(GOOD, failures=(TaskFailure("bad", "out of memory"),))
    verdict = gate(report, bench("*", 0.02))
    assert [(c.name, c.outcome) for c in verdict.criteria] == [
        ("good", "PASS"), ("bad", "INCONCLUSIVE")
    ]  # fmt: skip
    assert "out of memory" in verdict.criteria[1].reason


def test_patterns_take_what_no_name_takes_and_only_one_unit():
    rules = (bench("mmlu_*", 0.05), bench("*", 0.02), bench("gsm8k", 0.03))
    verdict = gate(SAMPLE, *rules)
    margins = {c.name: c.margin for c in verdict.criteria}
    assert margins["gsm8k"] == 0.03
    assert margins["mmlu_elementary_mathematics"] == 0.05
    assert margins["piqa"] == 0.02
    assert "wikitext" not in margins
    assert any("not gated: wikitext" in flag for flag in verdict.flags)
    assert len(verdict.criteria) == len(margins) == len(PRIMARY) - 1


def test_a_pattern_of_a_class_takes_that_class():
    rule = bench("*", 0.01, within="safety_content_moderation")
    assert [c.name for c in gate(SAMPLE, rule).criteria] == ["mdh_refusal"]
    none = bench("*", 0.01, within="linguistic")
    found = only(gate(report_of(GOOD), none))
    assert (found.outcome, found.measured) == ("INCONCLUSIVE", False)


def test_a_secondary_metric_can_be_named_and_an_unknown_one_is_missing():
    found = only(gate(SAMPLE, bench("arc_easy", 0.02, metric="acc_norm")))
    assert found.subject == "arc_easy acc_norm"
    missing = only(gate(SAMPLE, bench("arc_easy", 0.02, metric="f1")))
    assert "no f1" in missing.reason
    assert "acc_norm" in missing.reason


def test_a_groups_row_is_no_primary_one_and_can_be_gated():
    group = replace(GOOD, task="mmlu", primary=False)
    assert only(gate(report_of(GOOD, group), bench("mmlu", 0.02))).outcome == "PASS"


def test_a_capability_is_the_mean_over_the_items_of_its_tasks():
    rows = [binary_row("a", 300, 10, 30, capability="refusal"),
            binary_row("b", 900, 60, 45, capability="refusal")]  # fmt: skip
    rule = Rule("r", "capability", "refusal", 0.02)
    found = only(gate(report_of(*rows), rule))
    assert found.delta == pytest.approx((-20 + 15) / 1200)
    assert found.n == 1200
    parts = [measure_row(row, 0.90) for row in rows]
    se = math.hypot(0.25 * parts[0].se, 0.75 * parts[1].se)
    assert found.se == pytest.approx(se)
    assert isinstance(measure(report_of(GOOD), rule, 0.9), Missing)


def test_substance_is_what_is_gated_and_a_category_needs_a_hundred_prompts():
    complete = with_preferences(SAMPLE, n_invalid=0)
    found = only(gate(complete, SUBSTANCE))
    expected = 35.6 - stats.norm.ppf(0.95) * 20.2
    assert (found.delta, found.unit, found.n) == (35.6, "Elo", 160)
    assert found.lower == pytest.approx(expected, abs=0.2)
    few = Rule("c", "preference", "substance", 20.0, within="refusal")
    assert "too few" in only(gate(SAMPLE, few)).reason
    plenty = PreferenceCategory(
        "refusal", 300, 300, 0.1, None, Estimate(5, -10, 20, 7.65), 0.5, False
    )
    report = with_preferences(complete, categories=(plenty,))
    assert only(gate(report, few)).lower == pytest.approx(5 - stats.norm.ppf(0.95) * 7.65, abs=0.02)


def test_substance_that_could_not_be_separated_is_missing_with_its_reason():
    report = with_preferences(SAMPLE, substance_elo=None, flags=("separation",))
    found = only(gate(report, SUBSTANCE))
    assert found.outcome == "INCONCLUSIVE"
    assert "style almost decides" in found.reason
    raw = Rule("raw", "preference", "raw", 20.0)
    assert only(gate(report, raw)).outcome == "PASS"


@pytest.mark.parametrize("df", [7, 30])
def test_few_clusters_keep_their_t(df):
    se, t95, t90 = 10.0, stats.t.ppf(0.975, df), stats.t.ppf(0.95, df)
    substance = Estimate(0.0, -t95 * se, t95 * se, se, df, "t")
    report = with_preferences(SAMPLE, substance_elo=substance, n_prompts=df + 1, n_invalid=0)
    measured = measure(report, SUBSTANCE, 0.90)
    assert isinstance(measured, Measured)
    assert measured.df == df
    assert only(gate(report, SUBSTANCE)).lower == pytest.approx(-t90 * se)


# ── what may not gate ────────────────────────────────────────────────────────────────────────


def smoke(report: Report) -> Report:
    return replace(
        report,
        benchmarks=replace(report.benchmarks, limit=25.0, gateable=False),
        provenance=replace(report.provenance, smoke=True),
    )


@pytest.mark.parametrize("row", [GOOD, LOST])
def test_a_limited_run_cannot_gate_either_way(row):
    verdict = gate(smoke(report_of(row)), bench(row.task, 0.02))
    assert verdict.outcome == "INCONCLUSIVE"
    assert "25 items a task" in verdict.sentence
    assert only(verdict).data_outcome == ("PASS" if row is GOOD else "FAIL")


def test_no_waiver_lets_a_limited_run_gate():
    day = NOW.date()
    waiver = Waiver("good", "r", "o", day)
    report = smoke(report_of(GOOD, LOST))
    verdict = gate(report, bench("good", 0.02), bench("lost", 0.02), waivers=(waiver,))
    assert verdict.outcome == "INCONCLUSIVE"
    with pytest.raises(UsageError, match="limited run"):
        gate(report, bench("good", 0.02), waivers=(Waiver("full_run", "r", "o", day),))


def test_a_heuristic_judge_cannot_gate():
    report = with_preferences(SAMPLE, judge="length", judge_kind="heuristic", gateable=False)
    found = only(gate(report, SUBSTANCE))
    assert (found.outcome, found.data_outcome) == ("INCONCLUSIVE", "PASS")
    assert "heuristic" in found.reason


@pytest.mark.parametrize(("n_invalid", "outcome"), [(3, "PASS"), (4, "INCONCLUSIVE")])
def test_missing_judgments_beyond_two_per_cent_hold_the_gate(n_invalid, outcome):
    report = with_preferences(SAMPLE, n_battles=160, n_invalid=n_invalid)
    verdict = gate(report, SUBSTANCE)
    assert verdict.outcome == only(verdict).outcome == outcome
    check = next(c for c in verdict.checks if c.name == "missing_judgments")
    assert check.observed == pytest.approx(n_invalid / (160 + n_invalid))
    assert check.outcome == outcome
    loose = gate(report, SUBSTANCE, checks=Checks(missing_judgments=0.1))
    assert loose.outcome == "PASS"


def test_missing_judgments_do_not_excuse_a_lost_benchmark():
    report = with_preferences(report_of(LOST), n_battles=100, n_invalid=50)
    verdict = gate(report, bench("lost", 0.02), SUBSTANCE)
    assert verdict.outcome == "FAIL"
    assert [c.outcome for c in verdict.criteria] == ["FAIL", "INCONCLUSIVE"]


def test_unmatched_items_beyond_one_per_cent_hold_their_criterion():
    row = replace(GOOD, n_unmatched=50)
    verdict = gate(report_of(row), bench("good", 0.02))
    assert verdict.outcome == "INCONCLUSIVE"
    assert "only one model answered" in only(verdict).reason
    assert gate(report_of(replace(GOOD, n_unmatched=40)), bench("good", 0.02)).outcome == "PASS"


def test_lens_conflicts_hold_only_when_the_policy_counts_them():
    n = sum(row.agreement == "conflict" for row in SAMPLE.capabilities)
    assert n > 0
    for most, held in ((n, False), (n - 1, True)):
        verdict = gate(SAMPLE, bench("piqa", 0.05), checks=Checks(lens_conflicts=most))
        assert (verdict.outcome == "INCONCLUSIVE") is held
    assert gate(SAMPLE, bench("piqa", 0.05)).outcome == "PASS"


def test_a_style_driven_gain_is_said_and_holds_when_asked():
    verdict = gate(SAMPLE, SUBSTANCE)
    assert verdict.style_driven_gain is True
    assert verdict.outcome == "PASS"
    assert any(flag.startswith("Style-driven gain") for flag in verdict.flags)
    held = gate(SAMPLE, SUBSTANCE, checks=Checks(style_driven_gain="hold"))
    assert held.outcome == "INCONCLUSIVE"
    real = with_preferences(SAMPLE, substance_elo=Estimate(60.0, 20.0, 100.0, 20.4))
    fine = gate(real, SUBSTANCE, checks=Checks(style_driven_gain="hold"))
    assert (fine.outcome, fine.style_driven_gain) == ("PASS", False)


# ── noise floor, sizes ───────────────────────────────────────────────────────────────────────


def test_reruns_of_the_baseline_widen_interval_and_null():
    quiet = only(gate(report_of(LOST), bench("lost", 0.02)))
    noisy = only(
        gate(report_of(replace(LOST, noise=RerunNoise(1, 0.1, 0.05))), bench("lost", 0.02))
    )
    assert (quiet.outcome, noisy.outcome) == ("FAIL", "INCONCLUSIVE")
    assert noisy.se == pytest.approx(math.hypot(quiet.se, 0.05))
    assert noisy.loss_p == pytest.approx(stats.norm.cdf(quiet.delta / noisy.se))
    z = stats.norm.ppf(0.95)
    below = math.hypot(quiet.delta - quiet.lower, z * 0.05)
    assert noisy.lower == pytest.approx(quiet.delta - below)


def test_a_margin_below_the_size_is_called_out_with_the_size_it_needs():
    verdict = gate(report_of(UNSURE), bench("unsure", 0.02))
    found = only(verdict)
    assert found.margin_below_detectable
    z = stats.norm.ppf(0.95) + stats.norm.ppf(0.80)
    assert found.detectable == pytest.approx(z * found.se)
    assert found.n_needed == math.ceil(200 * (found.detectable / 0.02) ** 2)
    assert any(f"{found.n_needed:,} items are needed" in flag for flag in verdict.flags)
    assert not only(gate(report_of(GOOD), bench("good", 0.02))).margin_below_detectable


def test_operating_characteristics_are_at_the_runs_own_size():
    verdict = gate(report_of(GOOD, UNSURE), bench("good", 0.02), bench("unsure", 0.02))
    for found in verdict.criteria:
        assert [p.true_delta for p in found.operating] == pytest.approx([0, -0.01, -0.02, -0.04])
        z = (0.02 - stats.norm.ppf(0.95) * found.se) / found.se
        assert found.operating[0].p_pass == pytest.approx(stats.norm.cdf(z))
        assert found.operating[2].p_pass == pytest.approx(0.05)
    both = math.prod(found.operating[0].p_pass for found in verdict.criteria)
    assert verdict.operating[0].p_pass == pytest.approx(both, abs=0.015)
    assert [p.true_delta for p in verdict.operating] == [0.0, -0.5, -1.0, -2.0]


def test_two_for_two_points_is_caught():
    with pytest.raises(UsageError, match=r"Write 0\.02 for 2 points"):
        gate(report_of(GOOD), bench("good", 2))


# ── waivers, policy changes ──────────────────────────────────────────────────────────────────

DAY = datetime.timedelta(days=1)


@pytest.mark.parametrize(("left", "outcome"), [(0, "PASS"), (30, "PASS"), (-1, "FAIL")])
def test_a_waiver_holds_through_its_last_day(left, outcome):
    waiver = Waiver("lost", "known", "ana", NOW.date() + left * DAY)
    verdict = gate(report_of(GOOD, LOST), bench("good", 0.02), bench("lost", 0.02),
                   waivers=(waiver,))  # fmt: skip
    assert verdict.outcome == outcome
    assert verdict.criteria[1].outcome == "FAIL"
    assert (verdict.criteria[1].waiver is not None) is (left >= 0)
    (used,) = verdict.waivers
    assert used.honoured is (left >= 0)
    said = " ".join(verdict.flags)
    assert ("expired on 2030-01-14, not honoured" in said) is (left < 0)
    assert ("waived until" in said and "ana" in said) is (left >= 0)


def test_waiving_everything_decides_nothing():
    waiver = Waiver("lost", "known", "ana", NOW.date())
    verdict = gate(report_of(LOST), bench("lost", 0.02), waivers=(waiver,))
    assert verdict.outcome == "INCONCLUSIVE"
    assert "No criterion counts" in verdict.sentence


def test_a_waiver_of_a_check_and_one_that_is_not_needed():
    report = with_preferences(report_of(GOOD), n_battles=100, n_invalid=50)
    waivers = (Waiver("missing_judgments", "x", "o", NOW.date()),
               Waiver("substance", "x", "o", NOW.date()),
               Waiver("good", "x", "o", NOW.date()))  # fmt: skip
    rules = (bench("good", 0.02), bench("also", 0.02, name="also"), SUBSTANCE)
    verdict = gate(report, *rules, waivers=waivers)
    assert verdict.outcome == "INCONCLUSIVE"  # `also` is not measured
    details = {w.criterion: w.detail for w in verdict.waivers}
    assert details["good"] == "not needed: it passes"
    assert "does not count" in details["missing_judgments"]
    rules = (bench("good", 0.02), SUBSTANCE)
    assert gate(report, *rules, waivers=waivers[:2]).outcome == "PASS"


def test_a_waiver_that_names_nothing_is_an_error_or_said():
    far = NOW.date() + DAY
    with pytest.raises(UsageError, match="Did you mean 'good'"):
        gate(report_of(GOOD), bench("good", 0.02), waivers=(Waiver("god", "r", "o", far),))
    verdict = gate(report_of(GOOD), bench("*", 0.02), waivers=(Waiver("later", "r", "o", far),))
    assert verdict.waivers[0].detail == "the report has no such task"
    assert not verdict.waivers[0].honoured


def test_a_changed_policy_is_noticed_and_told():
    first = gate(report_of(GOOD), bench("good", 0.02))
    assert first.policy_change is None
    assert gate(report_of(GOOD), bench("good", 0.02), previous=first).policy_change is None
    waiver = Waiver("new", "r", "o", NOW.date())
    second = gate(
        report_of(GOOD), bench("good", 0.05), bench("new", 0.01), previous=first, name="x",
        checks=Checks(missing_judgments=0.5), waivers=(waiver,),
    )  # fmt: skip
    change = second.policy_change
    assert change is not None
    assert change.previous_digest == first.policy_digest != second.policy_digest
    assert set(change.changes) == {
        "name gate → x", "criterion good: margin 0.02 → 0.05", "criterion new added",
        "check missing_judgments 0.02 → 0.5", "waiver of new added",
    }  # fmt: skip
    assert any("The policy changed since the gate of 2030-01-15" in f for f in second.flags)
    back = gate(report_of(GOOD), bench("good", 0.02), previous=second).policy_change
    assert "criterion new removed" in back.changes


def test_the_digest_of_the_report_is_kept():
    one, other = (gate(report_of(r), bench("*", 0.02)) for r in (GOOD, LOST))
    assert one.report_digest != other.report_digest


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(3)))
def test_the_order_of_criteria_changes_nothing(order):
    rules = [bench("good", 0.02), bench("lost", 0.02), SUBSTANCE]
    one = gate(report_of(GOOD, LOST), *rules)
    other = gate(report_of(GOOD, LOST), *(rules[i] for i in order))
    assert other.outcome == one.outcome
    assert {c.name: c for c in other.criteria} == {c.name: c for c in one.criteria}
