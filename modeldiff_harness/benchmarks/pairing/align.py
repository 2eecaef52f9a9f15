"""Two models' samples of one task, item by item."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from modeldiff_harness.artifacts import TaskSample
from modeldiff_harness.benchmarks.pairing.sides import PairedSide
from modeldiff_harness.benchmarks.sample_table import SampleTable
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


@dataclass(frozen=True)
class PairedSamples:
    """The items both models answered, in order of document, under one filter."""

    task: str
    filter: str
    baseline: PairedSide
    candidate: PairedSide
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

    @property
    def n_unmatched(self) -> int:
        """Items that only one of the models answered, changed ones included."""
        return self.n_only_baseline + self.n_only_candidate + self.n_changed

    @property
    def samples_per_item(self) -> float:
        """Answers an item, averaged over items and models."""
        n = self.baseline.n_answers + self.candidate.n_answers
        return n / (2 * len(self.baseline)) if n else 1.0

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that both models have on some item, in the task's order."""
        theirs = set(self.candidate.metrics())
        return tuple(metric for metric in self.baseline.metrics() if metric in theirs)


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
    tables = SampleTable.of(baseline), SampleTable.of(candidate)
    left, right = (table.rows_by_filter() for table in tables)
    if set(left) != set(right):
        raise RunError(
            f"task {task!r}: the filters differ: {sorted(left)} and {sorted(right)}.",
            hint="Run both models with the same version of the task.",
        )
    return tuple(
        _pair_one(
            task,
            name,
            _answers(task, name, tables[0], left[name], "baseline", average_repeats),
            _answers(task, name, tables[1], right[name], "candidate", average_repeats),
            allow_unmatched=allow_unmatched,
        )
        for name in left
    )


@dataclass(frozen=True)
class _Answers:
    """One model's answers by item: most have one, and a number that no other item has."""

    table: SampleTable
    first: dict[int | str, int] = field(default_factory=dict)
    """Number → row of its first answer."""
    further: dict[int | str, list[int]] = field(default_factory=dict)
    """Number → rows of its other answers, or of other documents of this number."""
    duplicated: list[int | str] = field(default_factory=list)
    """The number of every row that repeats another word for word."""

    def of(self, number: int | str) -> dict[str, tuple[int, ...]]:
        """Document → rows of the answers to it."""
        if number not in self.first:
            return {}
        found: dict[str, tuple[int, ...]] = {}
        for row in (self.first[number], *self.further.get(number, ())):
            doc_hash = self.table.doc_hash[row]
            found[doc_hash] = (*found.get(doc_hash, ()), row)
        return found

    @property
    def n_items(self) -> int:
        return len(self.first) + sum(len(self.of(number)) - 1 for number in self.further)


