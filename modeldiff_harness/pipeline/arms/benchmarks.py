"""The benchmark arm's stages: every task under each model on its own, then the pair."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modeldiff_harness.artifacts import BenchmarkResults, TaskFailure
from modeldiff_harness.benchmarks.bench import bench_task, keep_failure
from modeldiff_harness.benchmarks.pairing.cluster_keys import check_expression
from modeldiff_harness.benchmarks.pairing.runs import pair_runs
from modeldiff_harness.benchmarks.pairing.task import PairingOptions
from modeldiff_harness.benchmarks.records import BenchSettings, BenchTask, TaskRun
from modeldiff_harness.benchmarks.rerun import bench_again
from modeldiff_harness.benchmarks.tasks import ResolvedTasks, open_catalog, stated_metrics
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.pipeline.context import RunContext
from modeldiff_harness.stages import Stage

__all__ = ["BenchmarkArm"]


class BenchmarkArm:
    """One stage a task and model, and the pairing of what succeeded.

    UsageError for unknown tasks, broken task files and cluster keys.
    """

    name = "benchmarks"

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.config = context.config.benchmarks
        for expression in self.config.clusters.values():
            check_expression(expression)
        catalog = open_catalog(self.config.include_path, registry=context.registry)
        resolved = catalog.resolve(self.config.tasks)
        self.groups = resolved.groups
        self.capabilities = {task.name: task.capability for task in resolved.tasks}
        self._check_names(resolved)
        self.settings = BenchSettings(
            num_fewshot=self.config.num_fewshot,
            limit=self.config.limit,
            apply_chat_template=context.config.apply_chat_template,
            system_instruction=context.config.system_instruction,
            gen_kwargs=dict(self.config.gen_kwargs),
            seeds=context.config.seed,
        )
        self.runs: dict[tuple[str, str], Stage[TaskRun]] = {
            (task.name, model): self._run(task, model)
            for task in resolved.tasks
            for model in dict.fromkeys(context.config.pair)
        }
        """By (task, model)."""
        self.reruns: dict[tuple[str, int], Stage[TaskRun]] = {
            (task.name, number): self._rerun(task, number)
            for task in resolved.tasks
            for number in range(1, self.config.reruns + 1)
        }
        """Reruns of the baseline by (task, number from 1)."""
        self.paired = self._pair(())

    def ends(self) -> list[Stage[Any]]:
        """Return the pairing of all tasks."""
        return [self.paired]

    def check(self, *, planned: bool = False) -> None:
        """Do nothing: all files were read when the stages were made."""

    def findings(self) -> BenchmarkResults:
        """Run every task under both models, keep what fails as a failure, and pair the rest.

        One model after the other, since models that share a base cost time at every switch.
        """
        failures: dict[str, TaskFailure] = {}
        pair = self.context.config.pair
        by_model = sorted(self.runs.items(), key=lambda run: pair.index(run[0][1]))
        for (task, model), stage in by_model:
            if task not in failures:
                self._try(task, model, stage, failures)
        for (task, number), stage in self.reruns.items():
            if task not in failures:
                self._try(task, f"rerun {number} of the baseline", stage, failures)
        order = dict.fromkeys(task for task, _ in self.runs)
        if failures:
            self.paired = self._pair(tuple(failures[task] for task in order if task in failures))
        return self.paired.value()

    def plan_lines(self) -> list[str]:
        """Return nothing: the stages say it all."""
        return []

    def artifacts(self) -> Mapping[str, Stage[Any]]:
        """Return the paired results."""
        return {"benchmarks": self.paired}

    def _try(
        self, task: str, who: str, stage: Stage[TaskRun], failures: dict[str, TaskFailure]
    ) -> None:
        outcome = keep_failure(task, stage.value)
        if isinstance(outcome, TaskFailure):
            failures[task] = replace(outcome, capability=self.capabilities[task])
            self.context.runner.runtime.progress.log(
                f"bench     {task} failed under {who}: {outcome.reason}"
            )

    # ── one stage each ───────────────────────────────────────────────────────────────────────

    def _run(self, task: BenchTask, model: str) -> Stage[TaskRun]:
        return self.context.stage(
            "bench",
            bench_task,
            title=f"{task.name} with {model}",
            gives=TaskRun,
            settings={"task": task, "settings": self.settings},
            tools={"model": self.context.model(model)},
            libraries=("lm_eval",),
            estimate=self._items(),
        )

    def _rerun(self, task: BenchTask, number: int) -> Stage[TaskRun]:
        baseline = self.context.baseline
        return self.context.stage(
            "bench",
            bench_again,
            title=f"{task.name} with {baseline}, rerun {number}",
            gives=TaskRun,
            inputs={"first": self.runs[task.name, baseline]},
            settings={"task": task, "settings": self.settings, "number": number},
            tools={"model": self.context.model(baseline)},
            libraries=("lm_eval",),
            estimate=self._items(),
        )

    def _pair(self, failures: tuple[TaskFailure, ...]) -> Stage[BenchmarkResults]:
        """Return the stage that pairs the runs of every task that did not fail.

        Failures enter the key: a task lost to the network is tried again by the next run.
        """
        lost = {failure.task for failure in failures}
        kept = {key: stage for key, stage in self.runs.items() if key[0] not in lost}
        baseline_runs, candidate_runs = (
            [stage for (_, model), stage in kept.items() if model == name]
            for name in self.context.config.pair
        )
        return self.context.stage(
            "bench",
            pair_runs,
            title=f"pair {self.context.baseline} and {self.context.candidate}",
            gives=BenchmarkResults,
            inputs={
                "baseline_runs": baseline_runs,
                "candidate_runs": candidate_runs,
                "reruns": [s for key, s in self.reruns.items() if key[0] not in lost],
            },
            settings={
                "pair": self.context.config.pair,
                "failures": failures,
                "groups": self.groups,
                "primary_metrics": self.config.metrics,
                "options": PairingOptions(
                    allow_unmatched=self.config.allow_unmatched,
                    clusters=self.config.clusters,
                    directions=self.config.higher_is_better,
                    seed=self.context.config.seed[0],
                ),
            },
            estimate=f"{len({task for task, _ in self.runs})} tasks",
        )

    def _check_names(self, resolved: ResolvedTasks) -> None:
        """Refuse settings of single tasks that this run does not hold, and metrics they lack."""
        known = {task.name for task in resolved.tasks} | set(resolved.groups)
        directions = (key.split(":")[0] for key in self.config.higher_is_better if ":" in key)
        for setting, names in {
            "metrics": self.config.metrics,
            "higher_is_better": directions,
            "clusters": self.config.clusters,
        }.items():
            for name in names:
                if not any(fnmatch.fnmatchcase(task, name) for task in known):
                    raise UsageError(
                        f"benchmarks.{setting} names {name!r}, which is not among the tasks.",
                        hint=did_you_mean(name, known),
                    )
        for task in resolved.tasks:
            metric = self.config.metrics.get(task.name, "").split(",")[0]
            stated = stated_metrics(task) if metric else ()
            if stated and metric not in stated:
                raise UsageError(
                    f"benchmarks.metrics: task {task.name!r} has no metric {metric!r}.",
                    hint=did_you_mean(metric, stated),
                )

    def _items(self) -> str:
        limit = self.settings.limit
        if limit is None:
            return "all items"
        return f"{100 * limit:g} % of the items" if limit < 1 else f"{limit:g} items"
