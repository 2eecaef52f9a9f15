"""What lm-eval itself writes is read as it is, and compares to what our own runs compare to."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest

from modeldiff_harness.benchmarks.bench import bench_task
from modeldiff_harness.benchmarks.pairing.runs import pair_runs
from modeldiff_harness.benchmarks.records import BenchModel, BenchSettings, TaskFolder
from modeldiff_harness.benchmarks.tasks import TaskCatalog
from modeldiff_harness.builtin import import_results_lm_eval
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.pipeline.compare import CompareRequest, compare

TASKS = ["fixture_colour_choice", "fixture_colour_text", "fixture_colour_rolling"]
GENERATION = {"max_gen_toks": 6}


def write_as_lm_eval(model: BenchModel, folder: TaskFolder, output: Path) -> Path:
    """`lm_eval --log_samples --output_path output`, in process."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    assert model.load is not None
    loaded, tokenizer = model.load()
    tracker = EvaluationTracker(output_path=str(output))
    results = simple_evaluate(
        HFLM(pretrained=loaded, tokenizer=copy.deepcopy(tokenizer), batch_size=3),
        tasks=TASKS,
        task_manager=TaskManager(include_path=[str(folder.path)], include_defaults=False),
        gen_kwargs=GENERATION,
        evaluation_tracker=tracker,
        bootstrap_iters=100,
        log_samples=True,
    )
    assert results is not None
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for task in results["configs"]:
        tracker.save_results_samples(task_name=task, samples=samples[task])
    return output


@pytest.mark.parametrize("output", ["folder", "folder/named.json"])
def test_lm_evals_own_files_give_our_rows(
    output: str,
    task_folder: TaskFolder,
    tiny_models: tuple[BenchModel, BenchModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MDH_STORE", str(tmp_path / "store"))
    paths = [
        write_as_lm_eval(model, task_folder, tmp_path / model.name / output)
        for model in tiny_models
    ]
    folders = [path.parent if path.suffix else path for path in paths]
    assert all(import_results_lm_eval.create().recognises(folder) for folder in folders)
    found = compare(CompareRequest(*folders, names=("before", "after"))).results
    ours = pair_runs(
        *_our_runs(task_folder, tiny_models, tmp_path),
        pair=("before", "after"),
        runtime=Runtime(workdir=tmp_path),
    )
    assert not any("was printed" in note for note in found.notes), found.notes
    theirs = {(row.task, row.metric, row.filter): row for row in found.rows}
    assert {key[0] for key in theirs} == set(TASKS)
    for row in ours.rows:
        other = theirs[row.task, row.metric, row.filter]
        got = other.columns()
        for name, expected in row.columns().items():
            if not name.endswith("_se_unpaired"):  # lm-eval's own bootstrap, drawn anew
                assert got[name] == (
                    pytest.approx(expected, rel=1e-4) if isinstance(expected, float) else expected
                ), (row.task, row.metric, name)
    assert len(theirs) == len(ours.rows)
    assert [i.doc_hash for i in found.items] == [i.doc_hash for i in ours.items]


def _our_runs(
    folder: TaskFolder, models: tuple[BenchModel, BenchModel], tmp_path: Path
) -> list[list]:
    catalog = TaskCatalog([folder])
    tasks: Callable = catalog.resolve
    sides = []
    for model in models:
        runs = []
        for task in tasks(TASKS).tasks:
            work = tmp_path / f"{model.name}-{task.name}"
            work.mkdir()
            runtime = Runtime(workdir=work, batch_size=3)
            settings = BenchSettings(gen_kwargs=GENERATION)
            runs.append(bench_task(task, model, settings, runtime=runtime))
        sides.append(runs)
    return sides
