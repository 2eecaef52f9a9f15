"""Signals that ask `mdh` to end: each unwinds the work, so that its record is kept."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from modeldiff_harness.errors import Interrupted

__all__ = ["ending_signals", "ignore_signals"]

_ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


@contextmanager
def ending_signals() -> Iterator[None]:
    """Raise Interrupted for SIGINT, SIGTERM and SIGHUP; those ignored (`nohup`) stay ignored."""
    before = {}
    try:
        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, _interrupt)
    except ValueError:  # not the main thread: signals go to somebody else
        yield
        return
    Interrupted.handled = signal.SIGINT in before
    try:
        yield
    finally:
        Interrupted.handled = False
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_signals() -> None:
    """Let nothing break off the last line that is said."""
    for number in _ENDING:
        try:
            signal.signal(number, signal.SIG_IGN)
        except ValueError:
            return


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)
