"""Paired samples of one task become rows with statistics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from modeldiff_harness.artifacts import (
    AnswerFaults,
    BenchmarkItem,
    BenchmarkRow,
    ItemAlignment,
    MeasuredTask,
    TaskSample,
)
from modeldiff_harness.benchmarks.aggregations import LOWER_IS_BETTER
from modeldiff_harness.benchmarks.answer_faults import count_faults
from modeldiff_harness.benchmarks.cluster_keys import ClusterRule, cluster_labels, cluster_rule
from modeldiff_harness.benchmarks.metric_values import (
    MEAN_OF_SCORED,
    AggregationLookup,
    MetricValues,
    take_values,
)
from modeldiff_harness.benchmarks.noise_floor import noise_floor
from modeldiff_harness.benchmarks.pairing import (
    MOST_UNMATCHED_SHARE,
    PairedSamples,
    pair_samples,
    primary_metric,
)
from modeldiff_harness.errors import MdhError, RunError
from modeldiff_harness.stats.effects import matched_log_odds_ratio
from modeldiff_harness.stats.estimates import PairedEstimate, Undetermined, critical_value
from modeldiff_harness.stats.multiplicity import benjamini_hochberg, simultaneous_multiplier
from modeldiff_harness.stats.noise import RerunNoise
from modeldiff_harness.stats.power import mde
from modeldiff_harness.stats.stratified import Stratum, crossed_difference, stratified_difference

__all__ = [
    "AggregationLookup",
    "PairedTask",
    "PairingOptions",
    "correct_for_multiplicity",
    "group_row",
    "pair_task",
]

_FARTHEST_FROM_PRINTED = 1e-6
"""Relative distance of a recomputed number from the printed one that rounding explains."""


@dataclass(frozen=True)
class PairingOptions:
    """How items are paired and compared; the same for every task of a comparison."""

    allow_unmatched: bool = False
    average_repeats: bool = False
    """Several unnumbered answers to one item are samples of it, to be averaged."""
    clusters: Mapping[str, str] | None = None
    """Task pattern → cluster key, or "none"."""
    directions: Mapping[str, bool] | None = None
    """Metric, or "task:metric" → whether higher is better, over what the source says."""
    confidence: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class PairedTask:
    """Everything one task says about the pair."""

    rows: tuple[BenchmarkRow, ...]
    primary: PairedEstimate
    """The estimate behind the primary row, for groups."""
    values: MetricValues | None
    """The item values behind it; None for an aggregate."""
    rule: ClusterRule | None
    items: tuple[BenchmarkItem, ...]
    alignments: tuple[ItemAlignment, ...]
    faults: tuple[AnswerFaults, ...]
    notes: tuple[str, ...]


def pair_task(
    baseline: MeasuredTask,
    candidate: MeasuredTask,
    *,
    replicates: Sequence[MeasuredTask] = (),
    aggregation: AggregationLookup = lambda _name: None,
    primary: str | None = None,
    options: PairingOptions = PairingOptions(),
) -> PairedTask:
    """Compare two models on one task: a row a metric and filter, the items of the primary one.

    `replicates`: reruns of the baseline for the noise floor.  `aggregation`: the task's own
    aggregations by name, asked where ours has none.  Raises RunError when the runs cannot be
    paired or the primary metric has no interval, and UsageError for an unknown `primary`.
    """
    _require_same_task(baseline, candidate, options.allow_unmatched)
    task = baseline.task
    pairs = pair_samples(
        task,
        baseline.samples,
        candidate.samples,
        allow_unmatched=options.allow_unmatched,
        average_repeats=options.average_repeats,
    )
    rule = cluster_rule(task, baseline.cluster_field, options.clusters)
    available = [(metric, pair.filter) for pair in pairs for metric in pair.metrics]
    chosen = primary_metric(task, available, primary, baseline.primary_metrics)
    rows, notes = [], _pair_notes(baseline, candidate, pairs)
    head: tuple[PairedEstimate, MetricValues] | None = None
    alignments = []
    for pair in pairs:
        labels = cluster_labels(rule, pair.baseline) if rule is not None else None
        n_left_out = 0
        for metric in pair.metrics:
            is_primary = (metric, pair.filter) == chosen
            where = f"{task}: {metric},{pair.filter}"
            values = take_values(baseline, pair, metric, labels, aggregation)
            result = (
                values
                if isinstance(values, Undetermined)
                else values.compare(options.confidence, options.seed)
            )
            if isinstance(values, Undetermined) or isinstance(result, Undetermined):
                assert isinstance(result, Undetermined)
                if is_primary:
                    raise RunError(f"{where} has no interval: {result.reason}.")
                notes.append(f"{where} left out: {result.reason}")
                continue
            if is_primary:
                head = result, values
                n_left_out = values.n_left_out
                _require_scored(task, pair, values, options)
            noise, remark = noise_floor(task, pair.filter, metric, values, replicates)
            notes += remark
            row = _row(baseline, candidate, pair, metric, result, values, rule, noise, options)
            rows.append(replace(row, primary=is_primary))
            notes += _printed_notes(baseline, candidate, row)
        alignments.append(_alignment(pair, n_left_out))
    if head is None:
        raise RunError(f"task {task!r} has no primary row.")
    rows.sort(key=lambda row: not row.primary)
    return PairedTask(
        rows=tuple(rows),
        primary=head[0],
        values=head[1] if head[1].per_item else None,
        rule=rule if head[1].clusters is not None else None,
        items=_items(pairs, chosen),
        alignments=tuple(alignments),
        faults=_faults(baseline, candidate, pairs),
        notes=tuple(dict.fromkeys(notes)),
    )


def _require_same_task(
    baseline: MeasuredTask, candidate: MeasuredTask, allow_unmatched: bool
) -> None:
    facts = {
        "version": (baseline.version, candidate.version),
        "num_fewshot": (baseline.num_fewshot, candidate.num_fewshot),
        "limit": (baseline.limit, candidate.limit),
    }
    for name, (left, right) in facts.items():
        if left == right or (name == "version" and "" in (left, right)):
            continue
        if name == "limit" and allow_unmatched:
            continue
        if name == "num_fewshot" and None in (left, right):
            continue
        raise RunError(
            f"task {baseline.task!r}: {name} differs between the models: {left} and {right}.",
            hint="Run both models with the same settings.",
        )


def _require_scored(
    task: str, pair: PairedSamples, values: MetricValues, options: PairingOptions
) -> None:
    n_missing, n_items = values.n_left_out, len(pair.baseline)
    if values.aggregation != MEAN_OF_SCORED or options.allow_unmatched:
        return
    if n_missing > MOST_UNMATCHED_SHARE * n_items:
        raise RunError(
            f"task {task!r}: {n_missing} of {n_items} items were not scored for one of the models,"
            " more than 1 %.",
            hint="Mend the failed samples, or pass --allow_unmatched.",
        )


def _pair_notes(
    baseline: MeasuredTask, candidate: MeasuredTask, pairs: Sequence[PairedSamples]
) -> list[str]:
    task, notes = baseline.task, []
    n_differ = max(pair.n_prompts_differ for pair in pairs)
    if n_differ:
        reason = ""
        if baseline.chat_template_digest != candidate.chat_template_digest:
            reason = " (the chat templates differ)"
        notes.append(f"{task}: {n_differ} prompts differ between the models{reason}")
    worst = max(pairs, key=lambda pair: pair.n_unmatched)
    if worst.n_unmatched:
        shown = "; ".join(worst.named[:3])
        notes.append(
            f"{task}: {worst.n_unmatched} items have no partner and are left out ({shown})"
        )
    n_duplicates = max(pair.n_duplicates for pair in pairs)
    if n_duplicates:
        notes.append(f"{task}: {n_duplicates} rows repeat another word for word and are dropped")
    for name, left, right in (
        ("measured by", baseline.harness, candidate.harness),
        ("seeds", baseline.seeds, candidate.seeds),
    ):
        if left != right and left and right:
            notes.append(f"{task}: {name} differs between the models: {left} and {right}")
    return notes


def _row(
    baseline: MeasuredTask,
    candidate: MeasuredTask,
    pair: PairedSamples,
    metric: str,
    estimate: PairedEstimate,
    values: MetricValues,
    rule: ClusterRule | None,
    noise: RerunNoise | None,
    options: PairingOptions,
) -> BenchmarkRow:
    higher_is_better = _direction(baseline, metric, options)
    fixed, broken = estimate.fixed, estimate.broken
    if not higher_is_better:
        fixed, broken = broken, fixed
    effect, effect_name = _effect(estimate, values)
    return BenchmarkRow(
        task=baseline.task,
        capability=baseline.capability,
        metric=metric,
        filter=pair.filter,
        higher_is_better=higher_is_better,
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
        n_unmatched=pair.n_unmatched,
        version=baseline.version,
        num_fewshot=baseline.num_fewshot,
        baseline_se_unpaired=baseline.printed.get(f"{metric}_stderr,{pair.filter}"),
        candidate_se_unpaired=candidate.printed.get(f"{metric}_stderr,{pair.filter}"),
        prompts_differ=pair.n_prompts_differ > 0,
        p_exact=estimate.p_exact,
        both_right=estimate.both_right,
        both_wrong=estimate.both_wrong,
        cluster=rule.expression if rule is not None and estimate.n_clusters else None,
        n_clusters=estimate.n_clusters,
        df=estimate.df,
        unpaired_se=estimate.unpaired_se,
        effect=effect,
        effect_name=effect_name,
        samples_per_item=pair.samples_per_item,
        n_replicates=noise.n_replicates if noise is not None else 0,
        noise_flip_rate=noise.flip_rate if noise is not None else None,
        noise_se=noise.se if noise is not None else None,
    )


def _direction(task: MeasuredTask, metric: str, options: PairingOptions) -> bool:
    for name in (f"{task.task}:{metric}", metric):
        if options.directions and name in options.directions:
            return options.directions[name]
    said = task.higher_is_better.get(metric)
    return metric not in LOWER_IS_BETTER if said is None else said


def _effect(estimate: PairedEstimate, values: MetricValues) -> tuple[float | None, str]:
    """Matched log odds ratio of a binary metric, else Cohen's dz; none for an aggregate."""
    if estimate.fixed is not None and estimate.broken is not None:
        ratio = matched_log_odds_ratio(estimate.fixed, estimate.broken)
        return ratio.estimate, "log odds ratio"
    size = values.cohens_dz() if values.per_item else None
    return (None, "") if size is None else (size, "Cohen's dz")


