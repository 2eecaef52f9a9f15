"""Stored reports one after another: order, moves, verdicts, references, and what is unreadable."""

from __future__ import annotations

import datetime
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from modeldiff_harness.artifacts import Estimate, Report
from modeldiff_harness.gate.decide import gate_report
from modeldiff_harness.gate.policy_draft import draft_policy
from modeldiff_harness.gate.schema import verdict_json
from modeldiff_harness.history.figure import history_figure, sparkline
from modeldiff_harness.history.gather import gather_history, stored_reports
from modeldiff_harness.history.section import history_sections
from modeldiff_harness.report.render.html import sections_html
from modeldiff_harness.report.schema import to_json
from modeldiff_harness.testing.reports import sample_report, with_preferences


def report(month: int, *, gsm8k: float = 0.0, adapter: str | None = None, **names: str) -> Report:
    """The sample report of one month with gsm8k moved, and another adapter."""
    base = sample_report()
    rows = tuple(
        replace(
            r,
            candidate=r.candidate + gsm8k,
            delta=r.delta + gsm8k,
            lower=r.lower + gsm8k,
            upper=r.upper + gsm8k,
        )
        if r.task == "gsm8k"
        else r
        for r in base.benchmarks.rows
    )
    pair = base.pair
    if adapter is not None:
        pair = replace(pair, candidate=replace(pair.candidate, adapter_digest=adapter))
    for side, name in names.items():
        pair = replace(pair, **{side: replace(getattr(pair, side), name=name)})
    return replace(
        base,
        pair=pair,
        benchmarks=replace(base.benchmarks, rows=rows),
        provenance=replace(base.provenance, date=f"2030-{month:02d}-01T00:00:00+00:00"),
    )


def store(data: Path, name: str, found: Report, kind: str = "runs") -> Path:
    folder = data / kind / name
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(to_json(found), "utf-8")
    return folder


def gathered(data: Path, **choice):
    return gather_history(stored_reports(data), **choice)


def test_reports_stand_in_the_order_of_their_dates(tmp_path: Path) -> None:
    for month in (3, 1, 2):
        store(tmp_path, f"run {month}", report(month, gsm8k=-0.001 * month))
    (pair,) = gathered(tmp_path).pairs
    assert [entry.name for entry in pair.entries] == ["run 1", "run 2", "run 3"]
    assert (pair.reference, pair.moves) == ("run 1", ())
    gsm = [entry.numbers["gsm8k"].estimate for entry in pair.entries]
    assert [b - a for a, b in pairwise(gsm)] == pytest.approx([-0.1, -0.1])
    assert pair.entries[0].numbers["preference, substance"].unit == "Elo"
    assert pair.entries[0].numbers["wikitext"].higher_is_better is False


def test_a_move_is_told_against_the_reference_with_its_sign_and_cause(tmp_path: Path) -> None:
    se = {r.task: r.se for r in sample_report().benchmarks.rows if r.primary}["gsm8k"]
    store(tmp_path, "old", report(1))
    store(tmp_path, "same", report(2, gsm8k=-3.7 * se))
    store(tmp_path, "new", report(3, gsm8k=-3.5 * se))
    store(tmp_path, "other", report(4, gsm8k=4 * se, adapter="f" * 64))
    (pair,) = gathered(tmp_path).pairs
    # √2·2.576 = 3.64 standard errors of one report.
    assert [(m.number, m.entry, m.worse, m.weights_changed) for m in pair.moves] == [
        ("gsm8k", "same", True, False),
        ("gsm8k", "other", False, True),
    ]
    assert pair.moves[0].standard_errors == pytest.approx(-3.7 / 2**0.5)
    assert pair.moves[0].change == pytest.approx(-370 * se)
    (against,) = gathered(tmp_path, reference="same").pairs
    assert [(m.entry, m.since) for m in against.moves] == [("other", "same")]


