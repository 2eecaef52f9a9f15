"""The memory of a mixing buffer: a fixed number of token slots, one matrix a view.

A refill may run in a thread of its own on a side stream of the accelerator; then it writes into
slots as they become free and waits while there are none, so that the bound holds at any time.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from modeldiff_harness.artifacts import View
from modeldiff_harness.errors import RunError

__all__ = ["BUFFER_TYPES", "Stopped", "TokenSlots"]

Ints = NDArray[np.int64]
BUFFER_TYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class Stopped(Exception):
    """The refill was told to end while it waited."""


class TokenSlots:
    """`capacity` slots for normalised activations of V views, (capacity, D_v) of `dtype` each.

    Raises RunError when they do not fit into the memory of `device`.
    """

    def __init__(self, views: Sequence[View], capacity: int, dtype: str, device: str) -> None:
        self.capacity = capacity
        self.n_most = 0
        """Most slots that were ever taken at once."""
        self._device = torch.device(device)
        width = sum(view.width for view in views)
        n_bytes = capacity * width * BUFFER_TYPES[dtype].itemsize
        try:
            if self._device.type == "cpu" and n_bytes > psutil.virtual_memory().available:
                raise MemoryError  # the system would promise it now and kill the process later
            self._acts = tuple(
                torch.empty((capacity, view.width), dtype=BUFFER_TYPES[dtype], device=device)
                for view in views
            )
        except (RuntimeError, MemoryError):  # torch.OutOfMemoryError is a RuntimeError
            raise RunError(
                f"a buffer of {capacity:,} tokens needs {n_bytes / 2**30:,.1f} GiB of {device} "
                "memory, more than is free.",
                hint="Lower latents.buffer_tokens, or store bfloat16: latents.buffer_dtype.",
            ) from None
        self._free_N = np.arange(capacity, dtype=np.int64)
        self._n_free = capacity
        self._changed = threading.Condition()
        self._stopped = False
        self._released: Any = None
        """CUDA event after which the free slots may be written again."""

    @property
    def n_taken(self) -> int:
        """Return how many slots hold a token."""
        return self.capacity - self._n_free

    def put(self, acts: Sequence[Tensor], *, wait: bool) -> Ints:
        """Store T tokens and return their slots (T,).

        With `wait`, block until enough slots are free; Stopped when `stop` is called meanwhile.
        """
        n = int(acts[0].shape[0])
        with self._changed:
            while wait and self._n_free < n and not self._stopped:
                self._changed.wait()
            if self._stopped and wait:
                raise Stopped
            if self._n_free < n:
                raise RuntimeError(f"{n} tokens for {self._n_free} free slots")
            self._n_free -= n
            taken = self._free_N[self._n_free : self._n_free + n].copy()
            self.n_most = max(self.n_most, self.n_taken)
            released = self._released
        index = torch.from_numpy(taken).to(self._device)
        if released is not None:
            torch.cuda.current_stream(self._device).wait_event(released)
        for stored_ND, x_TD in zip(self._acts, acts, strict=True):
            stored_ND[index] = x_TD.to(self._device, stored_ND.dtype)
        return taken

    def gather(self, slots: Ints) -> tuple[Tensor, ...]:
        """Return float32 copies of the tokens in `slots`, in this order."""
        index = torch.from_numpy(slots).to(self._device)
        return tuple(stored_ND[index].to(torch.float32) for stored_ND in self._acts)

    def release(self, slots: Ints) -> None:
        """Free `slots`; what was gathered from them stays valid."""
        n = slots.shape[0]
        with self._changed:
            self._free_N[self._n_free : self._n_free + n] = slots
            self._n_free += n
            if self._device.type == "cuda":
                cuda: Any = torch.cuda
                self._released = cuda.Event()
                self._released.record(cuda.current_stream(self._device))
            self._changed.notify_all()

    def keep_only(self, slots: Sequence[Ints]) -> None:
        """Free every slot but `slots`; −1 stands for none."""
        taken = np.zeros(self.capacity, dtype=bool)
        for slot_T in slots:
            taken[slot_T[slot_T >= 0]] = True
        with self._changed:
            self._n_free = int((~taken).sum())
            self._free_N[: self._n_free] = np.flatnonzero(~taken)

    def stop(self, stopped: bool = True) -> None:
        """Wake a waiting `put` and make it raise Stopped; `stop(False)` allows waiting again."""
        with self._changed:
            self._stopped = stopped
            self._changed.notify_all()
