"""One job at a time in a thread beside the caller, on a side stream of the accelerator."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

__all__ = ["BackgroundJob"]

A = TypeVar("A")


class BackgroundJob(Generic[A]):
    """Runs `work` in a thread from now on; `result` waits for it.

    On CUDA the work is queued on a stream of its own, behind what the caller queued before, and
    the caller's stream waits for it where the result is taken.
    """

    def __init__(self, work: Callable[[], A], device: str) -> None:
        self._work = work
        self._cuda = torch.device(device) if device.startswith("cuda") else None
        self._side: Any = None
        self._done: Any = None
        self._value: A | None = None
        self._error: BaseException | None = None
        if self._cuda is not None:
            cuda: Any = torch.cuda
            self._side = cuda.Stream(self._cuda)
            self._side.wait_stream(torch.cuda.current_stream(self._cuda))
            self._done = cuda.Event()
        self._thread = threading.Thread(target=self._run, name="mdh-refill", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with contextlib.nullcontext() if self._side is None else torch.cuda.stream(self._side):
                self._value = self._work()
                if self._done is not None:
                    self._done.record(self._side)
        except BaseException as error:  # raised again where the result is taken
            self._error = error

    def wait(self) -> None:
        """Wait until the work is over, whatever came of it."""
        self._thread.join()

    def result(self) -> A:
        """Wait for the work and return what it gave; raises what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        if self._done is not None:
            torch.cuda.current_stream(self._cuda).wait_event(self._done)
        return self._value  # type: ignore[return-value]
