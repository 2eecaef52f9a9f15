"""The benchmark arm's stages: every task under each model on its own, then the pair."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from modeldiff_harness.artifacts import BenchmarkResults, TaskFailure
from modeldiff_harness.benchmarks.bench import bench_task, keep_failure
from modeldiff_harness.benchmarks.pairing.cluster_keys import check_expression
from modeldiff_harness.benchmarks.pairing.runs import pair_runs
from modeldiff_harness.benchmarks.pairing.task import PairingOptions
from modeldiff_harness.benchmarks.records import (
    BenchModel,
    BenchSettings,
    BenchTask,
    TaskRun,
)
from modeldiff_harness.benchmarks.tasks import open_catalog
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import UsageError
from modeldiff_harness.pipeline.context import PairContext
from modeldiff_harness.stages import Stage

__all__ = ["BenchStages", "bench_stages", "rerun_batch_size"]

_TASK_MODULES = (
    "modeldiff_harness.benchmarks.lm_eval_adapter",
    "modeldiff_harness.benchmarks.bench",
    "modeldiff_harness.benchmarks.records",
    "modeldiff_harness.models.caches",
    "modeldiff_harness.models.scored_logits",
)


@dataclass(frozen=True)
class BenchStages:
    """One stage a task and model, and the pairing of what succeeded."""

    context: PairContext
    runs: Mapping[tuple[str, str], Stage[TaskRun]]
    """By (task, model)."""
    groups: Mapping[str, tuple[str, ...]]
    replicates: Mapping[tuple[str, int], Stage[TaskRun]] = field(default_factory=dict)
    """Reruns of the baseline by (task, number from 1)."""

    def pair(self, failures: tuple[TaskFailure, ...] = ()) -> Stage[BenchmarkResults]:
        """Return the stage that pairs the runs of every task that did not fail.

        Failures enter the key: a task lost to the network is tried again by the next run.
        """
        config, pair = self.context.config.benchmarks, self.context.config.pair
        lost = {failure.task for failure in failures}
        kept = {key: stage for key, stage in self.runs.items() if key[0] not in lost}
        again = [stage for key, stage in self.replicates.items() if key[0] not in lost]

        def make(runtime: Runtime) -> BenchmarkResults:
            baseline, candidate = (
                [stage.value() for (_, model), stage in kept.items() if model == name]
                for name in pair
            )
            return pair_runs(
                baseline,
                candidate,
                pair=pair,
                replicate_runs=[stage.value() for stage in again],
                failures=failures,
                groups=self.groups,
                primary_metrics=config.metrics,
                options=PairingOptions(
                    allow_unmatched=config.allow_unmatched,
                    clusters=config.clusters,
                    directions=config.higher_is_better,
                    seed=self.context.config.seed[0],
                ),
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
                "clusters": config.clusters,
                "higher_is_better": config.higher_is_better,
                "groups": {group: list(members) for group, members in self.groups.items()},
                "failures": [dataclasses.asdict(failure) for failure in failures],
            },
            inputs=(*kept.values(), *again),
            modules=("modeldiff_harness.benchmarks", "modeldiff_harness.stats"),
            estimate=f"{len({task for task, _ in self.runs})} tasks",
        )

    def value(self) -> BenchmarkResults:
        """Run every task under both models, keep what fails as a failure, and pair the rest.

        One model after the other, since models that share a base cost time at every switch.
        """
        failures: dict[str, TaskFailure] = {}
        pair = self.context.config.pair
        by_model = sorted(self.runs.items(), key=lambda run: pair.index(run[0][1]))
        for (task, model), stage in by_model:
            if task not in failures:
                self._try(task, model, stage, failures)
        for (task, number), stage in self.replicates.items():
            if task not in failures:
                self._try(task, f"rerun {number} of the baseline", stage, failures)
        order = dict.fromkeys(task for task, _ in self.runs)
        return self.pair(tuple(failures[task] for task in order if task in failures)).value()

    def _try(
        self, task: str, who: str, stage: Stage[TaskRun], failures: dict[str, TaskFailure]
    ) -> None:
        outcome = keep_failure(task, stage.value)
        if isinstance(outcome, TaskFailure):
            failures[task] = outcome
            self.context.runner.runtime.progress.log(
                f"bench     {task} failed under {who}: {outcome.reason}"
            )


def bench_stages(context: PairContext) -> BenchStages:
    """Return the arm's stages; UsageError for unknown tasks, broken task files and cluster keys."""
    config = context.config.benchmarks
    for expression in config.clusters.values():
        check_expression(expression)
    if config.replicates < 0:
        raise UsageError(f"benchmarks.replicates is {config.replicates}; give 0 or more.")
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
    replicates = {
        (task.name, number): _replicate_stage(context, task, settings, number, runs)
        for task in resolved.tasks
        for number in range(1, config.replicates + 1)
    }
    return BenchStages(context, runs, resolved.groups, replicates)


def rerun_batch_size(batch_size: int, number: int) -> int:
    """Return the batch size of rerun `number` ≥ 1: another one each time, smaller ones first."""
    halves = [batch_size >> shift for shift in range(1, batch_size.bit_length())]
    others = [size for size in range(batch_size - 1, 0, -1) if size not in halves]
    smaller = [*halves, *others]
    return smaller[number - 1] if number <= len(smaller) else number + 1


def _replicate_stage(
    context: PairContext,
    task: BenchTask,
    settings: BenchSettings,
    number: int,
    runs: Mapping[tuple[str, str], Stage[TaskRun]],
) -> Stage[TaskRun]:
    """The baseline once more: another batch size, and another seed for what is sampled.

    The few-shot seed stays, so that every prompt is the same.
    """
    model = context.config.pair[0]
    first = runs[task.name, model]
    python, numpy, torch, fewshot = settings.seeds
    again = dataclasses.replace(settings, seeds=(python, numpy, torch + number, fewshot))

    def make(runtime: Runtime) -> TaskRun:
        size = rerun_batch_size(first.value().batch_size or runtime.batch_size, number)
        handle = BenchModel(model, load=lambda: context.pool(context.dtype).activate(model))
        smaller = dataclasses.replace(runtime, batch_size=size)
        return bench_task(task, handle, again, runtime=smaller)

    return Stage(
        context.runner,
        "bench",
        f"{task.name} with {model}, rerun {number}",
        TaskRun,
        make,
        recipe={
            "task": task.recipe(),
            "settings": dataclasses.asdict(again),
            "model": context.identity_recipe(model, context.dtype),
            "versions": context.versions("lm_eval", "transformers", "torch"),
            "replicate": number,
        },
        inputs=(first,),
        modules=_TASK_MODULES,
        estimate="all items" if settings.limit is None else f"{settings.limit:g} items",
    )


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
        modules=_TASK_MODULES,
        estimate="all items" if settings.limit is None else f"{settings.limit:g} items",
    )
