"""Paired samples of one task become rows with statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modeldiff_harness.artifacts import BenchmarkItem, BenchmarkRow
from modeldiff_harness.benchmarks.pairing import PairedSamples, pair_samples, primary_metric
from modeldiff_harness.benchmarks.records import TaskRun
from modeldiff_harness.benchmarks.samples import TaskSample
from modeldiff_harness.errors import RunError
from modeldiff_harness.stats.aggregate import aggregate_difference
from modeldiff_harness.stats.estimates import PairedEstimate, Undetermined
from modeldiff_harness.stats.multiplicity import benjamini_hochberg
from modeldiff_harness.stats.paired import paired_difference
from modeldiff_harness.stats.power import mde
from modeldiff_harness.stats.stratified import stratified_difference

__all__ = [
    "AggregationLookup",
    "PairedTask",
    "correct_for_multiplicity",
    "group_row",
    "pair_task",
]

AggregationLookup = Callable[[str], Callable[[list[Any]], float] | None]
"""lm-eval's aggregation by name, or None when it has none of that name."""


@dataclass(frozen=True)
class PairedTask:
    """Everything one task says about the pair."""

    rows: tuple[BenchmarkRow, ...]
    primary: PairedEstimate
    """The estimate behind the primary row, for groups."""
    items: tuple[BenchmarkItem, ...]
    notes: tuple[str, ...]


