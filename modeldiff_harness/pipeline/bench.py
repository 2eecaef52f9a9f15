"""The benchmark arm's stages: every task under each model on its own, then the pair."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from modeldiff_harness.artifacts import BenchmarkResults, TaskFailure
from modeldiff_harness.benchmarks.bench import bench_task, keep_failure, pair_runs
from modeldiff_harness.benchmarks.records import (
    BenchModel,
    BenchSettings,
    BenchTask,
    TaskFolder,
    TaskRun,
)
from modeldiff_harness.benchmarks.tasks import TaskCatalog, own_tasks_folder
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.pipeline.pair import PairContext
from modeldiff_harness.stages import Stage

__all__ = ["bench_stage"]

_MODULES = ("modeldiff_harness.benchmarks",)


def bench_stage(context: PairContext) -> Stage[BenchmarkResults]:
    """Return the stage that pairs both models' runs of every task.

    A task that fails under a model becomes a failure of the results, and the others go on.
    Raises UsageError for unknown tasks.
    """
    config = context.config.benchmarks
    resolved = task_catalog(context).resolve(config.tasks)
    settings = BenchSettings(
        num_fewshot=config.num_fewshot,
        limit=config.limit,
        apply_chat_template=context.config.apply_chat_template,
        system_instruction=context.config.system_instruction,
        gen_kwargs=dict(config.gen_kwargs),
        seeds=context.config.seed,
    )
    pair = (context.baseline, context.candidate)
    runs = {
        (task.name, model): _task_stage(context, task, model, settings)
        for task in resolved.tasks
        for model in dict.fromkeys(pair)
    }

    def make(runtime: Runtime) -> BenchmarkResults:
        found: dict[str, list[TaskRun]] = {model: [] for model in pair}
        failures: list[TaskFailure] = []
        for (task, model), stage in runs.items():
            outcome = keep_failure(task, stage.value)
            if isinstance(outcome, TaskFailure):
                failures.append(outcome)
                runtime.progress.log(f"bench     {task} failed under {model}: {outcome.reason}")
            else:
                found[model].append(outcome)
        return pair_runs(
            found[pair[0]],
            found[pair[1]],
            pair=pair,
            failures=failures,
            groups=resolved.groups,
            primary_metrics=config.metrics,
            allow_unmatched=config.allow_unmatched,
            seed=context.config.seed[0],
            runtime=runtime,
        )

    return Stage(
        context.runner,
        "bench",
        f"pair {context.baseline} and {context.candidate}",
        BenchmarkResults,
        make,
        recipe={
            "pair": list(pair),
            "metrics": config.metrics,
            "allow_unmatched": config.allow_unmatched,
            "groups": {group: list(members) for group, members in resolved.groups.items()},
        },
        inputs=tuple(runs.values()),
        modules=(*_MODULES, "modeldiff_harness.stats"),
        estimate=f"{len(resolved.tasks)} tasks",
    )


def task_catalog(context: PairContext) -> TaskCatalog:
    """Return every task that can be named: ours, the installed suites', the included folders'."""
    folders = [TaskFolder(own_tasks_folder(), "modeldiff_harness")]
    for suite in context.registry.all("task_suite"):
        folder = context.registry.choose("task_suite", suite.component.name).build()
        if folder is not None:
            folders.append(TaskFolder(folder, suite.component.name))
    for path in map(Path, context.config.benchmarks.include_path):
        folders.append(TaskFolder(path, path.name))
    return TaskCatalog(folders)


def _task_stage(
    context: PairContext, task: BenchTask, model: str, settings: BenchSettings
) -> Stage[TaskRun]:
    def make(runtime: Runtime) -> TaskRun:
        handle = BenchModel(model, load=lambda: context.pool(context.dtype).activate(model))
        return bench_task(task, handle, settings, runtime=runtime)

    limit = "all items" if settings.limit is None else f"{settings.limit:g} items"
    return Stage(
        context.runner,
        "bench",
        f"{task.name} with {model}",
        TaskRun,
        make,
        recipe={
            "task": task.recipe(),
            "settings": dataclasses.asdict(settings),
            "model": context.identity_recipe(model, context.dtype),
            "versions": context.versions("lm_eval", "transformers", "torch"),
        },
        modules=(
            "modeldiff_harness.benchmarks.lm_eval_adapter",
            "modeldiff_harness.benchmarks.bench",
            "modeldiff_harness.benchmarks.records",
        ),
        estimate=limit,
    )
