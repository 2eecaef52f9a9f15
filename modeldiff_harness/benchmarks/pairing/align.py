"""Two models' samples of one task, item by item."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from modeldiff_harness.artifacts import TaskSample
from modeldiff_harness.benchmarks.samples import by_filter
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

_MOST_NAMED = 20

Key = tuple[int | str, str]
Answers = tuple[TaskSample, ...]


@dataclass(frozen=True)
class PairedSamples:
    """The items both models answered, in order of document, under one filter."""

    task: str
    filter: str
    baseline: Answers
    """One an item: of several answers the means, with the text of the first."""
    candidate: Answers
    n_only_baseline: int
    n_only_candidate: int
    n_changed: int
    """Items with the same number but another document or target."""
    n_duplicates: int
    """Repeated rows that said the same."""
    n_prompts_differ: int
    """Items whose prompts differ (chat templates, few-shot examples)."""
    named: tuple[str, ...] = ()
    """The first items that are not paired as they stand, with what is the matter."""
    baseline_answers: tuple[Answers, ...] = field(default=(), repr=False)
    """Every answer to each item."""
    candidate_answers: tuple[Answers, ...] = field(default=(), repr=False)

    @property
    def n_unmatched(self) -> int:
        """Items that only one of the models answered, changed ones included."""
        return self.n_only_baseline + self.n_only_candidate + self.n_changed

    @property
    def samples_per_item(self) -> float:
        """Answers an item, averaged over items and models."""
        n = sum(map(len, self.baseline_answers)) + sum(map(len, self.candidate_answers))
        return n / (2 * len(self.baseline)) if n else 1.0

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that both models have on some item, in the task's order."""
        mine = dict.fromkeys(m for s in self.baseline for m in (*s.values, *s.parts))
        theirs = {m for s in self.candidate for m in (*s.values, *s.parts)}
        return tuple(metric for metric in mine if metric in theirs)


def pair_samples(
    task: str,
    baseline: Sequence[TaskSample],
    candidate: Sequence[TaskSample],
    *,
    allow_unmatched: bool = False,
    average_repeats: bool = False,
) -> tuple[PairedSamples, ...]:
    """Align two models' rows on (filter, doc_id, doc_hash): one result a filter.

    Rows that repeat another word for word are dropped and counted.  Several different answers to
    one item are averaged when the source numbers them or `average_repeats` says so.

    Raises RunError when filters differ, an item has several unnumbered answers, nothing matches,
    or, with `allow_unmatched` off, targets of one item differ or more than 1 % of all items have
    no partner.
    """
    left, right = by_filter(baseline), by_filter(candidate)
    if set(left) != set(right):
        raise RunError(
            f"task {task!r}: the filters differ: {sorted(left)} and {sorted(right)}.",
            hint="Run both models with the same version of the task.",
        )
    return tuple(
        _pair_one(
            task,
            name,
            _by_key(task, name, left[name], "baseline", average_repeats),
            _by_key(task, name, right[name], "candidate", average_repeats),
            allow_unmatched=allow_unmatched,
        )
        for name in left
    )


@dataclass(frozen=True)
class _Side:
    """One model's answers by item."""

    answers: Mapping[Key, Answers]
    n_duplicates: int
    duplicated: tuple[int | str, ...]

    def hashes(self) -> dict[int | str, str]:
        """Item number → document, where the number is unique."""
        found: dict[int | str, list[str]] = {}
        for doc_id, doc_hash in self.answers:
            found.setdefault(doc_id, []).append(doc_hash)
        return {doc_id: hashes[0] for doc_id, hashes in found.items() if len(hashes) == 1}


