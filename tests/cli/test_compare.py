"""`mdh compare` and `mdh flips` as a reviewer calls them, without a model and without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modeldiff_harness.testing.result_files import (
    ResultItem,
    items_of,
    lm_eval_row,
    write_lm_eval,
)

HOSTILE = "\x1b[31m<script>alert(1)</script> | `x` ![i](http://evil.example/a.png) \u202e"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """30 items, 3 lost and 2 gained; one answer is hostile, one refused, one not extracted."""
    left = [1] * 20 + [0] * 10
    right = [0] * 3 + [1] * 17 + [1] * 2 + [0] * 8
    sides = [items_of(values) for values in (left, right)]
    sides[1][0] = ResultItem(0, 0, answer=HOSTILE)
    sides[1][1] = ResultItem(1, 0, answer="[invalid]", generation="Some words and no number")
    sides[1][2] = ResultItem(2, 0, answer="I'm sorry, but I can't help with that.")
    a, b = (
        write_lm_eval(tmp_path / name, {"gsm8k": [lm_eval_row(i) for i in items]}, model=name)
        for name, items in zip(("before", "after"), sides, strict=True)
    )
    return a, b


def test_json_is_a_report_with_rows(mdh, pair):
    said = mdh("compare", *pair, "--format", "json")
    assert said.code == 0, said.err
    document = json.loads(said.out)
    (row,) = document["benchmarks"]["rows"]
    counts = row["counts"]
    assert (row["task"], row["n"], counts["fixed"], counts["broken"]) == ("gsm8k", 30, 2, 3)
    assert row["delta"] == pytest.approx(-1 / 30)
    assert document["benchmarks"]["gateable"]
    assert document["preferences"]["status"] == "not measured"


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_other_formats_show_the_row_and_nothing_hostile(mdh, pair, form):
    said = mdh("compare", *pair, "--format", form)
    assert said.code == 0, said.err
    assert "gsm8k" in said.out
    assert "\x1b[31m" not in said.out
    assert "<script>alert" not in said.out


def test_the_folder_written_is_one_that_other_commands_take(mdh, pair, tmp_path):
    said = mdh("compare", *pair, "--output_path", tmp_path / "out", "--names", "old,new")
    assert said.code == 0, said.err
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "benchmarks", "report.html", "report.json", "report.md"}  # fmt: skip
    shown = mdh("report", tmp_path / "out", "--format", "json")
    assert json.loads(shown.out)["pair"]["candidate"]["name"] == "new"
    flips = mdh("flips", tmp_path / "out", "--format", "json")
    assert [t["n_lost"] for t in json.loads(flips.out)["tasks"]] == [3]


def test_flips_shows_both_answers_losses_first(mdh, pair):
    said = mdh("flips", *pair)
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0] == "gsm8k (exact_match): 3 lost, 2 gained of 30 items"
    heads = [line.strip() for line in lines if line.startswith("  ") and " item " in line]
    assert heads == ["lost item 0", "lost item 1", "lost item 2", "gained item 20",
                     "gained item 21"]  # fmt: skip
    assert "in full  Some words and no number" in said.out
    assert "\x1b" not in said.out
    assert "\u202e" not in said.out
    assert "candidate  30       1              0      –          1        –" in said.out


def test_flips_can_be_narrowed(mdh, pair):
    said = mdh("flips", *pair, "--direction", "gained", "--limit", "1", "--format", "json")
    found = json.loads(said.out)
    assert [(f["direction"], f["doc_id"]) for f in found["flips"]] == [("gained", 20)]
    assert found["tasks"][0]["n_gained"] == 2
    faults = {f["model"]: f["n_refused"] for f in found["answer_faults"]}
    assert faults == {"baseline": 0, "candidate": 1}
    assert "no results of task 'gsm9k'" in mdh("flips", *pair, "--task", "gsm9k").error_line()


def test_flips_in_markdown_is_inert(mdh, pair):
    said = mdh("flips", *pair, "--format", "markdown")
    assert "&lt;script&gt;" in said.out
    assert "](http://" not in said.out
    rows = [line for line in said.out.splitlines() if line.startswith("| lost")]
    assert len(rows) == 3
    assert all(line.replace("\\|", "").count("|") == 7 for line in rows)


def test_long_texts_are_cut_in_the_middle_unless_all_is_asked_for(mdh, tmp_path):
    long = "begin " + "x" * 3000 + " end"
    sides = [items_of([1, 0, 1]), [ResultItem(0, 0, answer=long), *items_of([1, 0, 1])[1:]]]
    folders = [
        write_lm_eval(tmp_path / n, {"t": [lm_eval_row(i) for i in items]}, model=n)
        for n, items in zip("ab", sides, strict=True)
    ]
    short = mdh("flips", *folders).out
    assert "begin xx" in short
    assert "xx end" in short
    assert len(short) < 2000
    assert "x" * 3000 in mdh("flips", *folders, "--all").out


def test_neither_command_imports_torch_or_lm_eval(pair):
    """And no pandas either: the answer comes in a second."""
    code = (
        "import sys\n"
        "from modeldiff_harness.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'transformers', 'lm_eval', 'datasets', 'pandas', 'sklearn'}\n"
        "found = heavy & set(sys.modules)\n"
        "assert not found, found\n"
    )
    for command in (["compare"], ["compare", "--format", "html"], ["flips"]):
        words = [command[0], *map(str, pair), *command[1:]]
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120,
            env={**os.environ, "MDH_DATA": str(pair[0].parent / "data")}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


BAD: dict[str, tuple[list[str], str, int]] = {
    "missing folder": (["compare", "{a}", "{tmp}/none"], "there are no results at", 2),
    "one folder": (["compare", "{a}"], "Missing argument 'CANDIDATE'", 2),
    "the same": (["compare", "{a}", "{a}"], "baseline and candidate are the same", 2),
    "unknown task": (["compare", "{a}", "{b}", "--tasks", "gsm9k"], "Did you mean 'gsm8k'", 2),
    "unknown format": (["compare", "{a}", "{b}", "--format_in", "lmeval"], "'lm-eval'", 2),
    "bad cluster": (
        ["compare", "{a}", "{b}", "--cluster", "gsm8k=a b("], "is not a cluster key", 2),
    "cluster without task": (["compare", "{a}", "{b}", "--cluster", "a"], "takes NAME=VALUE", 2),
    "missing cluster field": (
        ["compare", "{a}", "{b}", "--cluster", "gsm8k=page"], "'page' is not in the document", 2),
    "unknown metric": (
        ["compare", "{a}", "{b}", "--metric", "gsm8k=exact_mach"], "'exact_match'", 2),
    "names": (["compare", "{a}", "{b}", "--names", "one"], "two different names", 2),
    "both ways": (
        ["compare", "{a}", "{b}", "--lower_is_better", "m", "--higher_is_better", "m"],
        "cannot be better both ways", 2),
    "unwritable": (
        ["compare", "{a}", "{b}", "--output_path", "{a}/results.txt/out"],
        "cannot write to --output_path", 2),
    "unknown run": (["flips", "no-such-run"], "no run 'no-such-run'", 2),
    "negative limit": (["flips", "{a}", "{b}", "--limit", "-1"], "--limit", 2),
    "damaged": (["compare", "{a}", "{tmp}/cut"], "line 1 is not an lm-eval sample", 4),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(mdh, pair, tmp_path, name):
    words, says, code = BAD[name]
    (pair[0] / "results.txt").write_text("a file where a folder should be")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "samples_gsm8k.jsonl").write_text('{"doc_id": 0,')
    places = {"a": pair[0], "b": pair[1], "tmp": tmp_path}
    said = mdh(*(word.format(**places) for word in words))
    assert said.code == code, said.err
    assert says in said.error_line()


# ── beside `mdh evaluate` ────────────────────────────────────────────────────────────────────


def test_comparing_what_evaluate_exported_gives_the_same_rows(mdh, finished):
    folder = finished.output / "lm_eval"
    said = mdh("compare", folder / "tiny-sft", folder / "tiny-simpo", "--format", "json")
    assert said.code == 0, said.err
    ours, theirs = (_by_row(d["benchmarks"]) for d in (finished.report, json.loads(said.out)))
    assert ours
    assert theirs == ours
    section = json.loads(said.out)["benchmarks"]
    assert section["limit"] == finished.report["benchmarks"]["limit"]
    assert section["gateable"] == finished.report["benchmarks"]["gateable"]
    assert section["answer_faults"] == finished.report["benchmarks"]["answer_faults"]


def _by_row(section: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(r["task"], r["metric"], r["filter"]): r for r in section["rows"]}


def test_flips_of_a_run_come_from_the_store(mdh, finished):
    said = mdh("flips", finished.name, "--format", "json", "--all")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    rows = {r["task"]: r for r in finished.report["benchmarks"]["rows"] if r["primary"]}
    assert {t["task"] for t in found["tasks"]} == set(rows)
    for task in found["tasks"]:
        row = rows[task["task"]]
        if (counts := row["counts"]) is not None:
            assert (task["n_gained"], task["n_lost"]) == (counts["fixed"], counts["broken"])


def test_options_of_pairing_are_refused_for_a_run(mdh, pair, tmp_path):
    assert mdh("compare", *pair, "--output_path", tmp_path / "out").code == 0
    for flag in (["--allow_unmatched"], ["--cluster", "gsm8k=none"]):
        said = mdh("flips", tmp_path / "out", *flag)
        assert said.code == 2
        assert f"{flag[0]} says how two results are paired" in said.error_line()


def test_options_may_stand_before_the_folders(mdh, pair):
    said = mdh("compare", "--tasks", "gsm8k", *pair, "--format", "json")
    assert said.code == 0, said.err
