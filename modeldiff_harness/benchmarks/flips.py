"""Items lost and gained, with both answers."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from modeldiff_harness.artifacts import (
    AnswerFaults,
    BenchmarkItem,
    BenchmarkResults,
    BenchmarkRow,
)
from modeldiff_harness.errors import UsageError, did_you_mean

__all__ = ["Direction", "Flip", "FlipList", "FlippedTask", "find_flips"]

Direction = Literal["both", "lost", "gained"]


@dataclass(frozen=True)
class Flip:
    """One item that the candidate does worse (lost) or better (gained) than the baseline."""

    direction: Literal["lost", "gained"]
    item: BenchmarkItem


@dataclass(frozen=True)
class FlippedTask:
    """How many items of a task's primary metric changed."""

    task: str
    metric: str
    filter: str
    n: int
    n_lost: int
    n_gained: int
    noise_flip_rate: float | None
    """Share of items that change between two runs of the baseline alone; None without reruns."""


@dataclass(frozen=True)
class FlipList:
    """The flips asked for, losses first within a task, largest change first."""

    tasks: tuple[FlippedTask, ...]
    """Every task asked for, with counts of all its flips."""
    flips: tuple[Flip, ...]
    """At most `limit` of each task and direction."""
    faults: tuple[AnswerFaults, ...]
    """Faults of both models' answers to these tasks."""

    def of(self, task: FlippedTask) -> list[Flip]:
        """Return the flips of one task."""
        return [flip for flip in self.flips if flip.item.task == task.task]


def find_flips(
    results: BenchmarkResults,
    *,
    tasks: Sequence[str] = (),
    direction: Direction = "both",
    limit: int | None = None,
) -> FlipList:
    """List the items whose primary metric changed; `tasks` are names, groups or patterns.

    Raises UsageError for a task that is not among the results, a wrong direction or limit.
    """
    if direction not in get_args(Direction):
        raise UsageError(f"unknown direction {direction!r}.", hint="Take both, lost or gained.")
    if limit is not None and limit < 0:
        raise UsageError(f"limit is {limit}; give 0 or more.")
    heads = _heads(results, tasks)
    listed, flips = [], []
    for head in heads:
        found: dict[str, list[Flip]] = {"lost": [], "gained": []}
        for item in results.items:
            same = (item.task, item.metric, item.filter) == (head.task, head.metric, head.filter)
            if same and item.baseline != item.candidate:
                gained = (item.candidate > item.baseline) == head.higher_is_better
                word: Literal["lost", "gained"] = "gained" if gained else "lost"
                found[word].append(Flip(word, item))
        lost, won = found["lost"], found["gained"]
        listed.append(
            FlippedTask(
                head.task,
                head.metric,
                head.filter,
                head.n,
                len(lost),
                len(won),
                head.noise.flip_rate if head.noise else None,
            )
        )
        for wanted, some in found.items():
            if direction in ("both", wanted):
                some.sort(key=lambda flip: -abs(flip.item.candidate - flip.item.baseline))
                flips += some if limit is None else some[:limit]
    names = {head.task for head in heads}
    faults = tuple(f for f in results.answer_faults if f.task in names)
    return FlipList(tuple(listed), tuple(flips), faults)


def _heads(results: BenchmarkResults, tasks: Sequence[str]) -> list[BenchmarkRow]:
    """The primary rows of the tasks asked for, in the order of the results."""
    primary = [row for row in results.rows if row.primary]
    if not tasks:
        return primary
    wanted: set[str] = set()
    for pattern in tasks:
        members = results.groups.get(pattern, ())
        fitting = {
            r.task for r in primary if r.task in members or fnmatch.fnmatchcase(r.task, pattern)
        }
        if not fitting:
            known = [*(row.task for row in primary), *results.groups]
            raise UsageError(
                f"there are no results of task {pattern!r}.", hint=did_you_mean(pattern, known)
            )
        wanted |= fitting
    return [row for row in primary if row.task in wanted]
