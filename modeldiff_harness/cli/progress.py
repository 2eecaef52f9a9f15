"""Live progress: rich bars and a training table on a terminal, plain lines elsewhere.

Both go to standard error.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichBars

from modeldiff_harness.cli.train_table import TrainTable, train_remark
from modeldiff_harness.contracts import TrainStepEvent
from modeldiff_harness.progress import Progress, ProgressTask

__all__ = ["console_progress"]

_PLAIN_EVERY_SECONDS = 10.0


def console_progress() -> Progress:
    """Return the display that fits standard error."""
    console = Console(stderr=True, highlight=False)
    return _RichProgress(console) if console.is_terminal else _PlainProgress(console)


class _RichTask:
    def __init__(self, bars: RichBars, task: TaskID, owner: _RichProgress) -> None:
        self._bars, self._task, self._owner = bars, task, owner
        self._unit = str(bars.tasks[bars.task_ids.index(task)].fields["unit"])

    def advance(self, amount: float = 1) -> None:
        self._bars.advance(self._task, amount)
        speed = self._bars.tasks[self._bars.task_ids.index(self._task)].speed
        if speed:
            self._bars.update(self._task, rate=f"{speed:,.4g} {self._unit}/s")

    def note(self, text: str) -> None:
        self._bars.update(self._task, remark=text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.remove_task(self._task)
        self._owner.closed()


class _LiveArea(RichBars):
    """The bars, and above them the table of what is being trained."""

    def __init__(self, training: TrainTable, console: Console) -> None:
        self._training = training
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[remark]}", markup=False),
            console=console,
            transient=True,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        if self._training:
            yield self._training
        yield self.make_tasks_table(self.tasks)


class _RichProgress:
    """One live area that exists while at least one task is open."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: RichBars | None = None
        self._open = 0
        self._training = TrainTable()

    def task(self, title: str, total: float | None, *, unit: str, done: float = 0) -> ProgressTask:
        if self._bars is None:
            self._bars = _LiveArea(self._training, self._console)
            self._bars.start()
        self._open += 1
        task = self._bars.add_task(
            title, total=total, completed=int(done), unit=unit, rate="", remark=""
        )
        return _RichTask(self._bars, task, self)

    def closed(self) -> None:
        self._open -= 1
        if self._open == 0 and self._bars is not None:
            self._bars.stop()
            self._bars = None
            self._training.clear()

    def log(self, line: str) -> None:
        self._console.print(line, markup=False)

    def train_step(self, event: TrainStepEvent) -> None:
        self._training.add(event)
        if event.step >= event.n_steps:  # the live area goes, this line stays
            self.log(f"  train {event.dictionary_id}: {event.step:,} steps, {train_remark(event)}")


class _PlainTask:
    def __init__(
        self, console: Console, title: str, total: float | None, unit: str, done: float
    ) -> None:
        self._console, self._title, self._total, self._unit = console, title, total, unit
        self._done = self._first = done
        self._remark = ""
        self._began = self._last = time.monotonic()

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._last >= _PLAIN_EVERY_SECONDS:
            self._print(now)

    def note(self, text: str) -> None:
        self._remark = text

    def show(self) -> None:
        """Print a line now."""
        self._print(time.monotonic())

    def _print(self, now: float) -> None:
        self._last = now
        rate = (self._done - self._first) / max(now - self._began, 1e-9)
        of = f"/{self._total:,.0f}" if self._total else ""
        left = ""
        if self._total and rate > 0:
            left = f", {max(self._total - self._done, 0) / rate:,.0f} s left"
        remark = f", {self._remark}" if self._remark else ""
        self._console.print(
            f"  {self._title}: {self._done:,.0f}{of} {self._unit}, "
            f"{rate:,.4g} {self._unit}/s{left}{remark}",
            markup=False,
            soft_wrap=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class _PlainProgress:
    """Lines now and then; a training's carry the numbers of its last logged step."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tasks: dict[str, _PlainTask] = {}

    def task(self, title: str, total: float | None, *, unit: str, done: float = 0) -> ProgressTask:
        self._tasks[title] = _PlainTask(self._console, title, total, unit, done)
        return self._tasks[title]

    def log(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)

    def train_step(self, event: TrainStepEvent) -> None:
        task = self._tasks.get(f"train {event.dictionary_id}")
        if task is not None:
            task.note(train_remark(event))
            if event.step >= event.n_steps:
                task.show()