def _printed_notes(
    baseline: MeasuredTask, candidate: MeasuredTask, row: BenchmarkRow
) -> Iterable[str]:
    """Say where our number is not the harness's own: the sign of a wrong aggregation."""
    if row.n_unmatched or row.samples_per_item != 1.0:
        return
    for side, ours in ((baseline, row.baseline), (candidate, row.candidate)):
        printed = side.printed.get(f"{row.metric},{row.filter}")
        if printed is None:
            continue
        if abs(printed - ours) > _FARTHEST_FROM_PRINTED * max(1.0, abs(printed)):
            yield (
                f"{row.task}: {row.metric},{row.filter} is {ours:.6g} over the samples, but"
                f" {printed:.6g} was printed"
            )


def _alignment(pair: PairedSamples, n_left_out: int) -> ItemAlignment:
    return ItemAlignment(
        task=pair.task,
        filter=pair.filter,
        n_paired=len(pair.baseline),
        n_only_baseline=pair.n_only_baseline,
        n_only_candidate=pair.n_only_candidate,
        n_changed=pair.n_changed,
        n_duplicates=pair.n_duplicates,
        n_not_numbers=n_left_out,
        n_prompts_differ=pair.n_prompts_differ,
        named=pair.named,
    )


def _faults(
    baseline: MeasuredTask, candidate: MeasuredTask, pairs: Sequence[PairedSamples]
) -> tuple[AnswerFaults, ...]:
    found = []
    for pair in pairs:
        for model, side, answers in (
            ("baseline", baseline, pair.baseline_answers),
            ("candidate", candidate, pair.candidate_answers),
        ):
            listed = (sample for one in answers for sample in one)
            found.append(count_faults(pair.task, pair.filter, model, listed, side.faults_recorded))
    return tuple(found)


