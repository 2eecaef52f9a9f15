"""The blocks of a live stream's order that its buffer holds: loaded, given out, freed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.latents.harvest.buffer import TokenSlots
from modeldiff_harness.latents.harvest.live_source import LiveSource
from modeldiff_harness.latents.harvest.mixing import PIECES, MixingPlan
from modeldiff_harness.latents.harvest.outliers import OutlierRecord

__all__ = ["HeldBlock", "HeldBlocks"]

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


class HeldBlocks:
    """Which blocks of a plan lie in the slots, and where."""

    def __init__(
        self, source: LiveSource, plan: MixingPlan, record: OutlierRecord, slots: TokenSlots
    ) -> None:
        self.plan, self.record, self.slots = plan, record, slots
        self._source = source
        self._blocks: dict[tuple[int, int], HeldBlock] = {}
        """(epoch, block) → what the buffer holds; a block that stays is (0, 0)."""

    def ordinary(self, epoch: int, block: int) -> Bools:
        """Mark the places of a block that are no outliers, running it when nobody has yet."""
        if self.plan.stays:
            return self._require(0, 0, 0).ordinary_T
        rows_T = self.plan.rows(epoch, block)
        if epoch == 0 and block >= self.record.n_blocks:
            batches = self._source.run(self.plan.documents(epoch, block), self.record.batch_tokens)
            ordinary_T = np.concatenate([self._source.below_limit(batch) for batch in batches])
            self.record.add(block, rows_T[~ordinary_T])
        return self.record.ordinary(rows_T)

    def begin_at(self, epoch: int, phase: int) -> None:
        """Keep the block that the phase begins with, when it is whole; free everything else."""
        wanted = self._key(epoch, phase)
        self._blocks = {k: b for k, b in self._blocks.items() if b.whole and k == wanted}
        self.slots.keep_only([b.slot_T for b in self._blocks.values()])

    def put(self, epoch: int, block: int, loaded: HeldBlock) -> None:
        """Take a block that `load` gave."""
        self._blocks[epoch, block] = loaded

    def given(self, epoch: int, phase: int) -> tuple[Ints, Ints]:
        """Return (slots, corpus rows) of what the phase gives out, in order; loads it if needed."""
        held = {b: self._require(epoch, b, phase) for b in self.plan.blocks_of(epoch, phase)}
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
        for block in self._blocks.values():
            block.whole = False
        self.slots.release(slot_T)

    def finish(self, epoch: int, phase: int) -> tuple[int, int]:
        """Forget what ends with the phase; return the (epoch, phase) that follows."""
        ends = phase + 1 == self.plan.n_phases(epoch)
        if not self.plan.stays:
            self._blocks.pop((epoch, phase - PIECES + 1), None)
            if ends:
                self._blocks.clear()
        return (epoch + 1, 0) if ends else (epoch, phase + 1)

    def following(self, epoch: int, phase: int) -> tuple[int, int] | None:
        """Return (epoch, block) that is loaded when the phase is over, or None."""
        if self.plan.stays:
            return None
        if phase + 1 < self.plan.n_blocks(epoch):
            return epoch, phase + 1
        return (epoch + 1, 0) if phase + 1 == self.plan.n_phases(epoch) else None

    def load(self, epoch: int, block: int, first_piece: int, *, wait: bool) -> HeldBlock:
        """Run a block's documents; put its ordinary tokens, from `first_piece` on, into slots.

        With `wait` it pauses while no slot is free, so that it may run beside the training steps.
        """
        plan, record, source = self.plan, self.record, self._source
        rows_T = plan.rows(epoch, block)
        fresh = plan.stays or (epoch == 0 and block >= record.n_blocks)
        ordinary_T = np.ones(len(rows_T), dtype=bool) if fresh else record.ordinary(rows_T)
        alive_T = plan.alive(epoch, block, first_piece)
        slot_T = np.full(len(rows_T), -1, dtype=np.int64)
        done = 0
        for batch in source.run(plan.documents(epoch, block), record.batch_tokens):
            here = slice(done, done + len(batch.rows_T))
            if fresh:
                ordinary_T[here] = source.below_limit(batch)
            stored_T = ordinary_T[here] & alive_T[here]
            acts = source.normalised(batch, stored_T).acts
            slot_T[here][stored_T] = self.slots.put(acts, wait=wait)
            done = here.stop
        if plan.stays:
            record.save()
        elif fresh:
            record.add(block, rows_T[~ordinary_T])
        return HeldBlock(rows_T, slot_T, ordinary_T, whole=first_piece == 0)

    def _key(self, epoch: int, block: int) -> tuple[int, int]:
        return (0, 0) if self.plan.stays else (epoch, block)

    def _require(self, epoch: int, block: int, phase: int) -> HeldBlock:
        """Return a block, loading what is still to be given of it when it is not there."""
        key = self._key(epoch, block)
        if key not in self._blocks:
            first_piece = 0 if self.plan.stays else phase - block
            self._blocks[key] = self.load(epoch, block, first_piece, wait=False)
        return self._blocks[key]
