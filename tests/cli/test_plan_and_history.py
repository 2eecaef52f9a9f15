"""`mdh plan`, `mdh baseline` and `mdh history` as a reviewer calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modeldiff_harness.artifacts import Report
from modeldiff_harness.report.schema import to_json
from modeldiff_harness.testing.reports import sample_report


def store(folder: Path, report: Report | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(to_json(report or sample_report()), "utf-8")
    (folder / "run.json").write_text('{"pair": ["a", "b"]}', "utf-8")
    return folder


# ── plan ─────────────────────────────────────────────────────────────────────────────────────


def test_our_tasks_are_counted_and_known_ones_looked_up(light: Any) -> None:
    said = light("plan", "--tasks", "gsm8k,mdh_refusal,20_newsgroups", "--format", "json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    rows = Path(__file__).parents[2] / "tasks" / "mdh_refusal" / "data.jsonl"
    n_lines = len(rows.read_text("utf-8").splitlines())
    assert [task["n_items"] for task in found["tasks"]] == [1_319, n_lines, None]
    assert found["preference"]["basis"] == "assumed"


def test_lists_margins_and_dashes(light: Any) -> None:
    said = light("plan", "--tasks", "gsm8k", "arc_easy", "--margin", "3,arc_easy=1",
                 "--elo-margin", "40", "--format", "json")  # fmt: skip
    found = json.loads(said.out)
    assert [task["margin"] for task in found["tasks"]] == [3.0, 1.0]
    assert found["preference"]["margin_elo"] == 40.0


def test_a_run_is_planned_from(light: Any, data: Path) -> None:
    store(data / "runs" / "first")
    text = light("plan", "--run", "latest").out
    assert "gsm8k" in text
    assert "from" in text
    found = json.loads(light("plan", "--run", "first", "--format", "json").out)
    assert {task["discordance_from"] for task in found["tasks"]} == {"run"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "nothing to plan.*--tasks.*--run"),
        (("--tasks", "gsm8k", "--margin", "much"), "'much', which is no number"),
        (("--tasks", "gsm8k", "--margin", "0"), "margin is 0.0; it takes .*more than 0"),
        (("--tasks", "gsm8k", "--margin", "2,gsm=1"), "Did you mean 'gsm8k'"),
        (("--tasks", "gsm8k", "--power", "1"), "power is 1.0"),
        (("--tasks", "gsm8k", "--confidence", "2"), "confidence is 2.0"),
        (("--tasks", "gsm8k", "--discordance", "3"), "discordance is 3.0; it takes"),
        (("--tasks", "gsm8k", "--sign_consistency", "2"), "sign_consistency is 2.0; it takes"),
        (("--tasks", "gsm8k", "--margin", "inf"), "margin is inf; it takes .*more than 0"),
        (("--tasks", "gsm8k", "--margin", "nan"), "margin is nan; it takes .*more than 0"),
        (("--tasks", "gsm8k", "--margin", "500"), "is 500; it takes .* at most 100 points"),
        (("--tasks", "gsm8k", "--margin", "2,gsm8k=inf"), "margin of 'gsm8k' is inf; it takes"),
        (("--tasks", "gsm8k", "--elo_margin", "nan"), "elo_margin is nan; it takes .*more than 0"),
        (("--tasks", "gsm8k", "--discordance", "0"), "discordance is 0.0; it takes .*more than 0"),
        (
            ("--tasks", "gsm8k", "--discordance", "nan"),
            "discordance is nan; it takes .*than 0",
        ),
        (("--tasks", "gsm8k", "--sign_consistency", "nan"), "sign_consistency is nan; it takes"),
        (("--tasks", "gsm9k"), "unknown task 'gsm9k'. Did you mean 'gsm8k'"),
        (("--tasks", ""), "--tasks names nothing"),
        (("--tasks", " , "), "--tasks names nothing"),
        (("--run", "nowhere"), "no run 'nowhere'"),
    ],
)
def test_bad_plans_are_one_line(arguments: tuple[str, ...], says: str, light: Any) -> None:
    said = light("plan", *arguments)
    assert said.refused(says), said.err


# ── baseline and history ─────────────────────────────────────────────────────────────────────


def test_a_reference_is_kept_listed_replaced_and_removed(light: Any, data: Path) -> None:
    run = store(data / "runs" / "first")
    said = light("baseline", "save", "latest", "--name", "release-1")
    assert said.out == f"{data / 'baselines' / 'release-1'}\n"
    kept = data / "baselines" / "release-1" / "report.json"
    assert kept.read_text("utf-8") == (run / "report.json").read_text("utf-8")
    assert light("baseline", "save", run, "--name", "release-1").refused("Add --replace")
    assert light("baseline", "save", run, "--name", "release-1", "--replace").code == 0
    (row,) = json.loads(light("baseline", "list", "--json").out)
    assert (row["name"], row["saved_as"]) == ("release-1", "release-1")
    assert "sample-sft → sample-simpo" in light("baseline", "list").out
    assert light("baseline", "remove", "release").refused("Did you mean 'release-1'")
    assert light("baseline", "remove", "release-1").code == 0
    assert not kept.parent.exists()


def test_history_in_every_form(light: Any, data: Path, tmp_path: Path) -> None:
    store(data / "runs" / "first")
    other = store(tmp_path / "elsewhere")
    text = light("history", other).out
    assert "History: sample-sft → sample-simpo" in text
    assert "2 reports" in text
    found = json.loads(light("history", other, "--format", "json").out)
    assert [entry["name"] for entry in found["pairs"][0]["entries"]] == ["elsewhere", "first"]
    page = tmp_path / "h.html"
    assert light("history", other, "--format", "html", "--output", page).out == f"{page}\n"
    html = page.read_text("utf-8")
    assert "<svg" in html
    assert "<script" not in html
    assert html.count("://") == html.count("http://www.w3.org/2000/svg") == 1


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (("history", "--pair", "x,y"), "no stored report of x and y", 2),
        (("history", "--pair", "x,y,z"), "one or two models, got 3", 2),
        (("history", "--against", "firs"), "Did you mean 'first'", 2),
        (("history", "{tmp}"), "no report.json in", 2),
        (("baseline", "save", "nowhere", "--name", "x"), "no run 'nowhere'", 2),
        (("baseline", "save", "first", "--name", "../x"), "no name for a reference", 2),
        (("baseline", "save", "broken", "--name", "x"), "unreadable", 4),
        (("baseline", "remove", "../runs"), "no reference '../runs'", 2),
    ],
)
def test_bad_requests_are_one_line(
    arguments: tuple[str, ...], says: str, code: int, light: Any, data: Path, tmp_path: Path
) -> None:
    store(data / "runs" / "first")
    broken = store(data / "runs" / "broken")
    (broken / "report.json").write_text("{", "utf-8")
    said = light(*(a.format(tmp=tmp_path) for a in arguments))
    assert said.refused(says, code), said.err


def test_an_empty_data_folder_says_what_to_do(light: Any) -> None:
    assert light("history").refused("there is no stored report.*mdh evaluate")
    assert light("baseline", "list").code == 0
