"""What a live stream's buffer holds of the order of one split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.latents.harvest.buffer import TokenSlots
from modeldiff_harness.latents.harvest.mixing import MixingPlan
from modeldiff_harness.latents.harvest.outliers import OutlierRecord

__all__ = ["HeldBlock", "LiveOrder", "Position"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass
class HeldBlock:
    """A block in the buffer."""

    rows_T: Ints
    """Its kept tokens' corpus positions."""
    slot_T: Ints
    """Slot of each; −1 for outliers and for what was given out before the stream began here."""
    ordinary_T: Bools
    whole: bool
    """Nothing of it was given out."""


@dataclass(frozen=True)
class Position:
    """Where a token lies in the order."""

    epoch: int
    phase: int
    offset: int
    """Tokens of the phase that were given out before."""


@dataclass(eq=False)
class LiveOrder:
    """The order of one split under one seed, what is known of its outliers, and its blocks."""

    split: str
    seed: int
    plan: MixingPlan
    record: OutlierRecord
    slots: TokenSlots
    blocks: dict[tuple[int, int], HeldBlock] = field(default_factory=dict)
    """(epoch, block) → what the buffer holds; a block that stays is (0, 0)."""

    def key(self, epoch: int, block: int) -> tuple[int, int]:
        """Return the name of a block in `blocks`."""
        return (0, 0) if self.plan.stays else (epoch, block)

    def keep_whole(self, epoch: int, phase: int) -> None:
        """Keep the block that the phase begins with, when it is whole; free everything else."""
        wanted = self.key(epoch, phase)
        self.blocks = {k: b for k, b in self.blocks.items() if b.whole and k == wanted}
        self.slots.keep_only([b.slot_T for b in self.blocks.values()])

    def given(self, epoch: int, phase: int, held: Mapping[int, HeldBlock]) -> tuple[Ints, Ints]:
        """Return (slots, corpus rows) of what the phase gives out, in order."""
        given = self.plan.phase(epoch, phase, lambda b: held[b].ordinary_T)
        slot_T = np.empty(len(given.place_T), dtype=np.int64)
        row_T = np.empty_like(slot_T)
        for b, block in held.items():
            own_T = given.block_T == b
            slot_T[own_T] = block.slot_T[given.place_T[own_T]]
            row_T[own_T] = block.rows_T[given.place_T[own_T]]
        return slot_T, row_T

    def free(self, slot_T: Ints) -> None:
        """Free the slots of tokens that were given out; a block that stays keeps its own."""
        if self.plan.stays or not len(slot_T):
            return
        for block in self.blocks.values():
            block.whole = False
        self.slots.release(slot_T)

    def following(self, epoch: int, phase: int) -> tuple[int, int] | None:
        """Return (epoch, block) that is loaded when the phase is over, or None."""
        if self.plan.stays:
            return None
        if phase + 1 < self.plan.n_blocks(epoch):
            return epoch, phase + 1
        return (epoch + 1, 0) if phase + 1 == self.plan.n_phases(epoch) else None
