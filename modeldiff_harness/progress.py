"""Progress of long work: what a stage calls, and the silent implementation.

The live ones (rich bars, plain lines) are the command line's affair; stages only see the protocol.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from modeldiff_harness.events import TrainStepEvent

__all__ = ["Progress", "ProgressTask", "SilentProgress"]


class ProgressTask(Protocol):
    """One piece of counted work; a context manager that ends the display when it leaves."""

    def advance(self, amount: float = 1) -> None:
        """Count `amount` more units as done."""

    def note(self, text: str) -> None:
        """Show a short changing remark beside the bar (a loss, a file name)."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Progress(Protocol):
    """Where stages report to."""

    def task(self, title: str, total: float | None, *, unit: str, done: float = 0) -> ProgressTask:
        """Open a task of `total` units (None: unknown); a checkpoint already holds `done`."""

    def log(self, line: str) -> None:
        """Print one line above the bars."""

    def train_step(self, event: TrainStepEvent) -> None:
        """Show a logged training step; the run's observers are told the same."""


class _SilentTask:
    def advance(self, amount: float = 1) -> None:
        return None

    def note(self, text: str) -> None:
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class SilentProgress:
    """Shows nothing: the default of the Python API and of tests."""

    def task(self, title: str, total: float | None, *, unit: str, done: float = 0) -> ProgressTask:
        """Return a task that shows nothing."""
        return _SilentTask()

    def log(self, line: str) -> None:
        """Drop the line."""

    def train_step(self, event: TrainStepEvent) -> None:
        """Drop the event."""
