"""Activations that are made while they are learnt from: a mixing buffer instead of a cache.

Nothing is written but the numbers of outlying tokens: a run that was broken off rebuilds its buffer
by running the documents of at most three blocks again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from modeldiff_harness.artifacts import ActivationStatistics, TokenisedCorpus
from modeldiff_harness.contracts import ActivationBatch, Runtime
from modeldiff_harness.errors import UsageError
from modeldiff_harness.latents.harvest.buffer import BUFFER_TYPES, TokenSlots
from modeldiff_harness.latents.harvest.live import RunSource, norms_of, run_documents
from modeldiff_harness.latents.harvest.live_order import HeldBlock, LiveOrder, Position
from modeldiff_harness.latents.harvest.mixing import PIECES, MixingPlan
from modeldiff_harness.latents.harvest.outliers import OutlierRecord
from modeldiff_harness.latents.harvest.prefetch import BackgroundJob
from modeldiff_harness.latents.harvest.sample import kept_tokens
from modeldiff_harness.latents.harvest.stream import split_index

__all__ = ["LiveStream"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
_SEGMENT_TOKENS = 2**20
"""Tokens of the documents that `ordered` hands to the source at a time."""


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
        self._run, self._statistics, self._runtime = run, statistics, runtime
        self._dtype = dtype
        self._means = [
            torch.from_numpy(n.mean_D).to(runtime.device, torch.float32) for n in self.normalisers
        ]
        self._overlap = runtime.device.startswith("cuda") if overlap is None else overlap
        self._counts_N = kept_tokens(corpus)
        self._order: LiveOrder | None = None
        self._job: BackgroundJob[HeldBlock] | None = None
        self._turn = 0
        """Counts iterators: only the latest may go on."""
        self._models = threading.Lock()
        """Held while the source runs: a prefetch and `ordered` never switch models at once."""

    @property
    def n_held(self) -> int:
        """Return how many tokens the buffer holds now."""
        return 0 if self._order is None else self._order.slots.n_taken

    @property
    def n_most(self) -> int:
        """Return the most tokens that the buffer ever held."""
        return 0 if self._order is None else self._order.slots.n_most

    def n_rows(self, split: str) -> int:
        """Return the number of kept tokens of `split`, before outliers are left out."""
        return int(self._counts_N[self._documents([split])].sum())

    def stop(self) -> None:
        """End a refill that is running and free the buffer; what was written for resuming stays."""
        self._cancel()
        self._order = None

    def close(self) -> None:
        """Stop, and remove what was written for resuming."""
        self.stop()
        OutlierRecord.remove_all(self._runtime.workdir)

    # ── in corpus order ──────────────────────────────────────────────────────────────────

    def ordered(self, splits: Sequence[str], batch_tokens: int) -> Iterator[ActivationBatch]:
        """Yield every kept token of `splits` once, normalised, in corpus order; one live pass."""
        held: list[ActivationBatch] = []
        n_held = 0
        for batch in self._ordinary(self._documents(splits)):
            held.append(batch)
            n_held += len(batch.rows_T)
            while n_held >= batch_tokens:
                whole = _join(held)
                yield _part(whole, slice(0, batch_tokens))
                held = [_part(whole, slice(batch_tokens, None))]
                n_held -= batch_tokens
        if n_held:
            yield _join(held)

    def _ordinary(self, documents: Ints) -> Iterator[ActivationBatch]:
        """Run `documents` and yield the normalised tokens below the limit."""
        total = np.cumsum(self._counts_N[documents])
        last = int(total[-1]) if len(total) else 0
        borders = np.searchsorted(total, np.arange(_SEGMENT_TOKENS, last, _SEGMENT_TOKENS))
        for part in np.split(documents, np.unique(borders)):
            if not self._counts_N[part].sum():
                continue
            for batch in self._live(part, self._runtime.batch_tokens):
                yield self._normalised(batch, self._below_limit(batch))

    # ── shuffled ─────────────────────────────────────────────────────────────────────────

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
        order = self._open(split, seed)
        position = self._seek(order, start_step * batch_tokens)
        parts: list[ActivationBatch] = []
        missing = batch_tokens
        for slot_T, row_T in self._phases(order, position):
            start = 0
            while start < len(slot_T):
                chosen = slice(start, start + missing)
                parts.append(self._gather(order, slot_T[chosen], row_T[chosen]))
                start += len(parts[-1].rows_T)
                missing -= len(parts[-1].rows_T)
                if not missing:
                    yield _join(parts)
                    if turn != self._turn:
                        raise RuntimeError("another shuffled() of this stream was begun")
                    parts, missing = [], batch_tokens
                order.free(slot_T[chosen])

    def _open(self, split: str, seed: int) -> LiveOrder:
        """Return the order of (split, seed), with what the buffer still holds of it."""
        known = self._order
        if known is not None and (known.split, known.seed) == (split, seed):
            return known
        self._order = None  # the old buffer goes before the new one comes
        documents = self._documents([split])
        plan = MixingPlan(self.corpus, documents, buffer_tokens=self.buffer_tokens, seed=seed)
        if not plan.n_tokens:
            raise UsageError(f"no token of the corpus lies in split {split!r}.")
        record = OutlierRecord.open(
            self._runtime.workdir,
            f"{split}-{seed}",
            {
                "tokens": plan.n_tokens,
                "documents": len(documents),
                "buffer_tokens": self.buffer_tokens,
                "max_norms": self._statistics.max_norms,
            },
            batch_tokens=self._runtime.batch_tokens,
        )
        capacity = min(self.buffer_tokens, plan.n_tokens)
        slots = TokenSlots(self.views, capacity, self._dtype, self._runtime.device)
        self._order = LiveOrder(split, seed, plan, record, slots)
        return self._order

    def _seek(self, order: LiveOrder, position: int) -> Position:
        """Return where the `position`-th token of the order lies.

        Blocks of the first epoch that the record does not know are run for their norms.
        """
        plan, record = order.plan, order.record
        if plan.stays:
            n = int(self._require(order, 0, 0, 0).ordinary_T.sum())
            return Position(position // n, 0, position % n)
        epoch, phase, left = 0, 0, position
        ordinary = lru_cache(maxsize=4)(lambda block: self._known(order, epoch, block))
        while True:
            if record.n_blocks == plan.n_blocks(0) and phase == 0:
                n_epoch = plan.n_tokens - record.rows.shape[0]
                epoch, left = epoch + left // n_epoch, left % n_epoch
                ordinary.cache_clear()
            n_phase = plan.n_given(epoch, phase, ordinary)
            if left < n_phase:
                return Position(epoch, phase, left)
            left -= n_phase
            phase += 1
            if phase == plan.n_phases(epoch):
                epoch, phase = epoch + 1, 0
                ordinary.cache_clear()

    def _known(self, order: LiveOrder, epoch: int, block: int) -> Bools:
        """Mark the places of a block that are no outliers, running it when nobody has yet."""
        rows_T = order.plan.rows(epoch, block)
        if epoch == 0 and block >= order.record.n_blocks:
            ordinary_T = np.concatenate(
                [
                    self._below_limit(batch)
                    for batch in self._live(
                        order.plan.documents(epoch, block), order.record.batch_tokens
                    )
                ]
            )
            order.record.add(block, rows_T[~ordinary_T])
        return order.record.ordinary(rows_T)

    def _phases(self, order: LiveOrder, start: Position) -> Iterator[tuple[Ints, Ints]]:
        """Yield (slots, corpus rows) of every phase from `start` on; loads what it needs."""
        plan = order.plan
        epoch, phase, offset = start.epoch, start.phase, start.offset
        order.keep_whole(epoch, phase)
        turn = self._turn
        try:
            while True:
                if self._job is not None:
                    order.blocks[epoch, phase] = self._job.result()
                    self._job = None
                held = {
                    b: self._require(order, epoch, b, phase) for b in plan.blocks_of(epoch, phase)
                }
                slot_T, row_T = order.given(epoch, phase, held)
                order.free(slot_T[:offset])
                following = order.following(epoch, phase)
                if self._overlap and following is not None:
                    self._job = self._prefetch(order, *following)
                yield slot_T[offset:], row_T[offset:]
                offset = 0
                if not plan.stays:
                    order.blocks.pop((epoch, phase - PIECES + 1), None)
                phase += 1
                if phase == plan.n_phases(epoch):
                    if not plan.stays:
                        order.blocks.clear()
                    epoch, phase = epoch + 1, 0
        finally:
            if turn == self._turn:
                self._cancel()

    def _cancel(self) -> None:
        """End the iterator that is alive, and the refill that runs for it."""
        self._turn += 1
        if self._job is not None and self._order is not None:
            self._order.slots.stop()
            self._job.wait()
            self._order.slots.stop(False)
        self._job = None

    def _prefetch(self, order: LiveOrder, epoch: int, block: int) -> BackgroundJob[HeldBlock]:
        return BackgroundJob(
            lambda: self._load(order, epoch, block, 0, wait=True), self._runtime.device
        )

    def _require(self, order: LiveOrder, epoch: int, block: int, phase: int) -> HeldBlock:
        """Return a block, loading what is still to be given of it when it is not there."""
        key = order.key(epoch, block)
        if key not in order.blocks:
            first_piece = 0 if order.plan.stays else phase - block
            order.blocks[key] = self._load(order, epoch, block, first_piece, wait=False)
        return order.blocks[key]

    def _load(
        self, order: LiveOrder, epoch: int, block: int, first_piece: int, *, wait: bool
    ) -> HeldBlock:
        """Run a block's documents; put its ordinary tokens, from `first_piece` on, into slots."""
        plan, record = order.plan, order.record
        rows_T = plan.rows(epoch, block)
        fresh = plan.stays or (epoch == 0 and block >= record.n_blocks)
        ordinary_T = np.ones(len(rows_T), dtype=bool) if fresh else record.ordinary(rows_T)
        alive_T = plan.alive(epoch, block, first_piece)
        slot_T = np.full(len(rows_T), -1, dtype=np.int64)
        done = 0
        for batch in self._live(plan.documents(epoch, block), record.batch_tokens):
            here = slice(done, done + len(batch.rows_T))
            if fresh:
                ordinary_T[here] = self._below_limit(batch)
            stored_T = ordinary_T[here] & alive_T[here]
            acts = self._normalised(batch, stored_T).acts
            slot_T[here][stored_T] = order.slots.put(acts, wait=wait)
            done = here.stop
        if plan.stays:
            record.save()
        elif fresh:
            record.add(block, rows_T[~ordinary_T])
        return HeldBlock(rows_T, slot_T, ordinary_T, whole=first_piece == 0)

    # ── one batch ────────────────────────────────────────────────────────────────────────

    def _documents(self, splits: Sequence[str]) -> Ints:
        wanted = [split_index(split) for split in splits]
        return np.flatnonzero(np.isin(self.corpus.splits_N, wanted))

    def _live(self, documents: Ints, batch_tokens: int) -> Iterator[ActivationBatch]:
        """Run the source; one thread at a time, batch by batch."""
        batches = run_documents(self._run, self.corpus, documents, self.views, batch_tokens)
        while True:
            with self._models:
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _below_limit(self, batch: ActivationBatch) -> Bools:
        norms_VT = norms_of(batch)
        if self._statistics.max_norms is None:
            return np.ones(norms_VT.shape[1], dtype=bool)
        limits_V = np.array(self._statistics.max_norms)
        return np.asarray((norms_VT <= limits_V[:, None]).all(axis=0), dtype=bool)

    def _normalised(self, batch: ActivationBatch, chosen_T: Bools) -> ActivationBatch:
        """Return the chosen tokens, normalised, float32, on the stream's device."""
        index_T = torch.from_numpy(np.flatnonzero(chosen_T))
        acts = tuple(
            x_TD[index_T.to(x_TD.device)]
            .to(self._runtime.device, torch.float32)
            .sub_(mean_D)
            .div_(normaliser.scale)
            for x_TD, mean_D, normaliser in zip(
                batch.acts, self._means, self.normalisers, strict=True
            )
        )
        return ActivationBatch(self.views, acts, batch.rows_T[chosen_T], batch.document_T[chosen_T])

    def _gather(self, order: LiveOrder, slot_T: Ints, row_T: Ints) -> ActivationBatch:
        document_T = np.searchsorted(self.corpus.offsets_N1, row_T, side="right") - 1
        return ActivationBatch(self.views, order.slots.gather(slot_T), row_T, document_T)


def _part(batch: ActivationBatch, part: slice) -> ActivationBatch:
    acts = tuple(x_TD[part] for x_TD in batch.acts)
    return ActivationBatch(batch.views, acts, batch.rows_T[part], batch.document_T[part])


def _join(batches: Sequence[ActivationBatch]) -> ActivationBatch:
    if len(batches) == 1:
        return batches[0]
    acts = tuple(torch.cat(parts) for parts in zip(*(b.acts for b in batches), strict=True))
    rows_T = np.concatenate([b.rows_T for b in batches])
    return ActivationBatch(
        batches[0].views, acts, rows_T, np.concatenate([b.document_T for b in batches])
    )