@dataclass(frozen=True)
class _Matched:
    """Which rows of the two models answer the same item, and what has no partner."""

    baseline: array[int] = field(default_factory=lambda: array("q"))
    """Item → row of the first answer to it."""
    candidate: array[int] = field(default_factory=lambda: array("q"))
    more_baseline: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Item → rows of the other answers to it."""
    more_candidate: dict[int, tuple[int, ...]] = field(default_factory=dict)
    only_baseline: list[Key] = field(default_factory=list)
    only_candidate: list[Key] = field(default_factory=list)
    changed: list[int | str] = field(default_factory=list)
    """Numbers of items with another document."""
    retargeted: list[Key] = field(default_factory=list)

    @property
    def n_common(self) -> int:
        """Items with the same document, also where the target is another."""
        return len(self.baseline) + len(self.retargeted)

    @property
    def n_unmatched(self) -> int:
        return len(self.changed) + len(self.only_baseline) + len(self.only_candidate)

    def add(self, mine: tuple[int, ...], theirs: tuple[int, ...]) -> None:
        item = len(self.baseline)
        self.baseline.append(mine[0])
        self.candidate.append(theirs[0])
        if len(mine) > 1:
            self.more_baseline[item] = mine[1:]
        if len(theirs) > 1:
            self.more_candidate[item] = theirs[1:]


def _match(left: _Answers, right: _Answers) -> _Matched:
    """Match items by number and document, in order of number."""
    found = _Matched()
    documents = left.table.doc_hash, right.table.doc_hash
    targets = left.table.target_hash, right.table.target_hash
    several = left.further.keys() | right.further.keys()
    for number in _in_order({**left.first, **right.first}):
        row, other = left.first.get(number), right.first.get(number)
        if row is not None and other is not None and number not in several:
            same = documents[0][row] == documents[1][other]
            if same and targets[0][row] == targets[1][other]:
                found.baseline.append(row)  # nearly all items: as `add`, without the tuples
                found.candidate.append(other)
                continue
        mine, theirs = left.of(number), right.of(number)
        if len(mine) == len(theirs) == 1 and mine.keys() != theirs.keys():
            found.changed.append(number)
            continue
        for doc_hash in sorted({**mine, **theirs}):
            if doc_hash not in theirs:
                found.only_baseline.append((number, doc_hash))
            elif doc_hash not in mine:
                found.only_candidate.append((number, doc_hash))
            elif targets[0][mine[doc_hash][0]] != targets[1][theirs[doc_hash][0]]:
                found.retargeted.append((number, doc_hash))
            else:
                found.add(mine[doc_hash], theirs[doc_hash])
    return found


def _in_order(numbers: Iterable[int | str]) -> list[int | str]:
    """Numbers before names, each in its own order."""
    return sorted(numbers, key=lambda n: (False, n, "") if isinstance(n, int) else (True, 0, n))


def _pair_one(
    task: str, filter_name: str, left: _Answers, right: _Answers, *, allow_unmatched: bool
) -> PairedSamples:
    found = _match(left, right)
    if not found.n_common:
        raise RunError(
            f"task {task!r}: no item is common to both models ({left.n_items} and"
            f" {right.n_items} items).",
            hint="Run both models on the same data and limit.",
        )
    if not allow_unmatched:
        _require_partners(task, found)
    if not found.baseline:
        raise RunError(f"task {task!r}: every common item has different targets.")
    prompts = left.table.prompt_hash, right.table.prompt_hash
    return PairedSamples(
        task=task,
        filter=filter_name,
        baseline=PairedSide(left.table, found.baseline, found.more_baseline),
        candidate=PairedSide(right.table, found.candidate, found.more_candidate),
        n_only_baseline=len(found.only_baseline),
        n_only_candidate=len(found.only_candidate),
        n_changed=len(found.changed) + len(found.retargeted),
        n_duplicates=len(left.duplicated) + len(right.duplicated),
        n_prompts_differ=sum(
            prompts[0][row] != prompts[1][other]
            for row, other in zip(found.baseline, found.candidate, strict=True)
        ),
        named=tuple(_named(found, (*left.duplicated, *right.duplicated))[:_MOST_NAMED]),
    )


def _named(found: _Matched, duplicated: Iterable[int | str]) -> list[str]:
    return [
        *(f"{number}: another document" for number in sorted(found.changed, key=str)),
        *(f"{number}: another target" for number, _ in found.retargeted),
        *(f"{number}: only the baseline answered" for number, _ in found.only_baseline),
        *(f"{number}: only the candidate answered" for number, _ in found.only_candidate),
        *(f"{number}: repeated rows" for number in dict.fromkeys(duplicated)),
    ]


def _require_partners(task: str, found: _Matched) -> None:
    if found.retargeted:
        raise RunError(
            f"task {task!r}: {_items(found.retargeted)} different targets for the two models.",
            hint="The task's data changed between the runs: run both again.",
        )
    n_items = found.n_common + found.n_unmatched
    if found.n_unmatched > MOST_UNMATCHED_SHARE * n_items:
        detail = (
            f"{len(found.only_baseline)} only of the baseline,"
            f" {len(found.only_candidate)} only of the candidate"
        )
        if found.changed:
            detail += f", {len(found.changed)} with another document"
        raise RunError(
            f"task {task!r}: {found.n_unmatched} of {n_items} items have no partner, more than 1 %"
            f" ({detail}).",
            hint="Run both models on the same data, or pass --allow_unmatched.",
        )


def _items(keys: Sequence[Key]) -> str:
    """ "item 3 has" or "4 items (3, 7, 8, …) have"."""
    if len(keys) == 1:
        return f"item {keys[0][0]} has"
    shown = ", ".join(str(key[0]) for key in keys[:5])
    return f"{len(keys)} items ({shown}{', …' if len(keys) > 5 else ''}) have"


def _answers(
    task: str,
    filter_name: str,
    table: SampleTable,
    rows: Iterable[int],
    whose: str,
    average_repeats: bool,
) -> _Answers:
    found = _Answers(table)
    for row in rows:
        number = table.doc_id[row]
        first = found.first.setdefault(number, row)
        if first == row:
            continue
        known = [
            other
            for other in (first, *found.further.get(number, ()))
            if table.doc_hash[other] == table.doc_hash[row]
        ]
        if any(table.row(other) == table.row(row) for other in known):
            found.duplicated.append(number)
            continue
        repeats = {table.repeat.get(other, 0) for other in known}
        if table.repeat.get(row, 0) in repeats and not average_repeats:
            raise RunError(
                f"task {task!r}, filter {filter_name!r}: item {number} occurs twice for the"
                f" {whose}, with different answers.",
                hint="Give one run a folder, or --average_repeats when these are several samples.",
            )
        found.further.setdefault(number, []).append(row)
    return found


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
