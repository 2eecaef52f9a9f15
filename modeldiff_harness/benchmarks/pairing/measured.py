"""Two models' measured tasks, wherever they come from, become paired results."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from modeldiff_harness.artifacts import BenchmarkResults, BenchmarkRow, MeasuredTask, TaskFailure
from modeldiff_harness.benchmarks.pairing.cluster_keys import check_patterns
from modeldiff_harness.benchmarks.pairing.groups import group_row
from modeldiff_harness.benchmarks.pairing.metric_values import AggregationLookup
from modeldiff_harness.benchmarks.pairing.rows import correct_for_multiplicity
from modeldiff_harness.benchmarks.pairing.task import PairedTask, PairingOptions, pair_task
from modeldiff_harness.benchmarks.tasks import capability_by_name
from modeldiff_harness.errors import MdhError, RunError, UsageError, did_you_mean
from modeldiff_harness.progress import Progress, SilentProgress

__all__ = ["pair_measured"]

Load = Callable[[], MeasuredTask]
"""Reads one task of one model."""


def pair_measured(
    baseline: Mapping[str, Load],
    candidate: Mapping[str, Load],
    *,
    progress: Progress | None = None,
    reruns: Mapping[str, Sequence[Load]] | None = None,
    failures: Iterable[TaskFailure] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
    primary_metrics: Mapping[str, str] | None = None,
    options: PairingOptions | None = None,
    aggregation: AggregationLookup = lambda _name: None,
) -> BenchmarkResults:
    """Pair two models' results task by task, wherever they were measured.

    `baseline`, `candidate`, `reruns`: task → a call that reads it, made when its turn comes.
    `groups`: group → its leaves, each gets a stratified row.  `primary_metrics`: task → "metric"
    or "metric,filter".  `aggregation`: asked for aggregations that ours has none of.  A task that
    cannot be paired becomes a failure and the others go on.
    """
    options, groups = options or PairingOptions(), groups or {}
    failed = {failure.task: _with_capability(failure) for failure in failures}
    paired: dict[str, PairedTask] = {}
    limits: set[float] = set()
    order = list(dict.fromkeys([*baseline, *candidate]))
    metrics = _leaf_metrics(primary_metrics or {}, groups, {*order, *failed})
    with (progress or SilentProgress()).task("pair benchmarks", len(order), unit="task") as bar:
        for task in order:
            try:
                sides = _both(task, baseline, candidate)
                limits |= {side.limit for side in sides if side.limit is not None}
                paired[task] = pair_task(
                    *sides,
                    reruns=[load() for load in (reruns or {}).get(task, ())],
                    aggregation=aggregation,
                    primary=metrics.get(task),
                    options=options,
                )
            except MdhError as error:
                failure = TaskFailure(task, str(error), _capability(task, baseline, candidate))
                failed.setdefault(task, _with_capability(failure))
            bar.advance()
    _require_known_names(options, paired, {*order, *failed})
    leaf_rows = (row for task in paired.values() for row in task.rows)
    group_rows, group_notes = _of_groups(groups, paired, options.confidence)
    notes = [f"limit={max(limits):g}: smoke, not gateable"] if limits else []
    notes += [note for task in paired.values() for note in task.notes]
    return BenchmarkResults(
        rows=(*correct_for_multiplicity(leaf_rows, options.confidence), *group_rows),
        items=tuple(item for task in paired.values() for item in task.items),
        failures=tuple(failed.values()),
        limit=max(limits, default=None),
        task_sources={},
        lm_eval_version="",
        seeds=(),
        notes=tuple(dict.fromkeys([*notes, *group_notes])),
        lm_eval_results={},
        alignments=tuple(one for task in paired.values() for one in task.alignments),
        answer_faults=tuple(one for task in paired.values() for one in task.faults),
        groups={group: tuple(members) for group, members in groups.items()},
    )


def _capability(
    task: str, baseline: Mapping[str, Load], candidate: Mapping[str, Load]
) -> str | None:
    """Return the capability that a side gives the failed task, read once more; None: none can."""
    for side in (baseline, candidate):
        try:
            if task in side and (known := side[task]().capability) is not None:
                return known
        except MdhError:
            continue
    return None


def _with_capability(failure: TaskFailure) -> TaskFailure:
    """Give a failed task the capability of its name, where nothing better is known."""
    return replace(failure, capability=failure.capability or capability_by_name(failure.task))


def _require_known_names(
    options: PairingOptions,
    paired: Mapping[str, PairedTask],
    tasks: Collection[str],
) -> None:
    """Raise UsageError for a cluster key or a direction of something that is not compared.

    A metric of a task that failed cannot be known, and is let through.
    """
    check_patterns(options.clusters or {}, tasks)
    metrics = {task: {row.metric for row in one.rows} for task, one in paired.items()}
    every = set[str]().union(*metrics.values())
    for name in options.directions or {}:
        task, _, metric = name.partition(":")
        if name in every or (len(paired) < len(tasks) and task not in metrics):
            continue
        if task in tasks and metric:
            if task not in metrics or metric in metrics[task]:
                continue
            raise UsageError(
                f"task {task!r} has no metric {metric!r} to turn.",
                hint=did_you_mean(metric, metrics[task]),
            )
        raise UsageError(
            f"a direction is given for {name!r}, which is not compared.",
            hint=did_you_mean(name, [*sorted(every), *(f"{t}:{m}" for t in metrics
                                                       for m in sorted(metrics[t]))]),
        )  # fmt: skip


def _of_groups(
    groups: Mapping[str, Sequence[str]], paired: Mapping[str, PairedTask], confidence: float
) -> tuple[list[BenchmarkRow], list[str]]:
    """Return the rows of the groups whose leaves were all paired, and which have none."""
    rows, notes = [], []
    for group, members in groups.items():
        parts = [paired[member] for member in members if member in paired]
        if len(parts) < len(members):
            notes.append(f"{group}: no row, {len(members) - len(parts)} of its tasks failed")
        elif parts and (row := group_row(group, parts, confidence)) is not None:
            rows.append(row)
    return rows, notes


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