def _items(pairs: Sequence[PairedSamples], chosen: tuple[str, str]) -> tuple[BenchmarkItem, ...]:
    metric, filter_name = chosen
    by_length = metric == "acc_norm"
    pair = next(pair for pair in pairs if pair.filter == filter_name)
    items = []
    for i, (left, right) in enumerate(zip(pair.baseline, pair.candidate, strict=True)):
        values = left.values.get(metric, math.nan), right.values.get(metric, math.nan)
        if not all(map(math.isfinite, values)):
            continue
        first, second = _told(pair, i, metric)
        items.append(
            BenchmarkItem(
                task=pair.task,
                metric=metric,
                filter=filter_name,
                doc_id=left.doc_id,
                doc_hash=left.doc_hash,
                target=left.target,
                baseline=values[0],
                candidate=values[1],
                baseline_response=first.response_by_length if by_length else first.response,
                candidate_response=second.response_by_length if by_length else second.response,
                prompt=left.prompt,
                baseline_generation=first.generation,
                candidate_generation=second.generation,
            )
        )
    return tuple(items)


def _told(pair: PairedSamples, i: int, metric: str) -> tuple[TaskSample, TaskSample]:
    """Of several answers to an item the first two that differ in value: they show the change."""
    answers = zip(pair.baseline_answers[i], pair.candidate_answers[i], strict=False)
    for first, second in answers:
        if first.values.get(metric) != second.values.get(metric):
            return first, second
    return pair.baseline[i], pair.candidate[i]


