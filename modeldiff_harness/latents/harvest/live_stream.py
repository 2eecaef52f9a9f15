"""Activations that are made while they are learnt from: a mixing buffer instead of a cache.

Nothing is written but the numbers of outlying tokens: a run that was broken off rebuilds its buffer
by running the documents of at most three blocks again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import ActivationStatistics, TokenisedCorpus
from modeldiff_harness.contracts import ActivationBatch, Runtime
from modeldiff_harness.errors import UsageError
from modeldiff_harness.latents.harvest.batches import joined, part_of
from modeldiff_harness.latents.harvest.buffer import BUFFER_TYPES, TokenSlots
from modeldiff_harness.latents.harvest.live import RunSource
from modeldiff_harness.latents.harvest.live_blocks import HeldBlock, HeldBlocks
from modeldiff_harness.latents.harvest.live_order import Position, seek
from modeldiff_harness.latents.harvest.live_source import LiveSource
from modeldiff_harness.latents.harvest.mixing import MixingPlan
from modeldiff_harness.latents.harvest.outliers import OutlierRecord
from modeldiff_harness.latents.harvest.prefetch import BackgroundJob

__all__ = ["LiveStream"]

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Open:
    """The split and seed whose order the buffer holds."""

    split: str
    seed: int
    blocks: HeldBlocks


class LiveStream:
    """An `ActivationStream` that runs its models as it goes and holds `buffer_tokens` tokens.

    `run` runs the source over a corpus; `statistics` come from `measure_activations` over the same
    models.  The buffer is of `dtype` (float32, bfloat16, float16) and holds normalised values;
    batches are float32 on the buffer's device, which is `runtime.device`.  A token whose norm
    exceeds the limit of `statistics` in any view is left out.

    With `overlap` (default: on an accelerator) the next refill runs in a thread beside the
    training steps; the batches are the same.  `n_rows` counts tokens before outliers are left out.
    One `shuffled` iterator is alive at a time: a new one ends the one before it.

    Raises UsageError for an unknown dtype, a buffer too small for the documents, and statistics of
    other views.
    """

    def __init__(
        self,
        run: RunSource,
        corpus: TokenisedCorpus,
        statistics: ActivationStatistics,
        *,
        buffer_tokens: int,
        dtype: str = "float32",
        overlap: bool | None = None,
        runtime: Runtime,
    ) -> None:
        if dtype not in BUFFER_TYPES:
            raise UsageError(
                f"buffer_dtype {dtype!r} is not known.", hint=f"Use {', '.join(BUFFER_TYPES)}."
            )
        self.corpus = corpus
        self.views = statistics.views
        self.normalisers = statistics.normalisers
        self.buffer_tokens = buffer_tokens
        self._source = LiveSource(run, corpus, statistics, runtime)
        self._dtype = dtype
        self._overlap = runtime.device.startswith("cuda") if overlap is None else overlap
        self._held: _Open | None = None
        self._job: BackgroundJob[HeldBlock] | None = None
        self._turn = 0
        """Counts iterators: only the latest may go on."""

    @property
    def n_held(self) -> int:
        """Return how many tokens the buffer holds now."""
        return 0 if self._held is None else self._held.blocks.slots.n_taken

    @property
    def n_most(self) -> int:
        """Return the most tokens that the buffer ever held."""
        return 0 if self._held is None else self._held.blocks.slots.n_most

    def n_rows(self, split: str) -> int:
        """Return the number of kept tokens of `split`, before outliers are left out."""
        return int(self._source.counts_N[self._source.documents([split])].sum())

    def stop(self) -> None:
        """End a refill that is running and free the buffer; what was written for resuming stays."""
        self._cancel()
        self._held = None

    def close(self) -> None:
        """Stop, and remove what was written for resuming."""
        self.stop()
        OutlierRecord.remove_all(self._source.runtime.workdir)

    def ordered(self, splits: Sequence[str], batch_tokens: int) -> Iterator[ActivationBatch]:
        """Yield every kept token of `splits` once, normalised, in corpus order; one live pass."""
        held: list[ActivationBatch] = []
        n_held = 0
        for batch in self._source.ordinary_tokens(self._source.documents(splits)):
            held.append(batch)
            n_held += len(batch.rows_T)
            while n_held >= batch_tokens:
                whole = joined(held)
                yield part_of(whole, slice(0, batch_tokens))
                held = [part_of(whole, slice(batch_tokens, None))]
                n_held -= batch_tokens
        if n_held:
            yield joined(held)

    def shuffled(
        self, split: str, batch_tokens: int, *, seed: int, start_step: int = 0
    ) -> Iterator[ActivationBatch]:
        """Yield normalised batches of exactly `batch_tokens` for ever, from step `start_step`.

        Every epoch gives every token once, in the order that `MixingPlan` draws from (seed, epoch);
        step s takes positions s·B … (s+1)·B − 1.  Any step can be reached: the buffer is rebuilt
        from the documents of the blocks that it holds there.  Raises UsageError when the split
        is empty.
        """
        self._cancel()
        turn = self._turn
        blocks = self._open(split, seed)
        position = seek(blocks.plan, blocks.record, blocks.ordinary, start_step * batch_tokens)
        parts: list[ActivationBatch] = []
        missing = batch_tokens
        for slot_T, row_T in self._phases(blocks, position):
            start = 0
            while start < len(slot_T):
                chosen = slice(start, start + missing)
                parts.append(self._gather(blocks.slots, slot_T[chosen], row_T[chosen]))
                start += len(parts[-1].rows_T)
                missing -= len(parts[-1].rows_T)
                if not missing:
                    yield joined(parts)
                    if turn != self._turn:
                        raise RuntimeError("another shuffled() of this stream was begun")
                    parts, missing = [], batch_tokens
                blocks.free(slot_T[chosen])

    def _open(self, split: str, seed: int) -> HeldBlocks:
        """Return the buffer of (split, seed), with what it still holds of it."""
        if self._held is not None and (self._held.split, self._held.seed) == (split, seed):
            return self._held.blocks
        self._held = None  # the old buffer goes before the new one comes
        source = self._source
        documents = source.documents([split])
        plan = MixingPlan(self.corpus, documents, buffer_tokens=self.buffer_tokens, seed=seed)
        if not plan.n_tokens:
            raise UsageError(f"no token of the corpus lies in split {split!r}.")
        record = OutlierRecord.open(
            source.runtime.workdir,
            f"{split}-{seed}",
            {
                "tokens": plan.n_tokens,
                "documents": len(documents),
                "buffer_tokens": self.buffer_tokens,
                "max_norms": source.statistics.max_norms,
            },
            batch_tokens=source.runtime.batch_tokens,
        )
        capacity = min(self.buffer_tokens, plan.n_tokens)
        slots = TokenSlots(self.views, capacity, self._dtype, source.runtime.device)
        self._held = _Open(split, seed, HeldBlocks(source, plan, record, slots))
        return self._held.blocks

    def _phases(self, blocks: HeldBlocks, start: Position) -> Iterator[tuple[Ints, Ints]]:
        """Yield (slots, corpus rows) of every phase from `start` on.

        While a phase is given out, the block that the next one begins with may be loaded.
        """
        epoch, phase, offset = start.epoch, start.phase, start.offset
        blocks.begin_at(epoch, phase)
        turn = self._turn
        try:
            while True:
                if self._job is not None:
                    blocks.put(epoch, phase, self._job.result())
                    self._job = None
                slot_T, row_T = blocks.given(epoch, phase)
                blocks.free(slot_T[:offset])
                following = blocks.following(epoch, phase)
                if self._overlap and following is not None:
                    self._job = self._prefetch(blocks, *following)
                yield slot_T[offset:], row_T[offset:]
                offset = 0
                epoch, phase = blocks.finish(epoch, phase)
        finally:
            if turn == self._turn:
                self._cancel()

    def _prefetch(self, blocks: HeldBlocks, epoch: int, block: int) -> BackgroundJob[HeldBlock]:
        return BackgroundJob(
            lambda: blocks.load(epoch, block, 0, wait=True), self._source.runtime.device
        )

    def _cancel(self) -> None:
        """End the iterator that is alive, and the refill that runs for it."""
        self._turn += 1
        if self._job is not None and self._held is not None:
            slots = self._held.blocks.slots
            slots.stop()
            self._job.wait()
            slots.stop(False)
        self._job = None

    def _gather(self, slots: TokenSlots, slot_T: Ints, row_T: Ints) -> ActivationBatch:
        document_T = np.searchsorted(self.corpus.offsets_N1, row_T, side="right") - 1
        return ActivationBatch(self.views, slots.gather(slot_T), row_T, document_T)
