"""Reruns of the baseline on the items of a comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from modeldiff_harness.artifacts import MeasuredTask, RerunNoise, TaskSample
from modeldiff_harness.benchmarks.pairing.aggregations import sum_aggregation
from modeldiff_harness.benchmarks.pairing.metric_values import MetricValues
from modeldiff_harness.stats.noise import aggregate_noise, rerun_noise

__all__ = ["noise_floor"]

_LEAST_SHARE = 0.99
"""Of the compared items a rerun must hold."""

Key = tuple[int | str, str]


def noise_floor(
    task: str,
    filter_name: str,
    metric: str,
    values: MetricValues,
    reruns: Sequence[MeasuredTask],
) -> tuple[RerunNoise | None, list[str]]:
    """Return how much the baseline's result moves by itself, and remarks on unusable reruns.

    Every rerun is matched to the compared items by number and document; items that some rerun
    lacks are left out, and a rerun that lacks more than 1 % of them is not used.
    """
    remarks, runs = [], []
    for number, rerun in enumerate(reruns, start=1):
        found = _by_key(rerun, filter_name, metric)
        share = sum(key in found for key in values.keys) / max(1, len(values.keys))
        if share < _LEAST_SHARE:
            remarks.append(
                f"{task}: rerun {number} of the baseline has {share:.0%} of the items of"
                f" {metric},{filter_name} and is not used"
            )
        else:
            runs.append(found)
    if not runs:
        return None, remarks
    if values.per_item:
        return _per_item(values, runs), remarks
    return _aggregated(values, runs, remarks)


def _by_key(rerun: MeasuredTask, filter_name: str, metric: str) -> dict[Key, list[TaskSample]]:
    found: dict[Key, list[TaskSample]] = {}
    for sample in rerun.samples:
        known = metric in sample.values or metric in sample.parts
        if sample.filter == filter_name and known:
            found.setdefault(sample.key, []).append(sample)
    return {
        key: answers
        for key, answers in found.items()
        if all(math.isfinite(a.values[metric]) for a in answers if metric in a.values)
    }


def _per_item(
    values: MetricValues, runs: Sequence[dict[Key, list[TaskSample]]]
) -> RerunNoise | None:
    kept = [i for i, key in enumerate(values.keys) if all(key in run for run in runs)]
    if not kept:
        return None
    table = [values.baseline[kept]]
    for run in runs:
        answers = [run[values.keys[i]] for i in kept]
        table.append(np.array([_mean(one, values) for one in answers]))
    clusters = None if values.clusters is None else [values.clusters[i] for i in kept]
    return rerun_noise(np.stack(table), clusters)


def _mean(answers: Sequence[TaskSample], values: MetricValues) -> float:
    metric = values.metric
    return sum(answer.values[metric] for answer in answers) / len(answers)


def _aggregated(
    values: MetricValues, runs: Sequence[dict[Key, list[TaskSample]]], remarks: list[str]
) -> tuple[RerunNoise | None, list[str]]:
    """The metric of every run over the items that all have."""
    metric = values.metric
    kept = [i for i, key in enumerate(values.keys) if all(key in run for run in runs)]
    results = []
    if values.combine is not None:
        results.append(values.combine(values.baseline[kept].sum(axis=0)))
        sums = sum_aggregation(values.aggregation)
        assert sums is not None
        for run in runs:
            records = [_record(run[values.keys[i]][0], metric) for i in kept]
            results.append(sums.combine(sums.statistics(records, records)[0].sum(axis=0)))
    elif values.function is not None and values.records is not None:
        results.append(float(values.function([values.records[0][i] for i in kept])))
        for run in runs:
            records = [_record(run[values.keys[i]][0], metric) for i in kept]
            results.append(float(values.function(records)))
    if not results or not all(map(math.isfinite, results)):
        return None, remarks
    return aggregate_noise(results), remarks


def _record(sample: TaskSample, metric: str) -> object:
    part = sample.parts.get(metric, sample.values.get(metric))
    return tuple(part) if isinstance(part, list) else part
