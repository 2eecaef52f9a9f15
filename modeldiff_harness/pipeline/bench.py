"""The benchmark arm's stages: every task under each model on its own, then the pair."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from modeldiff_harness.artifacts import BenchmarkResults, TaskFailure
from modeldiff_harness.benchmarks.bench import bench_task, keep_failure, pair_runs
from modeldiff_harness.benchmarks.records import (
    BenchModel,
    BenchSettings,
    BenchTask,
    TaskRun,
)
from modeldiff_harness.benchmarks.tasks import open_catalog
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.pipeline.pair import PairContext
from modeldiff_harness.stages import Stage

__all__ = ["BenchStages", "bench_stages"]


@dataclass(frozen=True)
class BenchStages:
    """One stage a task and model, and the pairing of what succeeded."""

    context: PairContext
    runs: Mapping[tuple[str, str], Stage[TaskRun]]
    """By (task, model)."""
    groups: Mapping[str, tuple[str, ...]]

    def pair(self, failures: tuple[TaskFailure, ...] = ()) -> Stage[BenchmarkResults]:
        """Return the stage that pairs the runs of every task that did not fail.

        Failures enter the key: a task lost to the network is tried again by the next run.
        """
        config, pair = self.context.config.benchmarks, self.context.config.pair
        lost = {failure.task for failure in failures}
        kept = {key: stage for key, stage in self.runs.items() if key[0] not in lost}

        def make(runtime: Runtime) -> BenchmarkResults:
            baseline, candidate = (
                [stage.value() for (_, model), stage in kept.items() if model == name]
                for name in pair
            )
            return pair_runs(
                baseline,
                candidate,
                pair=pair,
                failures=failures,
                groups=self.groups,
                primary_metrics=config.metrics,
                allow_unmatched=config.allow_unmatched,
                seed=self.context.config.seed[0],
                runtime=runtime,
            )

        return Stage(
            self.context.runner,
            "bench",
            f"pair {pair[0]} and {pair[1]}",
            BenchmarkResults,
            make,
            recipe={
                "pair": list(pair),
                "metrics": config.metrics,
                "allow_unmatched": config.allow_unmatched,
                "groups": {group: list(members) for group, members in self.groups.items()},
                "failures": [dataclasses.asdict(failure) for failure in failures],
            },
            inputs=tuple(kept.values()),
            modules=("modeldiff_harness.benchmarks", "modeldiff_harness.stats"),
            estimate=f"{len({task for task, _ in self.runs})} tasks",
        )

    def value(self) -> BenchmarkResults:
        """Run every task under both models, keep what fails as a failure, and pair the rest."""
        failures: dict[str, TaskFailure] = {}
        for (task, model), stage in self.runs.items():
            if task in failures:
                continue
            outcome = keep_failure(task, stage.value)
            if isinstance(outcome, TaskFailure):
                failures[task] = outcome
                self.context.runner.runtime.progress.log(
                    f"bench     {task} failed under {model}: {outcome.reason}"
                )
        return self.pair(tuple(failures.values())).value()


def bench_stages(context: PairContext) -> BenchStages:
    """Return the arm's stages; UsageError for unknown tasks and broken task files."""
    config = context.config.benchmarks
    catalog = open_catalog(config.include_path, registry=context.registry)
    resolved = catalog.resolve(config.tasks)
    settings = BenchSettings(
        num_fewshot=config.num_fewshot,
        limit=config.limit,
        apply_chat_template=context.config.apply_chat_template,
        system_instruction=context.config.system_instruction,
        gen_kwargs=dict(config.gen_kwargs),
        seeds=context.config.seed,
    )
    runs = {
        (task.name, model): _task_stage(context, task, model, settings)
        for task in resolved.tasks
        for model in dict.fromkeys(context.config.pair)
    }
    return BenchStages(context, runs, resolved.groups)


def _task_stage(
    context: PairContext, task: BenchTask, model: str, settings: BenchSettings
) -> Stage[TaskRun]:
    def make(runtime: Runtime) -> TaskRun:
        handle = BenchModel(model, load=lambda: context.pool(context.dtype).activate(model))
        return bench_task(task, handle, settings, runtime=runtime)

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
        estimate="all items" if settings.limit is None else f"{settings.limit:g} items",
    )