def test_verdicts_and_changes_of_policy_are_shown(tmp_path: Path) -> None:
    now = datetime.datetime(2030, 5, 1, tzinfo=datetime.UTC)
    for month, name in ((1, "a"), (2, "a"), (3, "b")):
        found = report(month)
        folder = store(tmp_path, f"run {month}", found)
        policy, _ = draft_policy(found, now)
        verdict = gate_report(found, replace(policy, name=name), now=now)
        (folder / "gate.json").write_text(verdict_json(verdict), "utf-8")
    (pair,) = gathered(tmp_path).pairs
    assert {entry.outcome for entry in pair.entries} <= {"PASS", "FAIL", "INCONCLUSIVE"}
    digests = [entry.policy_digest for entry in pair.entries]
    expected = ("run 3",) if digests[1] != digests[2] else ()
    assert pair.policy_changes == expected
    assert digests[0] == digests[1]


def test_a_saved_copy_is_one_entry_with_its_run_and_stays_without_it(tmp_path: Path) -> None:
    folder = store(tmp_path, "run 1", report(1))
    store(tmp_path, "run 2", report(2))
    store(tmp_path, "release", report(1), kind="baselines")
    (pair,) = gathered(tmp_path, reference="release").pairs
    assert [(e.name, e.saved_as) for e in pair.entries] == [("run 1", "release"), ("run 2", None)]
    assert pair.reference == "release"
    (folder / "report.json").unlink()
    (pair,) = gathered(tmp_path).pairs
    assert [e.name for e in pair.entries] == ["release", "run 2"]


def test_pairs_are_apart_and_can_be_chosen(tmp_path: Path) -> None:
    store(tmp_path, "run 1", report(1))
    store(tmp_path, "run 2", report(2, candidate="another"))
    store(tmp_path, "run 3", report(3, baseline="older"))
    assert len(gathered(tmp_path).pairs) == 3
    assert len(gathered(tmp_path, baseline="sample-sft").pairs) == 2
    (pair,) = gathered(tmp_path, baseline="sample-sft", candidate="another").pairs
    assert pair.candidate == "another"


def test_a_report_that_cannot_be_read_does_not_cost_the_others(tmp_path: Path) -> None:
    store(tmp_path, "good", report(1))
    bad = tmp_path / "runs" / "bad"
    bad.mkdir()
    (bad / "report.json").write_text("{", "utf-8")
    damaged = store(tmp_path, "gate", report(2))
    (damaged / "gate.json").write_text("[]", "utf-8")
    history = gathered(tmp_path)
    assert [entry.name for entry in history.pairs[0].entries] == ["good"]
    assert {Path(folder).name for folder in history.unreadable} == {"bad", "gate"}
    assert history_sections(history)[-1].title == "Reports that cannot be read"


def test_the_figure_is_one_svg_and_needs_two_reports(tmp_path: Path) -> None:
    store(tmp_path, "run 1", report(1))
    (pair,) = gathered(tmp_path).pairs
    assert history_figure(pair) is None
    store(tmp_path, "run 2", report(2, gsm8k=0.05))
    (pair,) = gathered(tmp_path).pairs
    figure = history_figure(pair)
    assert figure is not None
    root = ElementTree.fromstring(figure.svg)
    dots = [e for e in root.iter() if e.tag.endswith("circle")]
    assert len(dots) == 2 * len(pair.entries[0].numbers)
    assert "gsm8k: −6.2, −1.2" in figure.alt
    assert root.find("{*}desc").text == figure.alt


def test_sparklines() -> None:
    assert sparkline([0.0, 1.0, 0.5]) == "▁█▅"
    assert sparkline([1.0, None, 1.0]) == "▄·▄"
    assert sparkline([None]) == ""


def test_hostile_names_are_text_on_the_page(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>"
    base = report(1, candidate=nasty)
    rows = tuple(replace(r, task=nasty) if r.task == "gsm8k" else r for r in base.benchmarks.rows)
    hostile = replace(base, benchmarks=replace(base.benchmarks, rows=rows))
    store(tmp_path, "run 1", hostile)
    store(tmp_path, "run 2", with_preferences(hostile, raw_elo=Estimate(1, 0, 2, 0.5)))
    page = sections_html(history_sections(gathered(tmp_path)), "History", "mdh history")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
