"""Every way that once led to a wrong PASS, with the verdict it has now: result files to exit code.

A case writes two folders of results, calls `mdh compare` and `mdh gate` as a user would, and states
the exit codes.  Preferences, which `compare` does not take, are gated from a report.
"""

from __future__ import annotations

import datetime
import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from modeldiff_harness.artifacts import Estimate, Report
from modeldiff_harness.gate.decide import gate_report
from modeldiff_harness.gate.policy import ModelPins, Policy, Rule, model_digest
from modeldiff_harness.report.render.write import write_report
from modeldiff_harness.testing.reports import sample_report, with_preferences
from modeldiff_harness.testing.result_files import (
    ResultItem,
    inspect_log,
    inspect_sample,
    items_of,
    lm_eval_row,
    write_inspect_eval,
    write_lighteval,
    write_lm_eval,
)

NOW = datetime.datetime(2030, 1, 15, 12, 0, tzinfo=datetime.UTC)
PASS, FAIL, USAGE, OPEN = 0, 1, 2, 3
MARGIN_2 = 'criteria:\n  - benchmark: "*"\n    margin: 0.02\n'
MARGIN_1 = 'criteria:\n  - benchmark: "*"\n    margin: 0.01\n'
RIGHT = [1.0] * 1400 + [0.0] * 600
"""2,000 items, 70 % right."""
LOST = [0.0] * 400 + [1.0] * 1000 + [0.0] * 600
"""The same with 400 items lost: −20 points."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Side:
    """What one folder of lm-eval holds of the task `t`."""

    values: Sequence[float]
    metric: str = "acc"
    without: frozenset[int] = frozenset()
    """Items that are in the results file and not among the samples."""
    changes: dict[str, Any] = field(default_factory=dict)
    configs: dict[str, Any] = field(default_factory=dict)
    question: Callable[[int], str] = "Question {}?".format
    doc: Callable[[int], dict[str, Any]] = lambda _i: {}

    def write(self, folder: Path, model: str) -> Path:
        items = [
            ResultItem(i, value, question=self.question(i), doc=self.doc(i))
            for i, value in enumerate(self.values)
        ]
        rows = [lm_eval_row(item, self.metric) for item in items if item.number not in self.without]
        n = len(self.values)
        finite = [value for value in self.values if math.isfinite(value)]
        printed = {"t": {f"{self.metric},none": sum(finite) / len(finite)}}
        counts = {"t": {"original": n, "effective": n}}
        changes = {"results": printed, "n-samples": counts, **self.changes}
        return write_lm_eval(
            folder, {"t": rows}, model=model, changes=changes, configs={"t": self.configs}
        )


@dataclass(frozen=True)
class Case:
    baseline: Side
    candidate: Side
    says: str
    """In the verdict, or in the line that refuses."""
    gate: int = OPEN
    compare: int = 0
    options: tuple[str, ...] = ()
    policy: str = MARGIN_2


def nan_where(lost: range, values: Sequence[float]) -> list[float]:
    return [math.nan if i in lost else value for i, value in enumerate(values)]


NANMEAN = {"metric_list": [{"metric": "acc", "aggregation": "nanmean"}]}
KEPT = [*RIGHT[400:]]
ALLOW = ("--allow_unmatched",)
FIVE_SHOTS = {"n-shot": {"t": 5}}
NO_SHOTS = {"n-shot": {}}

CASES = {
    "an equal pair of 2,000": Case(Side(RIGHT), Side(RIGHT), "exclude", gate=PASS),
    "20 points lost": Case(Side(RIGHT), Side(LOST), "lost significantly", gate=FAIL),
    "an honest pair of 6,000 with 3 % discordance": Case(
        Side([1.0] * 90 + [0.0] * 90 + [1.0] * 5820),
        Side([0.0] * 90 + [1.0] * 90 + [1.0] * 5820),
        "excludes", gate=PASS, policy=MARGIN_1,
    ),
    "two items of a continuous metric": Case(
        Side([0.5, 0.6], "score"), Side([0.501, 0.602], "score"), ""),
    "five items, one moved by a thousandth": Case(
        Side([0.5] * 5, "score"), Side([0.501, *[0.5] * 4], "score"), ""),
    "50 items in 10 clusters, one fixed": Case(
        Side([0.0] * 50, doc=lambda i: {"page": i // 5}),
        Side([1.0, *[0.0] * 49], doc=lambda i: {"page": i // 5}),
        "", options=("--cluster", "t=page"),
    ),
    "NaN on every item lost, aggregation nanmean": Case(
        Side(RIGHT, configs=NANMEAN), Side(nan_where(range(400), RIGHT), configs=NANMEAN),
        "no difference",
    ),
    "NaN on every item lost": Case(
        Side(RIGHT), Side(nan_where(range(400), RIGHT)), "not scored", compare=USAGE),
    "NaN on every item lost, allowed": Case(
        Side(RIGHT), Side(nan_where(range(400), RIGHT)), "no difference", options=ALLOW),
    "one NaN, allowed": Case(
        Side(RIGHT), Side(nan_where(range(1), RIGHT)), "exclude", gate=PASS, options=ALLOW),
    "samples of both sides lack the lost items": Case(
        Side(RIGHT, without=frozenset(range(400))), Side(LOST, without=frozenset(range(400))),
        "count 2,000 items, its samples hold 1,600", compare=USAGE,
    ),
    "the same, allowed": Case(
        Side(RIGHT, without=frozenset(range(400))), Side(LOST, without=frozenset(range(400))),
        "no difference", options=ALLOW,
    ),
    "both files cut at one line": Case(
        Side(RIGHT[::-1], without=frozenset(range(1500, 2000))),
        Side(LOST[::-1], without=frozenset(range(1500, 2000))),
        "cut off", compare=USAGE,
    ),
    "both cut within one per cent": Case(
        Side(RIGHT, without=frozenset(range(19))),
        Side([0.0] * 19 + RIGHT[19:], without=frozenset(range(19))),
        "was printed", policy=MARGIN_1,
    ),
    "the candidate printed another number": Case(
        Side(RIGHT), Side(RIGHT, changes={"results": {"t": {"acc,none": 0.5}}}), "was printed"),
    "the baseline printed another number": Case(
        Side(RIGHT, changes={"results": {"t": {"acc,none": 0.9}}}), Side(RIGHT), "was printed"),
    "the candidate lacks .95 % of the items under a 1 point margin": Case(
        Side(RIGHT), Side(RIGHT, without=frozenset(range(19)), changes={
            "n-samples": {"t": {"original": 1981, "effective": 1981}},
            "results": {"t": {"acc,none": sum(RIGHT[19:]) / 1981}}}),
        "19 missing items at their worst", policy=MARGIN_1,
    ),
    "5 shots against shots that are not recorded": Case(
        Side(RIGHT, changes=FIVE_SHOTS), Side(RIGHT, changes=NO_SHOTS), "number of shots is 5"),
    "a version against none": Case(
        Side(RIGHT), Side(RIGHT, changes={"versions": {}}), "task version is 1.0"),
    "5 shots against none": Case(
        Side(RIGHT, changes=FIVE_SHOTS), Side(RIGHT), "num_fewshot differs", compare=USAGE),
    "another version": Case(
        Side(RIGHT), Side(RIGHT, changes={"versions": {"t": 2.0}}), "version differs",
        compare=USAGE),
    "higher is better here, lower there": Case(
        Side(RIGHT), Side(RIGHT, changes={"higher_is_better": {"t": {"acc": False}}}),
        "higher is better by the baseline's results"),
    "a direction of a task that is not compared": Case(
        Side(RIGHT), Side(LOST), "a direction is given for 'tt:acc'", compare=USAGE,
        options=("--lower_is_better", "tt:acc")),
    "a direction of a metric that is not there": Case(
        Side(RIGHT), Side(LOST), "Did you mean 'acc'", compare=USAGE,
        options=("--lower_is_better", "acx")),
    "a cluster key of a task that is not compared": Case(
        Side(RIGHT), Side(LOST), "a cluster key is given for 'tt'", compare=USAGE,
        options=("--cluster", "tt=page")),
    "a task that the policy requires and the run lacks": Case(
        Side(RIGHT), Side(RIGHT), "u was not measured",
        policy=f"tasks: [t, u]\n{MARGIN_2}"),
    "a required task that no criterion names": Case(
        Side(RIGHT), Side(RIGHT), "no required criterion names t",
        policy="tasks: [t]\ncriteria:\n  - benchmark: t2\n    margin: 0.02\n    required: false\n"
        "  - benchmark: t2\n    name: again\n    margin: 0.02\n    required: false\n"),
    "other models than the pinned ones": Case(
        Side(RIGHT), Side(RIGHT), "not 0123456789ab",
        policy=f"models: {{baseline: 0123456789abcdef}}\n{MARGIN_2}"),
    "30 copies of 60 documents under new numbers": Case(
        Side([float(i % 60 < 40) for i in range(1800)], question=lambda i: f"Q {i % 60}"),
        Side([float(1 <= i % 60 < 40) for i in range(1800)], question=lambda i: f"Q {i % 60}"),
        "1,740 of 1,800 items repeat the document"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_pass_speaks_of_everything(name: str, tmp_path: Path, mdh: Any) -> None:
    case = CASES[name]
    sides = case.baseline.write(tmp_path / "a", "old"), case.candidate.write(tmp_path / "b", "new")
    compared = mdh("compare", *sides, *case.options, "--output_path", tmp_path / "out")
    assert compared.code == case.compare, compared.err
    if case.compare:
        assert case.says in compared.error_line()
        return
    policy = tmp_path / "gate.yaml"
    policy.write_text(case.policy, encoding="utf-8")
    said = mdh("gate", tmp_path / "out", "--policy", policy)
    assert said.code == case.gate, said.out
    told = (tmp_path / "out" / "gate.json").read_text("utf-8")
    notes = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))["benchmarks"]["notes"]
    assert case.says in "\n".join([told, *notes])


# ── unscored items of other programs ─────────────────────────────────────────────────────────


def as_inspect(folder: Path, name: str, values: Sequence[float]) -> Path:
    samples = [inspect_sample(item) for item in items_of([float(v == 1) for v in values])]
    for sample, value in zip(samples, values, strict=True):
        if math.isnan(value):
            sample["scores"] = {}
    folder.mkdir(parents=True, exist_ok=True)
    return write_inspect_eval(folder / f"{name}.eval", inspect_log(samples, model=name))


def as_lighteval(folder: Path, name: str, values: Sequence[float]) -> Path:
    return write_lighteval(folder, {"t|0": items_of(values)}, model=name)


@pytest.mark.parametrize("write", [as_inspect, as_lighteval])
def test_unscored_items_that_are_allowed_do_not_pass(write, tmp_path: Path, mdh: Any) -> None:
    """Every item that the candidate lost is not scored: +0 points are shown, −20 are true."""
    a = write(tmp_path / "a", "old", RIGHT)
    b = write(tmp_path / "b", "new", nan_where(range(400), RIGHT))
    out = tmp_path / "out"
    assert mdh("compare", a, b, "--allow_unmatched", "--output_path", out).code == 0
    said = mdh("gate", out)
    assert said.code == OPEN, said.out
    assert "no difference" in (out / "gate.json").read_text("utf-8")


def test_a_run_that_ended_as_an_error_does_not_pass_when_it_is_allowed(tmp_path, mdh) -> None:
    a = as_inspect(tmp_path / "a", "old", RIGHT)
    samples = [inspect_sample(item) for item in items_of(RIGHT)][:1000]
    (tmp_path / "b").mkdir()
    log = inspect_log(samples, model="new", status="error")
    b = write_inspect_eval(tmp_path / "b" / "new.eval", log)
    assert mdh("compare", a, b).code == USAGE
    out = tmp_path / "out"
    assert mdh("compare", a, b, "--allow_unmatched", "--output_path", out).code == 0
    assert mdh("gate", out).code == OPEN


# ── several tasks, groups, reruns ────────────────────────────────────────────────────────────


def two_tasks(folder: Path, model: str, bad_version: float) -> Path:
    tasks = {
        name: [lm_eval_row(item) for item in items_of(RIGHT)] for name in ("gsm8k", "minerva_math")
    }
    versions = {"gsm8k": 1.0, "minerva_math": bad_version}
    return write_lm_eval(
        folder, tasks, model=model, changes={"versions": versions},
        groups={"maths": ["gsm8k", "minerva_math"]},
    )  # fmt: skip


@pytest.mark.parametrize("criterion", ["capability: math_reasoning", "benchmark: maths"])
def test_a_task_that_failed_enters_its_capability_and_its_group(criterion, tmp_path, mdh) -> None:
    sides = two_tasks(tmp_path / "a", "old", 1.0), two_tasks(tmp_path / "b", "new", 2.0)
    out, policy = tmp_path / "out", tmp_path / "gate.yaml"
    assert mdh("compare", *sides, "--output_path", out).code == 0
    policy.write_text(f"criteria:\n  - {criterion}\n    margin: 0.02\n", encoding="utf-8")
    said = mdh("gate", out, "--policy", policy)
    assert said.code == OPEN, said.out
    assert "failed" in (out / "gate.json").read_text("utf-8")


def test_a_task_that_failed_is_drafted_and_required(tmp_path, mdh) -> None:
    sides = two_tasks(tmp_path / "a", "old", 1.0), two_tasks(tmp_path / "b", "new", 2.0)
    out, policy = tmp_path / "out", tmp_path / "gate.yaml"
    assert mdh("compare", *sides, "--output_path", out).code == 0
    assert mdh("gate", "init", out, "--output", policy).code == 0
    text = policy.read_text("utf-8")
    assert "- benchmark: minerva_math" in text
    assert "  - minerva_math" in text
    assert mdh("gate", out, "--policy", policy).code == OPEN


def test_another_primary_metric_is_said_and_holds(tmp_path, mdh) -> None:
    rows = [lm_eval_row(item, "acc") for item in items_of(RIGHT)]
    both = [{**row, "metrics": ["acc", "acc_norm"], "acc_norm": 1 - row["acc"]} for row in rows]
    a = write_lm_eval(tmp_path / "a", {"t": both}, model="old")
    b = write_lm_eval(tmp_path / "b", {"t": rows}, model="new")
    out, policy = tmp_path / "out", tmp_path / "gate.yaml"
    policy.write_text(MARGIN_2, encoding="utf-8")
    assert mdh("compare", a, b, "--output_path", out).code == 0
    assert mdh("gate", out, "--policy", policy).code == OPEN
    assert "primary metric is acc_norm" in (out / "gate.json").read_text("utf-8")
    assert mdh("compare", a, b, "--metric", "t=acc", "--output_path", out).code == 0
    assert mdh("gate", out, "--policy", policy).code == PASS


@pytest.mark.parametrize("copied", [False, True])
def test_a_rerun_that_is_the_baseline_itself_is_refused(copied, tmp_path, mdh) -> None:
    a, b = Side(RIGHT).write(tmp_path / "a", "old"), Side(RIGHT).write(tmp_path / "b", "new")
    again = Path(shutil.copytree(a, tmp_path / "copy")) if copied else a
    said = mdh("compare", a, b, "--rerun", again)
    assert said.code == USAGE
    assert "says nothing about noise" in said.error_line()


def test_a_rerun_of_other_tasks_is_refused(tmp_path, mdh) -> None:
    a, b = Side(RIGHT).write(tmp_path / "a", "old"), Side(RIGHT).write(tmp_path / "b", "new")
    rows = [lm_eval_row(item) for item in items_of([1.0])]
    other = write_lm_eval(tmp_path / "c", {"other": rows}, model="old")
    said = mdh("compare", a, b, "--rerun", other)
    assert said.code == USAGE
    assert "none of the tasks compared" in said.error_line()


# ── preferences, models and looks, from a report ─────────────────────────────────────────────

SUBSTANCE = Rule("substance", "preference", "substance", 20.0)
EQUAL = Estimate(0.0, -8.0, 8.0, 4.1, method="normal")
SAMPLE = with_preferences(
    sample_report(), n_invalid=0, n_prompts=2000, n_clusters=2000, n_battles=4000,
    substance_elo=EQUAL, raw_elo=EQUAL, win_rate=Estimate(0.5, 0.49, 0.51),
)  # fmt: skip


def verdict(report: Report, *rules: Rule, **more: Any) -> Any:
    return gate_report(report, Policy(rules or (SUBSTANCE,), **more), now=NOW)


PREFERENCES: dict[str, tuple[dict[str, Any], str, str]] = {
    "all there": ({}, "PASS", "excludes"),
    "40 prompts, 39 ties and one win": (
        {"n_prompts": 40, "n_clusters": 40, "n_battles": 40, "tie_rate": 0.975,
         "flags": ("few_decided:1",)},
        "INCONCLUSIVE", "hardly any prompt prefers a side",
    ),
    "the candidate always on one side": (
        {"flags": ("position_not_identified",)}, "INCONCLUSIVE", "always on one side"),
    "1,700 rows with unreadable winners": (
        {"n_invalid": 1700, "dropped": {"unknown winner 'A wins'": 1700}},
        "INCONCLUSIVE", "29.8 % of the judgments"),
    "winners missing, two per cent of many": (
        {"n_invalid": 70,
         "substance_elo": Estimate(-8, -18.5, 2.5, 5.36, method="normal")},
        "INCONCLUSIVE", "70 missing judgments at their worst",
    ),
    "rows that a data set leaves out": (
        {"dropped": {"left out by the data set's deduplication": 1700}}, "PASS", "excludes"),
    "a raw loss of 96 Elo that style explains": (
        {"raw_elo": Estimate(-96, -110, -82, 7), "style_elo": Estimate(-95, -105, -85, 5)},
        "PASS", "Raw loss: the raw preference of −96"),
}  # fmt: skip


@pytest.mark.parametrize("name", PREFERENCES)
def test_preferences_pass_only_where_all_was_judged(name: str) -> None:
    changes, outcome, says = PREFERENCES[name]
    found = verdict(with_preferences(SAMPLE, **changes))
    (criterion,) = found.criteria
    assert found.outcome == outcome, criterion.reason
    assert says in " ".join([found.sentence, criterion.reason, *found.flags])


def test_a_hidden_raw_loss_can_hold_the_gate(tmp_path, mdh) -> None:
    changes, _, _ = PREFERENCES["a raw loss of 96 Elo that style explains"]
    folder, policy = tmp_path / "run", tmp_path / "gate.yaml"
    folder.mkdir()
    write_report(with_preferences(SAMPLE, **changes), folder, ())
    text = "criteria:\n  - preference: substance\n    margin_elo: 20\n"
    for checks, code in (("", PASS), ("checks:\n  style_hidden_loss: hold\n", OPEN)):
        policy.write_text(text + checks, encoding="utf-8")
        assert mdh("gate", folder, "--policy", policy).code == code


PIQA = Rule("piqa", "benchmark", "piqa", 0.05)


def test_pinned_models_pass_and_swapped_ones_do_not() -> None:
    pins = ModelPins(*(model_digest(m) for m in (SAMPLE.pair.baseline, SAMPLE.pair.candidate)))
    assert verdict(SAMPLE, PIQA, models=pins).outcome == "PASS"
    swapped = replace(
        SAMPLE,
        pair=replace(
            SAMPLE.pair, baseline=SAMPLE.pair.candidate, candidate=SAMPLE.pair.baseline
        ),
    )  # fmt: skip
    found = verdict(swapped, PIQA, models=pins)
    assert found.outcome == "INCONCLUSIVE"
    assert "baseline and candidate are swapped" in found.sentence


def test_looks_are_counted_said_and_spent() -> None:
    policy = Policy((PIQA,))
    first = gate_report(SAMPLE, policy, now=NOW)
    again = gate_report(SAMPLE, policy, now=NOW, previous=first)
    other = replace(SAMPLE, summary=("Another run.",))
    second = gate_report(other, policy, now=NOW, previous=again)
    assert (first.look, again.look, second.look) == (1, 1, 2)
    assert not any("look" in flag for flag in first.flags)
    assert any("This is look 2" in flag for flag in second.flags)
    planned = replace(policy, looks=2)
    looks = [gate_report(SAMPLE, planned, now=NOW)]
    for text in ("b", "c"):
        report = replace(SAMPLE, summary=(text,))
        looks.append(gate_report(report, planned, now=NOW, previous=looks[-1]))
    assert [found.confidence for found in looks] == pytest.approx([0.95] * 3)
    assert [found.family_alpha for found in looks] == pytest.approx([0.025] * 3)
    assert [found.outcome for found in looks] == ["PASS", "PASS", "INCONCLUSIVE"]
    assert "look 3 of 2" in looks[-1].sentence


def test_a_collapse_out_of_the_unit_stays_with_its_pattern() -> None:
    """Bits per byte from .9 to 1.6: no longer between 0 and 1, and no reason to leave it out."""
    row = replace(
        next(r for r in SAMPLE.benchmarks.rows if r.task == "piqa"),
        metric="bits_per_byte", higher_is_better=False, baseline=0.9, candidate=1.6, delta=0.7,
        se=0.02, lower=0.66, upper=0.74, p=1e-9, counts=None,
    )  # fmt: skip
    report = replace(SAMPLE, benchmarks=replace(SAMPLE.benchmarks, rows=(row,)))
    assert verdict(report, Rule("all", "benchmark", "*", 0.02)).outcome == "FAIL"


RANGES = {
    "margin": ("criteria:\n  - benchmark: t\n    margin: 1e-300", "between 1e-06 and 1e+06"),
    "400 digits": (
        f"criteria:\n  - benchmark: t\n    margin: {'9' * 400}", "a number of 400 characters"),
    "9000 digits": (f"criteria:\n  - benchmark: t\n    margin: {'9' * 9000}", "line 3"),
    "confidence": (f"confidence: .9999999999999999\n{MARGIN_2}", "between 0.5 and 0.999"),
    "confidence of 0": (f"confidence: 0\n{MARGIN_2}", "between 0.5 and 0.999"),
    "alpha": (f"family_alpha: 1e-300\n{MARGIN_2}", "between 0.0001 and 0.5"),
    "elo": ("criteria:\n  - preference: raw\n    margin_elo: 1e9", "between 1 and 1000"),
    "looks": (f"looks: 0\n{MARGIN_2}", "between 1 and 100"),
    "looks of 400 digits": (f"looks: {'9' * 400}\n{MARGIN_2}", "a number of 400 characters"),
    "conflicts": (f"{MARGIN_2}checks:\n  lens_conflicts: -1", "between 0 and 1000"),
    "a share": (f"{MARGIN_2}checks:\n  missing_judgments: 2", "between 0 and 1"),
    "int that is none": (
        "criteria:\n  - benchmark: t\n    margin: !!int abc", "is no whole number"),
    "bool that is none": (
        "criteria:\n  - benchmark: t\n    margin: 1\n    required: !!bool zzz",
        "neither true nor false"),
    "time that is none": (
        "criteria:\n  - benchmark: t\n    margin: !!timestamp abc", "is not understood"),
    "a required task without a name": (f'tasks: [""]\n{MARGIN_2}', "names no task"),
    "a short pin": (f"models: {{baseline: abc}}\n{MARGIN_2}", "first 12 characters"),
}  # fmt: skip


@pytest.mark.parametrize("name", RANGES)
def test_a_policy_outside_what_a_decision_can_mean_is_one_line(name, tmp_path, mdh) -> None:
    text, says = RANGES[name]
    folder, policy = tmp_path / "run", tmp_path / "gate.yaml"
    folder.mkdir()
    write_report(SAMPLE, folder, ())
    policy.write_text(text, encoding="utf-8")
    said = mdh("gate", folder, "--policy", policy)
    assert said.code == USAGE, said.err
    assert says in said.error_line()
