"""Two models' samples of one task, item by item."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modeldiff_harness.benchmarks.samples import TaskSample, by_filter
from modeldiff_harness.errors import RunError, UsageError, did_you_mean

__all__ = [
    "MOST_UNMATCHED_SHARE",
    "PRIMARY_METRICS",
    "PairedSamples",
    "pair_samples",
    "primary_metric",
]

MOST_UNMATCHED_SHARE = 0.01

PRIMARY_METRICS = (
    "acc_norm",
    "acc",
    "exact_match",
    "prompt_level_strict_acc",
    "pass@1",
    "pass_at_1",
    "mc2",
    "f1",
    "rougeL",
    "bleu",
    "word_perplexity",
)
"""The first of these that a task has is its primary metric; else its first metric."""


@dataclass(frozen=True)
class PairedSamples:
    """The items both models answered, in order of document, under one filter."""

    task: str
    filter: str
    baseline: tuple[TaskSample, ...]
    candidate: tuple[TaskSample, ...]
    n_unmatched: int
    """Items that only one of the models answered."""
    n_prompts_differ: int
    """Items whose prompts differ (chat templates, few-shot examples)."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that both models have on the first item, in the task's order."""
        first, second = self.baseline[0], self.candidate[0]
        mine = [*first.values, *first.parts]
        theirs = {*second.values, *second.parts}
        return tuple(metric for metric in mine if metric in theirs)


def pair_samples(
    task: str,
    baseline: Sequence[TaskSample],
    candidate: Sequence[TaskSample],
    *,
    allow_unmatched: bool = False,
) -> tuple[PairedSamples, ...]:
    """Align two models' rows on (filter, doc_id, doc_hash): one result a filter.

    Raises RunError when filters differ, an item occurs twice, targets of one item differ, nothing
    matches, or more than 1 % of all items have no partner and `allow_unmatched` is off.
    """
    left, right = by_filter(baseline), by_filter(candidate)
    if set(left) != set(right):
        raise RunError(
            f"task {task!r}: the filters differ: {sorted(left)} and {sorted(right)}.",
            hint="Run both models with the same version of the task.",
        )
    return tuple(
        _pair_one(task, name, left[name], right[name], allow_unmatched=allow_unmatched)
        for name in left
    )


def _pair_one(
    task: str,
    filter_name: str,
    baseline: Sequence[TaskSample],
    candidate: Sequence[TaskSample],
    *,
    allow_unmatched: bool,
) -> PairedSamples:
    left = _by_key(task, filter_name, baseline, "baseline")
    right = _by_key(task, filter_name, candidate, "candidate")
    common = sorted(set(left) & set(right))
    n_unmatched = len(set(left) ^ set(right))
    n_items = len(set(left) | set(right))
    if not common:
        raise RunError(
            f"task {task!r}: no item is common to both models ({len(left)} and {len(right)} rows).",
            hint="Run both models on the same data and limit.",
        )
    if n_unmatched > MOST_UNMATCHED_SHARE * n_items and not allow_unmatched:
        raise RunError(
            f"task {task!r}: {n_unmatched} of {n_items} items have no partner, more than 1 %.",
            hint="Run both models on the same data, or pass --allow_unmatched.",
        )
    for key in common:
        if left[key].target_hash != right[key].target_hash:
            raise RunError(
                f"task {task!r}: item {key[0]} has different targets for the two models.",
                hint="The task's data changed between the runs: run both again.",
            )
    return PairedSamples(
        task=task,
        filter=filter_name,
        baseline=tuple(left[key] for key in common),
        candidate=tuple(right[key] for key in common),
        n_unmatched=n_unmatched,
        n_prompts_differ=sum(left[k].prompt_hash != right[k].prompt_hash for k in common),
    )


def _by_key(
    task: str, filter_name: str, samples: Sequence[TaskSample], whose: str
) -> dict[tuple[int, str], TaskSample]:
    rows: dict[tuple[int, str], TaskSample] = {}
    for sample in samples:
        if sample.key in rows:
            raise RunError(
                f"task {task!r}, filter {filter_name!r}: item {sample.doc_id} occurs twice for the"
                f" {whose}.",
                hint="Run the task again.",
            )
        rows[sample.key] = sample
    return rows


def primary_metric(
    task: str, available: Iterable[tuple[str, str]], wanted: str | None = None
) -> tuple[str, str]:
    """Choose the one (metric, filter) that summaries and the multiplicity correction use.

    `available` in the task's order.  `wanted`: "metric" or "metric,filter".  Raises UsageError when
    `wanted` is not among them or there is none.
    """
    choices = list(available)
    if not choices:
        raise UsageError(f"task {task!r} has no metric that can be paired.")
    if wanted is not None:
        metric, _, filter_name = wanted.partition(",")
        for choice in choices:
            if choice[0] == metric and filter_name in ("", choice[1]):
                return choice
        known = [f"{metric},{name}" for metric, name in choices]
        raise UsageError(
            f"task {task!r} has no metric {wanted!r}.",
            hint=did_you_mean(wanted, [*known, *{metric for metric, _ in choices}]),
        )
    for metric in PRIMARY_METRICS:
        for choice in choices:
            if choice[0] == metric:
                return choice
    return choices[0]
