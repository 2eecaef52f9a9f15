"""The verb `bench`: run one task with one model, then pair two models' runs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import BenchmarkResults, MeasuredTask, TaskFailure
from modeldiff_harness.benchmarks.pairing.groups import group_row
from modeldiff_harness.benchmarks.pairing.rows import correct_for_multiplicity
from modeldiff_harness.benchmarks.pairing.task import (
    AggregationLookup,
    PairedTask,
    PairingOptions,
    pair_task,
)
from modeldiff_harness.benchmarks.records import BenchModel, BenchSettings, BenchTask, TaskRun
from modeldiff_harness.benchmarks.samples import LM_EVAL_FAULTS, read_samples
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import MdhError, RunError, UsageError, did_you_mean
from modeldiff_harness.progress import Progress, SilentProgress

__all__ = ["bench_task", "keep_failure", "measured", "pair_measured", "pair_runs", "safe_file_name"]

Load = Callable[[], MeasuredTask]
"""Reads one task of one model."""


def bench_task(
    task: BenchTask, model: BenchModel, settings: BenchSettings, *, runtime: Runtime
) -> TaskRun:
    """Run one task with one model through lm-eval; sample rows go to the work folder.

    Raises UsageError for an unknown backend or a target outside the choices, RunError when the data
    cannot be had or the model fails.
    """
    from modeldiff_harness.benchmarks import lm_eval_adapter

    raw = lm_eval_adapter.run_task(task, model, settings, runtime)
    (name,) = raw.results["results"]
    lines = (json.dumps(row, ensure_ascii=False) for row in raw.samples)
    path = runtime.workdir / "samples.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    counts = raw.results["n-samples"][name]
    return TaskRun(
        task=name,
        model=model.name,
        source=task.source,
        capability=task.capability,
        version=str(raw.results["versions"].get(name)),
        output_type=raw.output_type,
        num_fewshot=raw.results["n-shot"].get(name),
        limit=settings.limit,
        n_docs=counts["effective"],
        n_docs_total=counts["original"],
        higher_is_better=raw.results["higher_is_better"].get(name, {}),
        aggregations=raw.aggregations,
        cluster_field=raw.cluster_field,
        seeds=settings.seeds,
        lm_eval_version=lm_eval_adapter.version(),
        chat_template_digest=raw.chat_template_digest,
        warnings=raw.warnings,
        lm_eval_results=raw.results,
        shadows=task.shadows,
        batch_size=runtime.batch_size,
        folder=runtime.workdir,
    )


def keep_failure(task: str, work: Callable[[], TaskRun]) -> TaskRun | TaskFailure:
    """Run `work`; a failure that the harness can explain is kept so that other tasks go on."""
    try:
        return work()
    except MdhError as error:
        return TaskFailure(task, str(error))


def pair_runs(
    baseline_runs: Sequence[TaskRun],
    candidate_runs: Sequence[TaskRun],
    *,
    pair: tuple[str, str],
    runtime: Runtime,
    replicate_runs: Sequence[TaskRun] = (),
    failures: Iterable[TaskFailure] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
    primary_metrics: Mapping[str, str] | None = None,
    options: PairingOptions | None = None,
    aggregation: AggregationLookup | None = None,
) -> BenchmarkResults:
    """Pair two models' finished runs task by task; every delta is candidate − baseline.

    `pair`: the models' names, (baseline, candidate).  `replicate_runs`: reruns of the baseline for
    the noise floor.  The rest as `pair_measured`; `aggregation` defaults to lm-eval's registry.
    """
    left, right = ({run.task: run for run in runs} for runs in (baseline_runs, candidate_runs))
    results = pair_measured(
        {task: partial(measured, run) for task, run in left.items()},
        {task: partial(measured, run) for task, run in right.items()},
        progress=runtime.progress,
        replicates={
            task: tuple(partial(measured, run) for run in replicate_runs if run.task == task)
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


def pair_measured(
    baseline: Mapping[str, Load],
    candidate: Mapping[str, Load],
    *,
    progress: Progress | None = None,
    replicates: Mapping[str, Sequence[Load]] | None = None,
    failures: Iterable[TaskFailure] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
    primary_metrics: Mapping[str, str] | None = None,
    options: PairingOptions | None = None,
    aggregation: AggregationLookup = lambda _name: None,
) -> BenchmarkResults:
    """Pair two models' results task by task, wherever they were measured.

    `baseline`, `candidate`, `replicates`: task → a call that reads it, made when its turn comes.
    `groups`: group → its leaves, each gets a stratified row.  `primary_metrics`: task → "metric"
    or "metric,filter".  `aggregation`: asked for aggregations that ours has none of.  A task that
    cannot be paired becomes a failure and the others go on.
    """
    options = options or PairingOptions()
    failed = {failure.task: failure for failure in failures}
    paired: dict[str, PairedTask] = {}
    notes: list[str] = []
    limits: set[float] = set()
    order = list(dict.fromkeys([*baseline, *candidate]))
    metrics = _leaf_metrics(primary_metrics or {}, groups or {}, {*order, *failed})
    with (progress or SilentProgress()).task("pair benchmarks", len(order), unit="task") as bar:
        for task in order:
            try:
                sides = _both(task, baseline, candidate)
                limits |= {side.limit for side in sides if side.limit is not None}
                paired[task] = pair_task(
                    *sides,
                    replicates=[load() for load in (replicates or {}).get(task, ())],
                    aggregation=aggregation,
                    primary=metrics.get(task),
                    options=options,
                )
                notes += paired[task].notes
            except MdhError as error:
                failed.setdefault(task, TaskFailure(task, str(error)))
            bar.advance()
    rows = list(
        correct_for_multiplicity(
            (row for task in paired.values() for row in task.rows), options.confidence
        )
    )
    for group, members in (groups or {}).items():
        parts = [paired[member] for member in members if member in paired]
        if len(parts) < len(members):
            notes.append(f"{group}: no row, {len(members) - len(parts)} of its tasks failed")
        elif parts and (row := group_row(group, parts, options.confidence)) is not None:
            rows.append(row)
    if limits:
        notes.insert(0, f"limit={max(limits):g}: smoke, not gateable")
    return BenchmarkResults(
        rows=tuple(rows),
        items=tuple(item for task in paired.values() for item in task.items),
        failures=tuple(failed.values()),
        limit=max(limits) if limits else None,
        task_sources={},
        lm_eval_version="",
        seeds=(),
        notes=tuple(dict.fromkeys(notes)),
        lm_eval_results={},
        alignments=tuple(one for task in paired.values() for one in task.alignments),
        answer_faults=tuple(one for task in paired.values() for one in task.faults),
        groups={group: tuple(members) for group, members in (groups or {}).items()},
    )


def _leaf_metrics(
    asked: Mapping[str, str], groups: Mapping[str, Sequence[str]], tasks: Collection[str]
) -> dict[str, str]:
    """Return leaf → metric, a group's standing for its leaves that have none of their own."""
    metrics = dict(asked)
    for name, metric in asked.items():
        if name in groups:
            metrics.update({leaf: metric for leaf in groups[name] if leaf not in metrics})
        elif name not in tasks:
            raise UsageError(
                f"a primary metric is given for {name!r}, which is not compared.",
                hint=did_you_mean(name, [*sorted(tasks), *groups]),
            )
    return metrics


def _both(
    task: str, baseline: Mapping[str, Load], candidate: Mapping[str, Load]
) -> tuple[MeasuredTask, MeasuredTask]:
    if task not in baseline or task not in candidate:
        missing = "candidate" if task in baseline else "baseline"
        raise RunError(f"task {task!r} has no run of the {missing}.")
    return baseline[task](), candidate[task]()


def measured(run: TaskRun) -> MeasuredTask:
    """Return a finished run with its samples, as pairing takes it."""
    printed = run.lm_eval_results["results"].get(run.task, {})
    return MeasuredTask(
        task=run.task,
        samples=read_samples(run.samples_path),
        version=run.version,
        num_fewshot=run.num_fewshot,
        limit=run.limit,
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


def safe_file_name(name: str) -> str:
    """Return `name` without the characters that file systems refuse."""
    return re.sub(r'["<>:/|\\?*\[\]\s]+', "__", name)


def samples_file(results: BenchmarkResults, task: str, model: str) -> Path:
    """Return the sample file of `task` under `model` in the artifact's folder."""
    return results.folder / f"samples_{safe_file_name(task)}_{safe_file_name(model)}.jsonl"
