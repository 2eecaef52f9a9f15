"""A folder of event files a dictionary, and scalars by term."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from modeldiff_harness import TrainStepEvent

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOSS_TERMS = frozenset({"total", "recon", "aux", "delta"})
"""Terms that are shown together as losses; the others are counters of the training."""


class Curves:
    """The curves below `root`.

    A writer is opened at a dictionary's first event with that event's step as `purge_step`: what
    an earlier process wrote from there on, before it was killed, no longer counts.
    """

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)
        self._writers: dict[str, SummaryWriter] = {}

    def add(self, event: TrainStepEvent) -> None:
        """Write one step and flush it to disk."""
        writer = self._writers.get(event.dictionary_id)
        if writer is None:
            writer = self._writers[event.dictionary_id] = self._writer(event)
        for tag, number in scalars(event).items():
            writer.add_scalar(tag, number, global_step=event.step)
        writer.flush()

    def close(self) -> None:
        """Close every file."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _writer(self, event: TrainStepEvent) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter  # heavy: only when there is something

        folder = self._root / folder_name(event.dictionary_id)
        return SummaryWriter(log_dir=str(folder), purge_step=event.step)


def scalars(event: TrainStepEvent) -> dict[str, float]:
    """Return the event's numbers by tag."""
    numbers = {
        f"{'loss' if term in LOSS_TERMS else 'training'}/{term}": number
        for term, number in event.terms.items()
    }
    return numbers | {"training/tokens_per_second": event.tokens_per_second}


def folder_name(dictionary_id: str) -> str:
    """Return a name that stays below the root: no separators, no leading dots."""
    return re.sub(r"[^\w.@#-]+", "_", dictionary_id).lstrip(".") or "_"
