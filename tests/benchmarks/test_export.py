"""Results in lm-eval's own files, with the pair beside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeldiff_harness.artifacts import BenchmarkResults
from modeldiff_harness.benchmarks.export import export_lm_eval, pair_results, pair_table
from modeldiff_harness.benchmarks.pairing.measured import pair_measured
from modeldiff_harness.benchmarks.pairing.runs import pair_runs
from modeldiff_harness.builtin import import_results_lm_eval
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


def test_exported_files_compare_to_the_same_rows(make_run, sample_row, tmp_path):
    """Groups, clusters, aggregations and directions survive the files."""

    def rows(seed: int):
        rng = np.random.default_rng(seed)
        return [
            sample_row(i, {"acc": int(rng.integers(2)), "ppl": [-float(rng.random()), 3]},
                       doc={"passage": i // 4, "i": i})
            for i in range(80)
        ]  # fmt: skip

    fields = {
        "cluster_field": "passage",
        "capability": "math_reasoning",
        "limit": 80.0,
        "aggregations": {"acc": "mean", "ppl": "weighted_perplexity"},
        "higher_is_better": {"acc": True, "ppl": False},
    }
    sides = [
        [make_run(f"org/{name}", rows(seed + k), task=task, **_results(task, fields))
         for k, task in enumerate(("x", "y"))]
        for name, seed in (("a", 0), ("b", 10))
    ]  # fmt: skip
    work = tmp_path / "work"
    work.mkdir()
    results = pair_runs(
        *sides, pair=("org/a", "org/b"), runtime=Runtime(workdir=work), groups={"all": ("x", "y")}
    )
    export_lm_eval(results, tmp_path / "out")
    importer = import_results_lm_eval.create()
    read = [importer.read(tmp_path / "out" / f"org__{name}") for name in "ab"]
    assert read[0].groups == {"all": ("x", "y")}
    again = pair_measured(
        *({t.task: partial(_same, t) for t in side.tasks} for side in read), groups=read[0].groups
    )
    assert {row.task for row in again.rows} == {"x", "y", "all"}
    assert again.rows == results.rows
    assert (again.limit, again.items) == (results.limit, results.items)


def _same(task):
    return task


def _results(task: str, fields):
    metrics = {"acc,none": 0.5, "acc_stderr,none": 0.05}
    printed = {
        "results": {task: {"alias": task, **metrics}},
        "configs": {task: {"task": task, "output_type": "multiple_choice"}},
        "versions": {task: 1.0},
        "n-shot": {task: 0},
        "higher_is_better": {task: fields["higher_is_better"]},
        "n-samples": {task: {"original": 80, "effective": 80}},
        "group_subtasks": {task: []},
    }
    return {**fields, "lm_eval_results": printed}
