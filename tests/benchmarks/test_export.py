"""Results in lm-eval's own files, with the pair beside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modeldiff_harness.artifacts import BenchmarkResults
from modeldiff_harness.benchmarks.bench import pair_runs
from modeldiff_harness.benchmarks.export import export_lm_eval, pair_results, pair_table
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import RunError


@pytest.fixture
def results(
    make_run: Callable[..., Any], rows_of: Callable[..., Any], tmp_path: Path
) -> BenchmarkResults:
    work = tmp_path / "work"
    work.mkdir()
    runs = make_run("zebra", rows_of([1, 1, 1, 0])), make_run("ant", rows_of([1, 0, 0, 1]))
    return pair_runs([runs[0]], [runs[1]], pair=("zebra", "ant"), runtime=Runtime(workdir=work))


def test_files_have_lm_evals_names_and_layout(results: BenchmarkResults, tmp_path: Path) -> None:
    before = {p.name: p.read_bytes() for p in results.folder.iterdir()}
    out = tmp_path / "out"
    written = export_lm_eval(results, out, stamp="2026-01-02T03-04-05.678")
    names = {p.relative_to(out).as_posix() for p in written}
    assert names == {
        f"{model}/{file}_2026-01-02T03-04-05.678.{suffix}"
        for model in ("zebra", "ant")
        for file, suffix in (("results", "json"), ("samples_toy", "jsonl"))
    } | {
        "pair/results_2026-01-02T03-04-05.678.json",
        "pair/table_2026-01-02T03-04-05.678.md",
    }
    assert names == {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert {p.name: p.read_bytes() for p in results.folder.iterdir()} == before
    document = json.loads((out / "ant/results_2026-01-02T03-04-05.678.json").read_text())
    assert document["results"] == results.lm_eval_results["ant"]["results"]
    rows = [json.loads(line) for line in before["samples_toy_ant.jsonl"].splitlines()]
    joined = "".join(r["doc_hash"] + r["prompt_hash"] + r["target_hash"] for r in rows)
    assert document["task_hashes"] == {"toy": hashlib.sha256(joined.encode()).hexdigest()}


def test_the_pair_is_a_row_and_never_a_config(results: BenchmarkResults) -> None:
    document = pair_results(results)
    assert document["configs"] == {"toy": {"task": "toy"}}
    delta = document["results"]["toy · 3 candidate − baseline"]
    assert delta["acc,none"] == -0.25
    assert delta["acc_stderr,none"] == results.rows[0].se


def test_the_table_shows_baseline_candidate_difference_in_order(
    results: BenchmarkResults,
) -> None:
    lines = pair_table(results).splitlines()
    assert len(lines[0].strip("|").split("|")) == 9
    shown = [line.split("|")[1].strip() for line in lines[2:]]
    assert shown == ["toy · zebra", "toy · ant", "toy · candidate − baseline"]
    assert float(lines[4].split("|")[7]) == -0.25


def test_a_folder_that_cannot_be_written_is_an_error(
    results: BenchmarkResults, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot write results to"):
        export_lm_eval(results, tmp_path / "file")
