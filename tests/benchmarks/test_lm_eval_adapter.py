"""Our border to lm-eval against plain lm-eval on the same tiny model."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from modeldiff_harness.artifacts import load_artifact, save_artifact
from modeldiff_harness.benchmarks import lm_eval_adapter
from modeldiff_harness.benchmarks.bench import bench_task
from modeldiff_harness.benchmarks.lm_eval_adapter import names
from modeldiff_harness.benchmarks.records import (
    BenchModel,
    BenchSettings,
    BenchTask,
    TaskFolder,
    TaskRun,
)
from modeldiff_harness.benchmarks.samples import read_samples
from modeldiff_harness.benchmarks.tasks import TaskCatalog
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import RunError, UsageError

Pair = tuple[BenchModel, BenchModel]


@pytest.fixture(autouse=True)
def _no_builtin_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexing lm-eval's own 13,000 tasks takes ten seconds; none is needed here."""
    monkeypatch.setattr(lm_eval_adapter, "builtin_index", dict)


@pytest.fixture(scope="module")
def find(task_folder: TaskFolder) -> Callable[[str], BenchTask]:
    catalog = TaskCatalog([task_folder])
    return lambda name: catalog.resolve([name]).tasks[0]


def plain_lm_eval(
    task_folder: TaskFolder, model: BenchModel, name: str, **settings: Any
) -> dict[str, Any]:
    """What a user of lm-eval alone would get."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    assert model.load is not None
    loaded, tokenizer = model.load()
    lm = HFLM(pretrained=loaded, tokenizer=copy.deepcopy(tokenizer), batch_size=3)
    manager = TaskManager(include_path=[str(task_folder.path)], include_defaults=False)
    results = simple_evaluate(
        lm, tasks=[name], task_manager=manager, bootstrap_iters=1000, **settings
    )
    assert results is not None
    return dict(results)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("fixture_colour_choice", {}),
        ("fixture_colour_choice", {"num_fewshot": 2, "limit": 5}),
        (
            "fixture_colour_choice",
            {"apply_chat_template": True, "system_instruction": "Be brief.", "num_fewshot": 1},
        ),
        ("fixture_colour_text", {"gen_kwargs": {"max_gen_toks": 6}, "limit": 0.5}),
        ("fixture_colour_rolling", {}),
    ],
)
def test_every_item_equals_plain_lm_eval(
    name: str,
    settings: dict[str, Any],
    find: Callable[[str], BenchTask],
    task_folder: TaskFolder,
    tiny_models: Pair,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Describing the machine takes seconds a call and touches no score.
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)
    theirs = plain_lm_eval(task_folder, tiny_models[0], name, **settings)
    ours = bench_task(
        find(name),
        tiny_models[0],
        BenchSettings(**settings),
        runtime=Runtime(workdir=tmp_path, batch_size=3),
    )
    rows = [json.loads(line) for line in ours.samples_path.read_text().splitlines()]
    samples = theirs["samples"][name]
    assert len(rows) == len(samples) > 0
    for row, sample in zip(rows, samples, strict=True):
        for key in ("doc_id", "filter", "doc_hash", "prompt_hash", "target_hash", "metrics"):
            assert row[key] == sample[key]
        for metric in sample["metrics"]:
            assert row[metric] == pytest.approx(sample[metric], rel=1e-6)
    printed = theirs["results"][name]
    mine = ours.lm_eval_results["results"][name]
    numbers = {k: v for k, v in printed.items() if isinstance(v, float)}
    assert numbers
    assert {k: mine[k] for k in numbers} == pytest.approx(numbers, rel=1e-6)
    assert ours.num_fewshot == theirs["n-shot"][name]
    assert ours.version == str(theirs["versions"][name])
    assert ours.n_docs == theirs["n-samples"][name]["effective"]


def test_a_run_is_an_artifact_without_machine_paths(
    find: Callable[[str], BenchTask], tiny_models: Pair, tmp_path: Path
) -> None:
    settings = BenchSettings(limit=3)
    run = bench_task(
        find("fixture_colour_choice"), tiny_models[0], settings, runtime=Runtime(workdir=tmp_path)
    )
    save_artifact(run, tmp_path)
    assert load_artifact(TaskRun, tmp_path) == run
    text = (tmp_path / "artifact.json").read_text()
    assert str(Path(__file__).parents[1]) not in text
    assert run.capability == "information_extraction"
    assert (run.n_docs, run.n_docs_total, run.limit) == (3, 12, 3)


def test_repeating_a_run_repeats_every_byte(
    find: Callable[[str], BenchTask], tiny_models: Pair, tmp_path: Path
) -> None:
    files = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        run = bench_task(
            find("fixture_colour_text"),
            tiny_models[1],
            BenchSettings(num_fewshot=2),
            runtime=Runtime(workdir=folder),
        )
        save_artifact(run, folder)
        files.append([(folder / f).read_bytes() for f in ("artifact.json", "samples.jsonl")])
    assert files[0] == files[1]


def test_the_callers_tokenizer_logging_and_output_are_left_alone(
    find: Callable[[str], BenchTask],
    tiny_models: Pair,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert tiny_models[0].load is not None
    tokenizer = tiny_models[0].load()[1]
    logger = logging.getLogger("lm_eval")
    before = (logger.level, logger.propagate, list(logger.handlers), tokenizer.pad_token)
    capfd.readouterr()
    bench_task(
        find("fixture_colour_choice"), tiny_models[0], BenchSettings(limit=2),
        runtime=Runtime(workdir=tmp_path),
    )  # fmt: skip
    assert (logger.level, logger.propagate, list(logger.handlers), tokenizer.pad_token) == before
    out, err = capfd.readouterr()
    assert "requests" not in out + err
    assert "it/s" not in out + err


class _CountingProgress:
    def __init__(self) -> None:
        self.totals: list[float | None] = []
        self.done = 0.0

    def task(self, title: str, total: float | None, *, unit: str, done: float = 0) -> Any:
        self.totals.append(total)
        return self

    def log(self, line: str) -> None: ...
    def advance(self, amount: float = 1) -> None:
        self.done += amount

    def note(self, text: str) -> None: ...
    def __enter__(self) -> Any:
        return self

    def __exit__(self, *args: object) -> None: ...


def test_every_request_is_counted(
    find: Callable[[str], BenchTask], tiny_models: Pair, tmp_path: Path
) -> None:
    progress = _CountingProgress()
    runtime = Runtime(workdir=tmp_path, progress=progress)
    bench_task(find("fixture_colour_choice"), tiny_models[0], BenchSettings(), runtime=runtime)
    assert progress.totals == [120]  # 12 things, 10 colours
    assert progress.done == 120


def test_a_long_prompt_is_reported_as_truncated(
    find: Callable[[str], BenchTask], tiny_models: Pair, tmp_path: Path
) -> None:
    run = bench_task(
        find("fixture_colour_choice"), tiny_models[0], BenchSettings(limit=2, max_length=16),
        runtime=Runtime(workdir=tmp_path),
    )  # fmt: skip
    assert any("Truncating" in line and "times)" in line for line in run.warnings)


def test_a_target_outside_the_choices_is_refused(
    find: Callable[[str], BenchTask], tiny_models: Pair, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"the target 'label' of item 0 is not among its 10"):
        bench_task(
            find("fixture_bad_target"), tiny_models[0], BenchSettings(),
            runtime=Runtime(workdir=tmp_path),
        )  # fmt: skip


@pytest.mark.parametrize("up", ["false", "true", 1])
def test_a_direction_that_is_neither_true_nor_false_is_refused_before_the_model_runs(
    up: object, find: Callable[[str], BenchTask], tmp_path: Path
) -> None:
    metric = {"metric": "acc", "aggregation": "mean", "higher_is_better": up}
    task = dataclasses.replace(find("fixture_colour_choice"), overrides={"metric_list": [metric]})

    def load() -> Any:
        raise AssertionError("the model is not needed to see it")

    with pytest.raises(UsageError, match=r"higher_is_better of 'acc' is .* neither true nor false"):
        bench_task(
            task, BenchModel("any", load=load), BenchSettings(), runtime=Runtime(workdir=tmp_path)
        )


def test_a_task_that_needs_the_hub_gives_one_line(
    find: Callable[[str], BenchTask], tiny_models: Pair, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="needs a data set from the Hugging Face Hub") as caught:
        bench_task(
            find("fixture_needs_hub"), tiny_models[0], BenchSettings(),
            runtime=Runtime(workdir=tmp_path, offline=True),
        )  # fmt: skip
    assert "\n" not in str(caught.value)


def test_a_model_that_fails_is_explained(
    find: Callable[[str], BenchTask], make_tiny_model: Callable[[int], Any], tmp_path: Path
) -> None:
    loaded, tokenizer = make_tiny_model(1)
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = None
    model = BenchModel("templateless", load=lambda: (loaded, tokenizer))
    with pytest.raises(RunError, match="task 'fixture_colour_choice' failed"):
        bench_task(
            find("fixture_colour_choice"), model, BenchSettings(apply_chat_template=True),
            runtime=Runtime(workdir=tmp_path),
        )  # fmt: skip


def test_a_task_that_lives_only_in_its_group_runs(
    task_folder: TaskFolder, tiny_models: Pair, tmp_path: Path
) -> None:
    (task,) = TaskCatalog([task_folder]).resolve(["fixture_inline"]).tasks
    run = bench_task(
        task, tiny_models[0], BenchSettings(limit=2), runtime=Runtime(workdir=tmp_path)
    )
    assert run.task == task.name == "fixture_inline::polite"
    assert "0x" not in json.dumps(task.recipe())  # no address of this process
    for sample in read_samples(run.samples_path):
        assert sample.prompt.startswith("Please answer.\nWhat colour is ")


def test_a_groups_overrides_reach_the_task(
    task_folder: TaskFolder, tiny_models: Pair, tmp_path: Path
) -> None:
    task = TaskCatalog([task_folder]).resolve(["fixture_group"]).tasks[1]
    run = bench_task(
        task, tiny_models[0], BenchSettings(limit=2), runtime=Runtime(workdir=tmp_path)
    )
    assert run.num_fewshot == 1
    assert all(s.prompt.count("What colour is") == 2 for s in read_samples(run.samples_path))


def test_any_model_type_of_lm_eval_runs(find: Callable[[str], BenchTask], tmp_path: Path) -> None:
    model = BenchModel("random", backend="dummy")
    run = bench_task(
        find("fixture_colour_choice"), model, BenchSettings(), runtime=Runtime(workdir=tmp_path)
    )
    assert len(read_samples(run.samples_path)) == 12
    with pytest.raises(UsageError, match=r"unknown model type 'dumy'.*'dummy'"):
        bench_task(
            find("fixture_colour_choice"), dataclasses.replace(model, backend="dumy", opened={}),
            BenchSettings(), runtime=Runtime(workdir=tmp_path),
        )  # fmt: skip


def test_entry_points_of_lm_evals_plugin_groups_are_registered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from lm_eval.api import registry

    if hasattr(registry, "import_plugins"):
        pytest.skip("this lm-eval finds its plugins itself")
    point = EntryPoint("mdh-test-model", "lm_eval.models.dummy:DummyLM", "lm_eval.models")
    monkeypatch.setattr(
        names.importlib.metadata,
        "entry_points",
        lambda group: [point] if group == "lm_eval.models" else [],
    )
    monkeypatch.setattr(registry.model_registry, "_objs", dict(registry.model_registry._objs))
    names.register_plugins.cache_clear()
    found = lm_eval_adapter.model_names()
    names.register_plugins.cache_clear()
    assert "mdh-test-model" in found
    assert {"hf", "vllm", "dummy"} <= set(found)
    assert registry.get_model("mdh-test-model").__name__ == "DummyLM"