def _pair_one(
    task: str, filter_name: str, left: _Side, right: _Side, *, allow_unmatched: bool
) -> PairedSamples:
    common = sorted(set(left.answers) & set(right.answers), key=_order)
    mine, theirs = left.hashes(), right.hashes()
    changed = {i for i in mine.keys() & theirs.keys() if mine[i] != theirs[i]}
    only_left = [k for k in left.answers if k not in right.answers and k[0] not in changed]
    only_right = [k for k in right.answers if k not in left.answers and k[0] not in changed]
    retargeted = [
        k for k in common if left.answers[k][0].target_hash != right.answers[k][0].target_hash
    ]
    named = [
        *(f"{i}: another document" for i in sorted(changed, key=str)),
        *(f"{k[0]}: another target" for k in retargeted),
        *(f"{k[0]}: only the baseline answered" for k in sorted(only_left, key=_order)),
        *(f"{k[0]}: only the candidate answered" for k in sorted(only_right, key=_order)),
        *(f"{i}: repeated rows" for i in dict.fromkeys((*left.duplicated, *right.duplicated))),
    ]
    n_unmatched = len(changed) + len(only_left) + len(only_right)
    n_items = len(common) + n_unmatched
    if not common:
        raise RunError(
            f"task {task!r}: no item is common to both models ({len(left.answers)} and"
            f" {len(right.answers)} items).",
            hint="Run both models on the same data and limit.",
        )
    if retargeted and not allow_unmatched:
        raise RunError(
            f"task {task!r}: {_items(retargeted)} different targets for the two models.",
            hint="The task's data changed between the runs: run both again.",
        )
    if n_unmatched > MOST_UNMATCHED_SHARE * n_items and not allow_unmatched:
        detail = f"{len(only_left)} only of the baseline, {len(only_right)} only of the candidate"
        if changed:
            detail += f", {len(changed)} with another document"
        raise RunError(
            f"task {task!r}: {n_unmatched} of {n_items} items have no partner, more than 1 %"
            f" ({detail}).",
            hint="Run both models on the same data, or pass --allow_unmatched.",
        )
    lost = set(retargeted)
    kept = [key for key in common if key not in lost]
    if not kept:
        raise RunError(f"task {task!r}: every common item has different targets.")
    answers = [tuple(side.answers[key] for key in kept) for side in (left, right)]
    pairs = list(zip(*answers, strict=True))
    return PairedSamples(
        task=task,
        filter=filter_name,
        baseline=tuple(map(_mean_answer, answers[0])),
        candidate=tuple(map(_mean_answer, answers[1])),
        n_only_baseline=len(only_left),
        n_only_candidate=len(only_right),
        n_changed=len(changed) + len(retargeted),
        n_duplicates=left.n_duplicates + right.n_duplicates,
        n_prompts_differ=sum(a[0].prompt_hash != b[0].prompt_hash for a, b in pairs),
        named=tuple(named[:_MOST_NAMED]),
        baseline_answers=answers[0],
        candidate_answers=answers[1],
    )


def _items(keys: Sequence[Key]) -> str:
    """ "item 3 has" or "4 items (3, 7, 8, …) have"."""
    if len(keys) == 1:
        return f"item {keys[0][0]} has"
    shown = ", ".join(str(key[0]) for key in keys[:5])
    return f"{len(keys)} items ({shown}{', …' if len(keys) > 5 else ''}) have"


def _order(key: Key) -> tuple[bool, int, str, str]:
    """Numbers before names, each in its own order."""
    doc_id, doc_hash = key
    if isinstance(doc_id, int):
        return False, doc_id, "", doc_hash
    return True, 0, doc_id, doc_hash


def _by_key(
    task: str,
    filter_name: str,
    samples: Sequence[TaskSample],
    whose: str,
    average_repeats: bool,
) -> _Side:
    rows: dict[Key, list[TaskSample]] = {}
    n_duplicates, duplicated = 0, []
    for sample in samples:
        known = rows.setdefault(sample.key, [])
        if sample in known:
            n_duplicates += 1
            duplicated.append(sample.doc_id)
            continue
        if any(sample.repeat == other.repeat for other in known) and not average_repeats:
            raise RunError(
                f"task {task!r}, filter {filter_name!r}: item {sample.doc_id} occurs twice for the"
                f" {whose}, with different answers.",
                hint="Give one run a folder, or --average_repeats when these are several samples.",
            )
        known.append(sample)
    return _Side(
        {key: tuple(found) for key, found in rows.items()}, n_duplicates, tuple(duplicated)
    )


def _mean_answer(answers: Answers) -> TaskSample:
    """One sample an item: means over the answers that were scored, the rest from the first."""
    first = answers[0]
    if len(answers) == 1:
        return first
    means = {}
    for metric in dict.fromkeys(m for answer in answers for m in answer.values):
        found = [answer.values.get(metric, math.nan) for answer in answers]
        finite = [value for value in found if math.isfinite(value)]
        means[metric] = sum(finite) / len(finite) if finite else math.nan
    return replace(first, values=means)


def primary_metric(
    task: str,
    available: Iterable[tuple[str, str]],
    wanted: str | None = None,
    preferred: Sequence[str] = (),
) -> tuple[str, str]:
    """Choose the one (metric, filter) that summaries and the multiplicity correction use.

    `available` in the task's order.  `wanted`: "metric" or "metric,filter".  `preferred`: metrics
    that the source puts first, before the usual order.  Raises UsageError when `wanted` is not
    among them or there is none.
    """
    choices = list(available)
    if not choices:
        raise UsageError(f"task {task!r} has no metric that can be paired.")
    if wanted is not None:
        if wanted in (metric for metric, _ in choices):  # a metric's own name may hold a comma
            return next(choice for choice in choices if choice[0] == wanted)
        metric, _, filter_name = wanted.rpartition(",")
        for choice in choices:
            if choice == (metric, filter_name):
                return choice
        known = [f"{metric},{name}" for metric, name in choices]
        raise UsageError(
            f"task {task!r} has no metric {wanted!r}.",
            hint=did_you_mean(wanted, [*known, *{metric for metric, _ in choices}]),
        )
    for metric in (*preferred, *PRIMARY_METRICS):
        for choice in choices:
            if choice[0] == metric:
                return choice
    return choices[0]