def pair_task(
    baseline: TaskRun,
    candidate: TaskRun,
    samples: tuple[Sequence[TaskSample], Sequence[TaskSample]],
    *,
    aggregation: AggregationLookup,
    primary: str | None = None,
    allow_unmatched: bool = False,
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedTask:
    """Compare two runs of one task: a row a metric and filter, the items of the primary one.

    Raises RunError when the runs cannot be paired or the primary metric has no interval, and
    UsageError for an unknown `primary`.
    """
    _require_same_task(baseline, candidate)
    pairs = pair_samples(baseline.task, *samples, allow_unmatched=allow_unmatched)
    available = [(metric, pair.filter) for pair in pairs for metric in pair.metrics]
    chosen = primary_metric(baseline.task, available, primary)
    rows, notes, estimate = [], _pair_notes(baseline, candidate, pairs), None
    for pair in pairs:
        for metric in pair.metrics:
            result = _estimate(baseline, pair, metric, aggregation, confidence, seed)
            is_primary = (metric, pair.filter) == chosen
            where = f"{baseline.task}: {metric},{pair.filter}"
            if isinstance(result, Undetermined):
                if is_primary:
                    raise RunError(f"{where} has no interval: {result.reason}.")
                notes.append(f"{where} left out: {result.reason}")
                continue
            estimate = result if is_primary else estimate
            rows.append(_row(baseline, candidate, pair, metric, result, primary=is_primary))
    if estimate is None:
        raise RunError(f"task {baseline.task!r} has no primary row.")
    rows.sort(key=lambda row: not row.primary)
    return PairedTask(tuple(rows), estimate, _items(pairs, chosen), tuple(notes))


def _require_same_task(baseline: TaskRun, candidate: TaskRun) -> None:
    facts = {
        "version": (baseline.version, candidate.version),
        "limit": (baseline.limit, candidate.limit),
        "num_fewshot": (baseline.num_fewshot, candidate.num_fewshot),
        "seeds": (baseline.seeds, candidate.seeds),
        "lm-eval version": (baseline.lm_eval_version, candidate.lm_eval_version),
    }
    for name, (left, right) in facts.items():
        if left != right:
            raise RunError(
                f"task {baseline.task!r}: {name} differs between the models: {left} and {right}.",
                hint="Run both models with the same settings.",
            )


def _pair_notes(baseline: TaskRun, candidate: TaskRun, pairs: Sequence[PairedSamples]) -> list[str]:
    notes = []
    n_differ = max(pair.n_prompts_differ for pair in pairs)
    if n_differ:
        reason = ""
        if baseline.chat_template_digest != candidate.chat_template_digest:
            reason = " (the chat templates differ)"
        notes.append(f"{baseline.task}: {n_differ} prompts differ between the models{reason}")
    n_unmatched = max(pair.n_unmatched for pair in pairs)
    if n_unmatched:
        notes.append(f"{baseline.task}: {n_unmatched} items have no partner and are left out")
    return notes


def _estimate(
    run: TaskRun,
    pair: PairedSamples,
    metric: str,
    aggregation: AggregationLookup,
    confidence: float,
    seed: int,
) -> PairedEstimate | Undetermined:
    name = run.aggregations.get(metric, "mean")
    per_item = all(metric in s.values for s in (*pair.baseline, *pair.candidate))
    if per_item and name in ("mean", "nanmean"):
        left = [sample.values[metric] for sample in pair.baseline]
        right = [sample.values[metric] for sample in pair.candidate]
        n_missing = sum(not math.isfinite(value) for value in (*left, *right))
        if n_missing:
            return Undetermined(f"{n_missing} values are not numbers", len(left))
        clusters = _clusters(pair)
        return paired_difference(left, right, clusters, confidence=confidence, seed=seed)
    function = aggregation(name)
    if function is None:
        return Undetermined(f"the aggregation {name!r} is the task's own", len(pair.baseline))
    return aggregate_difference(
        [_part(sample, metric) for sample in pair.baseline],
        [_part(sample, metric) for sample in pair.candidate],
        lambda records: float(function(list(records))),
        clusters=_clusters(pair),
        confidence=confidence,
        seed=seed,
    )


def _part(sample: TaskSample, metric: str) -> Any:
    value = sample.parts.get(metric, sample.values.get(metric))
    return tuple(value) if isinstance(value, list) else value


def _clusters(pair: PairedSamples) -> list[str] | None:
    labels = [sample.cluster for sample in pair.baseline]
    known = [label for label in labels if label is not None]
    return known if len(known) == len(labels) else None


def _row(
    baseline: TaskRun,
    candidate: TaskRun,
    pair: PairedSamples,
    metric: str,
    estimate: PairedEstimate,
    *,
    primary: bool,
) -> BenchmarkRow:
    higher = baseline.higher_is_better.get(metric)
    higher_is_better = True if higher is None else higher
    fixed, broken = estimate.fixed, estimate.broken
    if not higher_is_better:
        fixed, broken = broken, fixed
    return BenchmarkRow(
        task=baseline.task,
        capability=baseline.capability,
        metric=metric,
        filter=pair.filter,
        higher_is_better=higher_is_better,
        primary=primary,
        n=estimate.n,
        baseline=estimate.baseline,
        candidate=estimate.candidate,
        delta=estimate.delta,
        se=estimate.se,
        lower=estimate.lower,
        upper=estimate.upper,
        p=estimate.p_value,
        q=None,
        mde=mde(estimate.n, estimate.variance_of_one_item),
        fixed=fixed,
        broken=broken,
        method=estimate.method,
        n_unmatched=pair.n_unmatched,
        version=baseline.version,
        num_fewshot=baseline.num_fewshot,
        baseline_se_unpaired=_printed_se(baseline, metric, pair.filter),
        candidate_se_unpaired=_printed_se(candidate, metric, pair.filter),
        prompts_differ=pair.n_prompts_differ > 0,
        cluster=baseline.cluster_field if estimate.n_clusters else None,
    )


def _printed_se(run: TaskRun, metric: str, filter_name: str) -> float | None:
    value = run.lm_eval_results["results"][run.task].get(f"{metric}_stderr,{filter_name}")
    return float(value) if isinstance(value, (int, float)) else None


def _items(pairs: Sequence[PairedSamples], chosen: tuple[str, str]) -> tuple[BenchmarkItem, ...]:
    metric, filter_name = chosen
    by_length = metric == "acc_norm"
    pair = next(pair for pair in pairs if pair.filter == filter_name)
    return tuple(
        BenchmarkItem(
            task=pair.task,
            metric=metric,
            filter=filter_name,
            doc_id=left.doc_id,
            doc_hash=left.doc_hash,
            target=left.target,
            baseline=left.values[metric],
            candidate=right.values[metric],
            baseline_response=left.response_by_length if by_length else left.response,
            candidate_response=right.response_by_length if by_length else right.response,
            prompt=left.prompt,
        )
        for left, right in zip(pair.baseline, pair.candidate, strict=True)
        if metric in left.values and metric in right.values
    )


def correct_for_multiplicity(rows: Iterable[BenchmarkRow]) -> tuple[BenchmarkRow, ...]:
    """Fill `q` of the primary rows: Benjamini–Hochberg over those that have a p."""
    listed = list(rows)
    tested = [i for i, row in enumerate(listed) if row.primary and row.p is not None]
    if tested:
        q_values = benjamini_hochberg([listed[i].p or 0.0 for i in tested])
        for i, q in zip(tested, q_values.tolist(), strict=True):
            listed[i] = replace(listed[i], q=q)
    return tuple(listed)


def group_row(group: str, tasks: Sequence[PairedTask]) -> BenchmarkRow | None:
    """The stratified difference over a group's leaves; None when their primary metrics differ.

    Not primary: its leaves are, and the correction must not count the same items twice.
    """
    heads = [task.rows[0] for task in tasks]
    first = heads[0]
    same = {(row.metric, row.filter, row.higher_is_better) for row in heads}
    estimate = stratified_difference([task.primary for task in tasks])
    if len(heads) < 2 or len(same) > 1 or isinstance(estimate, Undetermined):
        return None
    fixed, broken = estimate.fixed, estimate.broken
    if not first.higher_is_better:
        fixed, broken = broken, fixed
    capabilities = {row.capability for row in heads}
    return replace(
        first,
        task=group,
        capability=capabilities.pop() if len(capabilities) == 1 else None,
        primary=False,
        n=estimate.n,
        baseline=estimate.baseline,
        candidate=estimate.candidate,
        delta=estimate.delta,
        se=estimate.se,
        lower=estimate.lower,
        upper=estimate.upper,
        p=estimate.p_value,
        q=None,
        mde=mde(estimate.n, estimate.variance_of_one_item),
        fixed=fixed,
        broken=broken,
        method=estimate.method,
        n_unmatched=sum(row.n_unmatched for row in heads),
        version="",
        baseline_se_unpaired=None,
        candidate_se_unpaired=None,
        prompts_differ=any(row.prompts_differ for row in heads),
        cluster=None,
    )
