"""Two models' stored runs become paired results, their sample files beside."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from modeldiff_harness.artifacts import BenchmarkResults, MeasuredTask, TaskFailure
from modeldiff_harness.benchmarks.pairing.measured import pair_measured
from modeldiff_harness.benchmarks.pairing.metric_values import AggregationLookup
from modeldiff_harness.benchmarks.pairing.task import PairingOptions
from modeldiff_harness.benchmarks.records import TaskRun
from modeldiff_harness.benchmarks.sample_files import safe_file_name
from modeldiff_harness.benchmarks.samples import LM_EVAL_FAULTS, read_samples
from modeldiff_harness.contracts import Runtime

__all__ = ["pair_runs"]


def pair_runs(
    baseline_runs: Sequence[TaskRun],
    candidate_runs: Sequence[TaskRun],
    *,
    pair: tuple[str, str],
    runtime: Runtime,
    reruns: Sequence[TaskRun] = (),
    failures: Iterable[TaskFailure] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
    primary_metrics: Mapping[str, str] | None = None,
    options: PairingOptions | None = None,
    aggregation: AggregationLookup | None = None,
) -> BenchmarkResults:
    """Pair two models' finished runs task by task; every delta is candidate − baseline.

    `pair`: the models' names, (baseline, candidate).  `reruns`: reruns of the baseline for
    the noise floor.  The rest as `pair_measured`; `aggregation` defaults to lm-eval's registry.
    """
    left, right = ({run.task: run for run in runs} for runs in (baseline_runs, candidate_runs))
    results = pair_measured(
        {task: partial(_measured_task, run) for task, run in left.items()},
        {task: partial(_measured_task, run) for task, run in right.items()},
        progress=runtime.progress,
        reruns={
            task: tuple(partial(_measured_task, run) for run in reruns if run.task == task)
            for task in left
        },
        failures=failures,
        groups=groups,
        primary_metrics=primary_metrics,
        options=options,
        aggregation=aggregation or _lm_eval_aggregation,
    )
    runs = [*baseline_runs, *candidate_runs]
    names = _distinct(pair)
    for side, name in zip((left, right), names, strict=True):
        for task in {row.task for row in results.rows} & set(side):
            target = runtime.workdir / f"samples_{safe_file_name(task)}_{name}.jsonl"
            shutil.copyfile(side[task].samples_path, target)
    return replace(
        results,
        task_sources={run.task: run.source for run in runs},
        lm_eval_version=runs[0].lm_eval_version if runs else "",
        seeds=runs[0].seeds if runs else (),
        notes=tuple(dict.fromkeys([*results.notes, *_run_notes(pair, left, right)])),
        lm_eval_results={
            name: _merge(side.values())
            for name, side in zip(_distinct(pair, raw=True), (left, right), strict=True)
        },
        folder=runtime.workdir,
    )


def _measured_task(run: TaskRun) -> MeasuredTask:
    """Return a finished run with its samples, as pairing takes it."""
    printed = run.lm_eval_results["results"].get(run.task, {})
    return MeasuredTask(
        task=run.task,
        samples=read_samples(run.samples_path),
        version=run.version,
        num_fewshot=run.num_fewshot,
        limit=run.limit,
        n_items=run.n_docs,
        capability=run.capability,
        higher_is_better=run.higher_is_better,
        aggregations=run.aggregations,
        cluster_field=run.cluster_field,
        seeds=run.seeds,
        harness=f"lm-eval {run.lm_eval_version}",
        chat_template_digest=run.chat_template_digest,
        printed={
            key: float(value)
            for key, value in printed.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        },
        faults_recorded=() if run.output_type != "generate_until" else LM_EVAL_FAULTS,
        source=run.source,
    )


def _lm_eval_aggregation(name: str) -> Callable[[list[Any]], float] | None:
    from modeldiff_harness.benchmarks import lm_eval_adapter

    return lm_eval_adapter.aggregation(name)


def _run_notes(
    pair: tuple[str, str], left: Mapping[str, TaskRun], right: Mapping[str, TaskRun]
) -> list[str]:
    notes = []
    for name, side in zip(pair, (left, right), strict=True):
        for run in side.values():
            notes += [f"{run.task} ({name}): {warning}" for warning in run.warnings]
            if run.shadows:
                notes.append(f"{run.task}: {run.source} replaces the task of {run.shadows}")
    return notes


def _merge(runs: Iterable[TaskRun]) -> dict[str, Any]:
    """Join single-task results into one dictionary of lm-eval's shape.

    Under `modeldiff_harness` stands how each task is paired, so that the files can be compared
    again without the models.
    """
    runs = list(runs)
    merged: dict[str, Any] = {"modeldiff_harness": {"tasks": {r.task: _pairing(r) for r in runs}}}
    for run in runs:
        for key, value in run.lm_eval_results.items():
            if isinstance(value, dict):
                merged.setdefault(key, {}).update(value)
            else:
                merged[key] = value
    return merged


def _pairing(run: TaskRun) -> dict[str, Any]:
    return {
        "limit": run.limit,
        "capability": run.capability,
        "aggregations": run.aggregations,
        "cluster_field": run.cluster_field,
        "seeds": list(run.seeds),
        "chat_template_digest": run.chat_template_digest,
        "source": run.source,
    }


def _distinct(pair: tuple[str, str], *, raw: bool = False) -> tuple[str, str]:
    """Two names that differ, also when a model is compared with itself."""
    first, second = pair if raw else (safe_file_name(pair[0]), safe_file_name(pair[1]))
    return (first, second) if first != second else (first, f"{second}_again")
