"""`mdh gate`: ways to call it, exit codes, files, GitHub, bad input, and no torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from modeldiff_harness.artifacts import PreferencesReport
from modeldiff_harness.plugins import load_registry
from modeldiff_harness.report.render.write import write_report
from modeldiff_harness.testing.reports import sample_report

SECTIONS = load_registry().sections()
PASSING = "criteria:\n  - benchmark: piqa\n    margin: 0.05\n"
FAILING = "criteria:\n  - benchmark: gsm8k\n    margin: 0.02\n"
OPEN = "criteria:\n  - benchmark: arc_easy\n    margin: 0.02\n"


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    write_report(sample_report(), folder, SECTIONS)
    return folder


@pytest.fixture
def policy(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "gate.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("text", "code", "outcome"),
    [(PASSING, 0, "PASS"), (FAILING, 1, "FAIL"), (OPEN, 3, "INCONCLUSIVE")],
)
def test_the_exit_code_is_the_verdict(text, code, outcome, run, policy, mdh):
    said = mdh("gate", run, "--policy", policy(text))
    assert said.code == code, said.err
    assert outcome in said.out
    assert f"exit code {code}" in said.out
    verdict = json.loads((run / "gate.json").read_text("utf-8"))
    assert (verdict["outcome"], verdict["exit_code"]) == (outcome, code)
    assert str(run / "gate.json") in said.out
    if code:
        assert "the gate" in said.error_line()
    else:
        assert said.err == ""


@pytest.mark.parametrize("text", [PASSING, FAILING, OPEN])
def test_report_only_ends_well_and_says_the_code(text, run, policy, mdh):
    without = mdh("gate", run, "--policy", policy(text)).code
    said = mdh("gate", run, "--policy", policy(text), "--report_only")
    assert said.code == 0
    assert f"the exit code would be {without}" in said.out


@pytest.mark.parametrize("written", ["folder", "file", "options first", "check", "dashes"])
def test_ways_to_name_the_run(written, run, policy, mdh):
    file = policy(PASSING)
    arguments = {
        "folder": (run, "--policy", file),
        "file": (run / "report.json", "--policy", file),
        "options first": ("--policy", file, run),
        "check": ("check", run, "--policy", file),
        "dashes": (run, "--policy", file, "--report-only", "--output-path", run / "elsewhere"),
    }[written]
    assert mdh("gate", *arguments).code == 0
    assert (run / ("elsewhere" if written == "dashes" else "") / "gate.json").exists()


def test_names_of_runs_and_latest(run, policy, mdh, tmp_path):
    environment = {"MDH_STORE": str(tmp_path / "store")}
    folder = tmp_path / "store" / "data" / "runs" / "a--b-1"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    write_report(sample_report(), folder, SECTIONS)
    for words in ((), ("latest",), ("a--b-1",)):
        assert mdh("gate", *words, "--policy", policy(PASSING), environment=environment).code == 0
    # a run that is called like a command
    other = folder.with_name("init")
    folder.rename(other)
    said = mdh("gate", "check", "init", "--policy", policy(PASSING), environment=environment)
    assert said.code == 0, said.err


def test_help_shows_the_options_and_the_commands(mdh):
    said = mdh("gate", "--help")
    assert said.code == 0
    for word in ("--policy", "--step_summary", "init", "simulate", "check"):
        assert word in said.out


def test_without_a_policy_the_defaults_hold_and_are_printed(run, mdh):
    said = mdh("gate", run, "--format", "json")
    assert said.code == 1
    verdict = json.loads(said.out)
    margins = {c["name"]: c["margin"] for c in verdict["criteria"]}
    assert (margins["mdh_refusal"], margins["piqa"]) == (0.01, 0.02)
    assert margins["preference substance"] == 20
    assert any("No policy was named" in flag for flag in verdict["flags"])


def test_the_report_shows_the_verdict_afterwards(run, policy, mdh):
    assert "Release gate" not in mdh("report", run).out
    mdh("gate", run, "--policy", policy(FAILING))
    for output_format in ("terminal", "md", "html"):
        assert "FAIL – exit code 1" in mdh("report", run, "--format", output_format).out
    other = replace(sample_report(), summary=("Other findings.",))
    write_report(other, run, SECTIONS)
    assert "Release gate" not in mdh("report", run).out


def test_a_second_gate_notices_the_changed_policy(run, policy, mdh, tmp_path):
    mdh("gate", run, "--policy", policy(FAILING))
    kept = tmp_path / "last.json"
    kept.write_text((run / "gate.json").read_text("utf-8"), encoding="utf-8")
    said = mdh("gate", run, "--policy", policy(FAILING.replace("0.02", "0.1")))
    assert "criterion gsm8k: margin 0.02 → 0.1" in " ".join(said.out.split())
    again = mdh("gate", run, "--policy", policy(FAILING.replace("0.02", "0.1")))
    assert "The policy changed" not in again.out
    against = mdh(
        "gate", run, "--policy", policy(FAILING.replace("0.02", "0.2")), "--previous", kept
    )
    assert "margin 0.02 → 0.2" in " ".join(against.out.split())


# ── GitHub ───────────────────────────────────────────────────────────────────────────────────


def test_inside_a_workflow_summary_and_annotations_appear_by_themselves(run, policy, mdh, tmp_path):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    environment = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    said = mdh("gate", run, "--policy", policy(FAILING), environment=environment)
    assert said.code == 1
    text = summary.read_text("utf-8")
    assert text.startswith("before\n## ❌ FAIL")
    lines = said.out.splitlines()
    token = re.fullmatch(r"::stop-commands::([0-9a-f]{32})", lines[0])[1]
    resumed = lines.index(f"::{token}::")
    commands = [line for line in lines if line.startswith("::")]
    assert [lines.index(line) > resumed for line in commands[2:]] == [True] * len(commands[2:])
    assert any(line.startswith("::error title=") for line in lines[resumed:])


def test_json_stays_whole_beside_annotations(run, policy, mdh):
    environment = {"GITHUB_ACTIONS": "true"}
    said = mdh("gate", run, "--policy", policy(FAILING), "--format", "json",
               environment=environment)  # fmt: skip
    assert json.loads(said.out)["outcome"] == "FAIL"
    assert "::error" in said.err
    quiet = mdh("gate", run, "--policy", policy(FAILING), "--no_annotations",
                environment=environment)  # fmt: skip
    assert "::" not in quiet.out + quiet.err


def test_junit_and_summary_go_where_they_are_asked(run, policy, mdh, tmp_path):
    junit, summary = tmp_path / "junit.xml", tmp_path / "s.md"
    mdh("gate", run, "--policy", policy(PASSING), "--junit", junit, "--step_summary", summary)
    assert junit.read_text("utf-8") == (run / "gate.xml").read_text("utf-8")
    assert "✅ PASS" in summary.read_text("utf-8")


# ── init, simulate ───────────────────────────────────────────────────────────────────────────


def test_init_writes_a_policy_that_gates_the_run(run, mdh, tmp_path):
    file = tmp_path / "new.yaml"
    said = mdh("gate", "init", run, "--output", file)
    assert said.code == 0, said.err
    assert "9 criteria" in said.out
    assert "below what this run can show" in said.out
    assert mdh("gate", run, "--policy", file).code in (0, 1, 3)
    verdict = json.loads((run / "gate.json").read_text("utf-8"))
    assert all(c["measured"] for c in verdict["criteria"])
    # an equal candidate passes all of it in 80 % of runs, as the draft says
    assert 0.78 <= verdict["operating"][0]["p_pass"] <= 0.95
    again = mdh("gate", "init", run, "--output", file)
    assert (again.code, "--force" in again.error_line()) == (2, True)
    assert mdh("gate", "init", run, "--output", file, "--force").code == 0
    printed = mdh("gate", "init", run, "--output", "-").out
    assert printed == file.read_text("utf-8")


def test_simulate_knows_the_run(run, policy, mdh):
    said = mdh("gate", "simulate", run, "--policy", policy(FAILING), "--json")
    rows = json.loads(said.out)
    mdh("gate", run, "--policy", policy(FAILING))
    (criterion,) = json.loads((run / "gate.json").read_text("utf-8"))["criteria"]
    assert rows[0]["criterion"] == "gsm8k"
    assert rows[0]["size"] == 1319
    found = [rows[0][key]["pass"] for key in ("equal", "half", "margin_lost", "double")]
    assert found == pytest.approx([p["p_pass"] for p in criterion["operating"]], abs=1e-4)
    assert "gsm8k" in mdh("gate", "simulate", run, "--policy", policy(FAILING)).out


def test_simulate_needs_no_run(mdh):
    said = mdh("gate", "simulate", "--items", "200,2700", "--margin", "0.01,0.02", "--criteria", 4,
               "--prompts", "500", "--json")  # fmt: skip
    rows = json.loads(said.out)
    assert [(r["size"], r["margin"]) for r in rows] == [
        (200, 0.01), (200, 0.02), (2700, 0.01), (2700, 0.02), (500, 20.0)
    ]  # fmt: skip
    for row in rows:
        assert row["whole"]["fail"] <= 0.055
        assert row["margin_lost"]["pass"] <= 0.06
    # half the interval's width is the margin: an equal candidate passes every other time
    assert rows[2]["equal"]["pass"] == pytest.approx(0.5, abs=0.02)


# ── bad input ────────────────────────────────────────────────────────────────────────────────

BAD = {
    "no such run": (("nosuch",), 2, "no run 'nosuch'"),
    "misspelt option": (("{run}", "--polcy", "x"), 2, "--polcy.*--policy"),
    "missing policy": (("{run}", "--policy", "{tmp}/none.yaml"), 2, "mdh gate init"),
    "broken policy": (
        ("{run}", "--policy", "{tmp}/broken.yaml"),
        2,
        "broken.yaml, line 3: unknown",
    ),
    "report that is none": (("{tmp}/broken.yaml",), 4, "unreadable"),
    "foreign report": (("{tmp}/foreign.json",), 4, "schema version 7"),
    "previous that is none": (("{run}", "--previous", "{tmp}/none.json"), 2, "no verdict"),
    "unwritable": (("{run}", "--output_path", "{tmp}/broken.yaml"), 4, "cannot write the verdict"),
    "unwritable junit": (("{run}", "--junit", "{tmp}/none/x.xml"), 2, "cannot write"),
    "unwritable summary": (("{run}", "--step_summary", "{tmp}/none/x.md"), 2, "step summary"),
    "items that are no number": (("simulate", "--items", "many"), 2, "--items takes whole numbers"),
    "no items": (("simulate", "--items", "0"), 2, "positive"),
    "margin in points": (("simulate", "--items", "10", "--margin", "2"), 2, "at most 1"),
    "nan": (("simulate", "--items", "10", "--margin", "nan"), 2, "positive"),
    "init without a place": (("init", "{run}", "--output", "{tmp}/none/g.yaml"), 2, "cannot write"),
    "simulate without a run": (("simulate", "nosuch"), 2, "no run 'nosuch'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name, run, mdh, tmp_path):
    arguments, code, says = BAD[name]
    (tmp_path / "broken.yaml").write_text("criteria:\n  - benchmark: a\n    margn: 1\n")
    (tmp_path / "foreign.json").write_text('{"schema_version": 7}')
    words = [a.replace("{tmp}", str(tmp_path)).replace("{run}", str(run)) for a in arguments]
    said = mdh("gate", *words)
    assert said.code == code, said.err
    assert re.search(says, said.error_line()), said.err


def test_a_report_with_nothing_to_gate_says_so(tmp_path, mdh):
    sample = sample_report()
    empty = replace(
        sample,
        benchmarks=replace(sample.benchmarks, status="not measured", rows=()),
        preferences=PreferencesReport("not measured"),
    )
    write_report(empty, tmp_path, SECTIONS)
    for words in ((tmp_path,), ("init", tmp_path), ("simulate", tmp_path)):
        said = mdh("gate", *words)
        assert (said.code, "neither benchmarks nor" in said.error_line()) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [["gate", "{run}", "--report_only"], ["gate", "init", "{run}", "--output", "-"],
     ["gate", "simulate", "{run}"], ["gate", "simulate", "--items", "100"], ["report", "{run}"]],
)  # fmt: skip
def test_no_gate_imports_torch(arguments, run, tmp_path):
    words = [word.replace("{run}", str(run)) for word in arguments]
    code = (
        "import sys; from modeldiff_harness.cli import main\n"
        f"try: main({words!r})\n"
        "except SystemExit as e: assert e.code in (0, None), e.code\n"
        "heavy = {'torch', 'transformers', 'lm_eval', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    environment = {"MDH_STORE": str(tmp_path / "s"), "PATH": "/usr/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
