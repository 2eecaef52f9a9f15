"""Two models on one task: their samples paired, compared, and told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from modeldiff_harness.artifacts import (
    AnswerFaults,
    BenchmarkItem,
    BenchmarkRow,
    ItemAlignment,
    MeasuredTask,
)
from modeldiff_harness.benchmarks.pairing.align import (
    MOST_UNMATCHED_SHARE,
    PairedSamples,
    pair_samples,
    primary_metric,
)
from modeldiff_harness.benchmarks.pairing.cluster_keys import (
    ClusterRule,
    cluster_labels,
    cluster_rule,
    document_labels,
)
from modeldiff_harness.benchmarks.pairing.completeness import (
    count_missing,
    item_range,
    other_primary_metric,
    printed_otherwise,
    repeated_documents,
    require_all_samples,
    settings_not_recorded,
)
from modeldiff_harness.benchmarks.pairing.items import (
    alignment_of,
    answer_faults_of,
    items_of,
)
from modeldiff_harness.benchmarks.pairing.metric_values import (
    AggregationLookup,
    MetricValues,
    take_values,
)
from modeldiff_harness.benchmarks.pairing.noise_floor import noise_floor
from modeldiff_harness.benchmarks.pairing.prompts import prompts_of_other_content
from modeldiff_harness.benchmarks.pairing.rows import direction_of, paired_row
from modeldiff_harness.errors import RunError
from modeldiff_harness.stats.estimates import PairedEstimate, Undetermined

__all__ = ["PairedTask", "PairingOptions", "pair_task"]


_OTHER_DIRECTION = "{} is better by the baseline's results, {} by the candidate's"


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
    reruns: Sequence[MeasuredTask] = (),
    aggregation: AggregationLookup = lambda _name: None,
    primary: str | None = None,
    options: PairingOptions = PairingOptions(),
) -> PairedTask:
    """Compare two models on one task: a row a metric and filter, the items of the primary one.

    `reruns`: reruns of the baseline for the noise floor.  `aggregation`: the task's own
    aggregations by name, asked where ours has none.  Raises RunError when the runs cannot be
    paired or the primary metric has no interval, and UsageError for an unknown `primary`.
    """
    sides = baseline, candidate
    _require_same_task(baseline, candidate, options.allow_unmatched)
    _require_finished(baseline, candidate, options.allow_unmatched)
    task = baseline.task
    pairs = pair_samples(
        task,
        baseline.samples,
        candidate.samples,
        allow_unmatched=options.allow_unmatched,
        average_repeats=options.average_repeats,
    )
    require_all_samples(sides, allow_unmatched=options.allow_unmatched)
    available = [(metric, pair.filter) for pair in pairs for metric in pair.metrics]
    chosen = primary_metric(task, available, primary, baseline.primary_metrics)
    asked = cluster_rule(task, baseline.cluster_field, options.clusters)
    rule = asked
    rows, notes = [], _pair_notes(baseline, candidate, pairs)
    settings = tuple(settings_not_recorded(sides))
    compared: dict[tuple[str, str], _Compared] = {}
    for pair in pairs:
        labels = cluster_labels(asked, pair.baseline) if asked is not None else None
        if labels is None and (labels := document_labels(pair.baseline)) is not None:
            rule = ClusterRule("document", task, required=False)
            notes.append(
                f"{task}: {len(labels):,} items are copies of {len(set(labels)):,} documents, which"
                " count as one cluster each"
            )
        for metric in pair.metrics:
            key, where = (metric, pair.filter), f"{task}: {metric},{pair.filter}"
            found = _compare(take_values(baseline, pair, metric, labels, aggregation), options)
            if isinstance(found, Undetermined):
                if key == chosen:
                    raise RunError(f"{where} has no interval: {found.reason}.")
                notes.append(f"{where} left out: {found.reason}")
                continue
            compared[key] = found
            if key == chosen:
                _require_scored(task, pair, found.values, options)
            noise, remarks = noise_floor(task, pair.filter, metric, found.values, reruns)
            up, theirs = (direction_of(side, metric, options.directions) for side in sides)
            row = paired_row(
                sides,
                pair,
                found.values,
                found.estimate,
                rule=rule,
                noise=noise,
                higher_is_better=up,
                primary=key == chosen,
            )
            doubts = [*settings]
            if up != theirs:
                doubts.append(_OTHER_DIRECTION.format(*("higher", "lower")[:: 1 if up else -1]))
            if key == chosen and primary is None:
                doubts += other_primary_metric(sides, pairs, chosen)
            if not options.average_repeats:
                ours = found.estimate.baseline, found.estimate.candidate
                doubts += printed_otherwise(sides, pair, found.values, ours)
            row = replace(
                row,
                n_missing=count_missing(sides, pair, found.values),
                item_range=item_range(found.values),
                not_comparable=tuple(doubts),
            )
            rows.append(row)
            notes += [*remarks, *_completeness_notes(row)]
    head = compared[chosen]
    n_left_out = {chosen[1]: head.values.n_left_out}
    return PairedTask(
        rows=tuple(sorted(rows, key=lambda row: not row.primary)),
        primary=head.estimate,
        values=head.values if head.values.per_item else None,
        rule=rule if head.values.clusters is not None else None,
        items=items_of(pairs, chosen),
        alignments=tuple(alignment_of(pair, n_left_out.get(pair.filter, 0)) for pair in pairs),
        faults=answer_faults_of(baseline, candidate, pairs),
        notes=tuple(dict.fromkeys(notes)),
    )


@dataclass(frozen=True)
class _Compared:
    values: MetricValues
    estimate: PairedEstimate


def _compare(
    values: MetricValues | Undetermined, options: PairingOptions
) -> _Compared | Undetermined:
    if isinstance(values, Undetermined):
        return values
    estimate = values.compare(options.confidence, options.seed)
    return estimate if isinstance(estimate, Undetermined) else _Compared(values, estimate)


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


def _require_finished(
    baseline: MeasuredTask, candidate: MeasuredTask, allow_unmatched: bool
) -> None:
    for whose, side in (("baseline", baseline), ("candidate", candidate)):
        if side.unfinished and not allow_unmatched:
            raise RunError(
                f"task {side.task!r}: the {whose}'s run {side.unfinished}.",
                hint="Run it to its end, or pass --allow_unmatched to compare what there is.",
            )


def _require_scored(
    task: str, pair: PairedSamples, values: MetricValues, options: PairingOptions
) -> None:
    n_missing, n_items = values.n_left_out, len(pair.baseline)
    if values.aggregation == "nanmean" or options.allow_unmatched:
        return  # an aggregation that leaves items out says so; they are counted all the same
    if n_missing > MOST_UNMATCHED_SHARE * n_items:
        raise RunError(
            f"task {task!r}: {n_missing} of {n_items} items were not scored for one of the models,"
            " more than 1 %.",
            hint="Mend the failed samples, or pass --allow_unmatched.",
        )


def _completeness_notes(row: BenchmarkRow) -> Iterator[str]:
    for clause in row.not_comparable:
        yield f"{row.task}: {clause}"
    n_not_scored = row.n_missing - row.n_unmatched
    if n_not_scored > 0:
        yield (
            f"{row.task}: {n_not_scored:,} of {row.n + row.n_missing:,} items have no value of"
            f" {row.metric} for one of the models, or are not among the samples"
        )


def _pair_notes(
    baseline: MeasuredTask, candidate: MeasuredTask, pairs: Sequence[PairedSamples]
) -> list[str]:
    task = baseline.task
    notes = [
        f"{task}: the {whose}'s run {side.unfinished}"
        for whose, side in (("baseline", baseline), ("candidate", candidate))
        if side.unfinished
    ]
    n_differ = max(pair.n_prompts_differ for pair in pairs)
    if n_differ:
        reason = ""
        if baseline.chat_template_digest != candidate.chat_template_digest:
            reason = " (the chat templates differ)"
        notes.append(f"{task}: {n_differ} prompts differ between the models{reason}")
        other, n_compared = max(map(prompts_of_other_content, pairs), key=lambda one: len(one[0]))
        if other:
            shown = ", ".join(map(str, other[:5])) + (", …" if len(other) > 5 else "")
            notes.append(
                f"{task}: {len(other)} of {n_compared} prompts that differ ask something else,"
                " which no chat template explains: other few-shot examples, or other documents from"
                f" a request cache (items {shown})"
            )
    worst = max(pairs, key=lambda pair: pair.n_unmatched)
    if worst.n_unmatched:
        shown = "; ".join(worst.named[:3])
        notes.append(
            f"{task}: {worst.n_unmatched} items have no partner and are left out ({shown})"
        )
    n_duplicates = max(pair.n_duplicates for pair in pairs)
    if n_duplicates:
        notes.append(f"{task}: {n_duplicates} rows repeat another word for word and are dropped")
    n_repeated = max(map(repeated_documents, pairs))
    if n_repeated:
        n = max(len(pair.baseline) for pair in pairs)
        notes.append(
            f"{task}: {n_repeated:,} of {n:,} items repeat the document of another item under a"
            " number of their own"
        )
    for name, left, right in (
        ("measured by", baseline.harness, candidate.harness),
        ("seeds", baseline.seeds, candidate.seeds),
    ):
        if left != right and left and right:
            notes.append(f"{task}: {name} differs between the models: {left} and {right}")
    return notes