def correct_for_multiplicity(
    rows: Iterable[BenchmarkRow], confidence: float = 0.95
) -> tuple[BenchmarkRow, ...]:
    """Fill what depends on how many tasks there are: q and the simultaneous ends of primary rows.

    q: Benjamini–Hochberg over the primary rows that have a p.  The simultaneous interval keeps the
    shape of the row's own and is widened by Bonferroni's ratio of critical values.
    """
    listed = list(rows)
    tested = [i for i, row in enumerate(listed) if row.primary and row.p is not None]
    if tested:
        q_values = benjamini_hochberg([listed[i].p or 0.0 for i in tested])
        for i, q in zip(tested, q_values.tolist(), strict=True):
            row = listed[i]
            ratio = simultaneous_multiplier(len(tested), confidence, row.df)
            ratio /= critical_value(confidence, row.df)
            listed[i] = replace(
                row,
                q=q,
                simultaneous_lower=row.delta + (row.lower - row.delta) * ratio,
                simultaneous_upper=row.delta + (row.upper - row.delta) * ratio,
            )
    return tuple(listed)


def group_row(
    group: str, tasks: Sequence[PairedTask], confidence: float = 0.95
) -> BenchmarkRow | None:
    """The stratified difference over a group's leaves; None when their primary metrics differ.

    Leaves whose items belong together (one question in many languages) are compared through the
    clusters that cross them.  Not primary: its leaves are, and the correction must not count the
    same items twice.
    """
    heads = [task.rows[0] for task in tasks]
    same = {(row.metric, row.filter, row.higher_is_better) for row in heads}
    if len(heads) < 2 or len(same) > 1:
        return None
    try:
        estimate = _group_estimate(tasks, confidence)
    except MdhError:
        return None
    if isinstance(estimate, Undetermined):
        return None
    first = heads[0]
    fixed, broken = estimate.fixed, estimate.broken
    if not first.higher_is_better:
        fixed, broken = broken, fixed
    capabilities = {row.capability for row in heads}
    odds = None
    if estimate.fixed is not None and estimate.broken is not None:
        odds = matched_log_odds_ratio(estimate.fixed, estimate.broken).estimate
    rules = {task.rule.expression for task in tasks if task.rule is not None}
    noise = _group_noise(heads)
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
        p_exact=None,
        both_right=estimate.both_right,
        both_wrong=estimate.both_wrong,
        cluster=rules.pop() if estimate.n_clusters and len(rules) == 1 else None,
        n_clusters=estimate.n_clusters,
        df=estimate.df,
        unpaired_se=estimate.unpaired_se,
        simultaneous_lower=None,
        simultaneous_upper=None,
        effect=odds,
        effect_name="" if odds is None else "log odds ratio",
        samples_per_item=sum(row.samples_per_item * row.n for row in heads) / estimate.n,
        n_replicates=min(row.n_replicates for row in heads),
        noise_flip_rate=noise[0],
        noise_se=noise[1],
    )


def _group_estimate(
    tasks: Sequence[PairedTask], confidence: float
) -> PairedEstimate | Undetermined:
    values = [task.values for task in tasks]
    scopes = [task.rule.scope if task.rule is not None else None for task in tasks]
    if None not in scopes and len(set(scopes)) == 1 and all(v is not None for v in values):
        strata = [
            Stratum(v.baseline, v.candidate, v.clusters)
            for v in values
            if v is not None and v.clusters is not None
        ]
        labels = [set(map(str, stratum.clusters)) for stratum in strata]
        if len(strata) == len(tasks) and len(set.union(*labels)) < sum(map(len, labels)):
            return crossed_difference(strata, confidence)
    return stratified_difference([task.primary for task in tasks])


def _group_noise(heads: Sequence[BenchmarkRow]) -> tuple[float | None, float | None]:
    """The leaves' noise, weighted as their items are."""
    total = sum(row.n for row in heads)
    rates = [row.noise_flip_rate for row in heads]
    errors = [row.noise_se for row in heads]
    rate, error = None, None
    if all(one is not None for one in rates):
        rate = sum((one or 0.0) * row.n for one, row in zip(rates, heads, strict=True)) / total
    if all(one is not None for one in errors):
        error = math.hypot(
            *((one or 0.0) * row.n / total for one, row in zip(errors, heads, strict=True))
        )
    return rate, error
