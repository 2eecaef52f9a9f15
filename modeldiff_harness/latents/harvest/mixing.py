"""Which tokens a mixing buffer holds and gives out when: a pure function of corpus and seed.

An epoch's documents are shuffled and cut into blocks of at most half the buffer.  Every block is
dealt at random into three equal pieces, given out in the block's own phase and in the two after
it; a phase gives its three pieces out in random order.

    phase     0    1    2    3   …        the buffer is refilled when half empty: loading block r
    block 0   ⅓    ⅓    ⅓                 beside what is left of r − 1 (⅔) and r − 2 (⅓) fills it
    block 1        ⅓    ⅓    ⅓            exactly, and phase r gives out half
    block 2             ⅓    ⅓   …

Every token is given out once an epoch, and nothing outlives two refills: to start at any phase it
takes three blocks.  A split that fits into the buffer is one block that stays; each epoch is then
a uniform permutation of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import TokenisedCorpus
from modeldiff_harness.errors import UsageError
from modeldiff_harness.latents.harvest.sample import kept_rows, kept_tokens

__all__ = ["PIECES", "MixingPlan", "Phase"]

Ints = NDArray[np.int64]
PIECES = 3
"""Phases a block is spread over."""
_DEAL, _ORDER = 1, 2


@dataclass(frozen=True)
class Phase:
    """What is given out between two refills: place `place_T` of block `block_T`, in this order."""

    block_T: Ints
    place_T: Ints
    """Index into the block's kept tokens."""


class MixingPlan:
    """The order of the tokens of some documents, epoch by epoch.

    `documents` are the split's, in corpus order; those without a kept token are passed over.
    Raises UsageError when a document is longer than half the buffer.
    """

    def __init__(
        self, corpus: TokenisedCorpus, documents: Ints, *, buffer_tokens: int, seed: int
    ) -> None:
        self._corpus = corpus
        counts_N = kept_tokens(corpus)
        self._documents = documents[counts_N[documents] > 0]
        self._counts = counts_N[self._documents]
        self._seed = seed
        self._half = buffer_tokens // 2
        self.n_tokens = int(self._counts.sum())
        self.stays = self.n_tokens <= buffer_tokens
        """The whole split fits: it is run once and stays."""
        longest = int(self._counts.max(initial=0))
        if not self.stays and longest > self._half:
            raise UsageError(
                f"a buffer of {buffer_tokens:,} tokens is too small for documents of {longest:,}.",
                hint=f"Give buffer_tokens at least {2 * longest:,}.",
            )
        self._blocks = lru_cache(maxsize=2)(self._cut)
        self._pieces = lru_cache(maxsize=2 * PIECES)(self._deal)

    def n_blocks(self, epoch: int) -> int:
        """Return how many blocks the epoch has."""
        return len(self._blocks(epoch))

    def n_phases(self, epoch: int) -> int:
        """Return how many phases the epoch has; the last two only empty the buffer."""
        return 1 if self.stays else self.n_blocks(epoch) + PIECES - 1

    def documents(self, epoch: int, block: int) -> Ints:
        """Return the documents of a block in the order they are run."""
        return self._blocks(epoch)[block]

    def rows(self, epoch: int, block: int) -> Ints:
        """Return the corpus indices of a block's kept tokens, in the order they are run."""
        return kept_rows(self._corpus, self.documents(epoch, block))

    def blocks_of(self, epoch: int, phase: int) -> list[int]:
        """Return the blocks that a phase gives from."""
        if self.stays:
            return [0]
        return [b for b in range(phase - PIECES + 1, phase + 1) if 0 <= b < self.n_blocks(epoch)]

    def alive(self, epoch: int, block: int, first_piece: int) -> NDArray[np.bool_]:
        """Mark the places of a block that are given out in its piece `first_piece` or later."""
        if self.stays:
            return np.ones(self.n_tokens, dtype=bool)
        pieces = self._pieces(epoch, block)
        alive_T = np.ones(sum(len(piece) for piece in pieces), dtype=bool)
        for piece in pieces[:first_piece]:
            alive_T[piece] = False
        return alive_T

    def phase(self, epoch: int, phase: int, ordinary: Callable[[int], NDArray[np.bool_]]) -> Phase:
        """Return what a phase gives out; `ordinary(block)` marks the places that are not outliers.

        Outliers are left out after the order is drawn, so that they move nothing but themselves.
        """
        if self.stays:  # the order of a stream over cached activations
            place = np.flatnonzero(ordinary(0))
            order = np.random.default_rng([self._seed, epoch]).permutation(place.shape[0])
            return Phase(np.zeros(place.shape[0], dtype=np.int64), place[order])
        blocks = self.blocks_of(epoch, phase)
        pieces = [self._pieces(epoch, b)[phase - b] for b in blocks]
        block_T = np.repeat(np.array(blocks, dtype=np.int64), [len(p) for p in pieces])
        place_T = np.concatenate(pieces)
        drawn = np.random.default_rng([self._seed, epoch, _ORDER, phase])
        order = drawn.permutation(place_T.shape[0])
        stays_T = np.concatenate(
            [ordinary(b)[piece] for b, piece in zip(blocks, pieces, strict=True)]
        )[order]
        return Phase(block_T[order][stays_T], place_T[order][stays_T])

    def n_given(self, epoch: int, phase: int, ordinary: Callable[[int], NDArray[np.bool_]]) -> int:
        """Return how many tokens a phase gives out, without drawing their order."""
        if self.stays:
            return int(ordinary(0).sum())
        blocks = self.blocks_of(epoch, phase)
        return sum(int(ordinary(b)[self._pieces(epoch, b)[phase - b]].sum()) for b in blocks)

    def _cut(self, epoch: int) -> list[Ints]:
        """Cut the epoch's documents into blocks of at most half the buffer."""
        if self.stays:
            return [self._documents] if len(self._documents) else []
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._documents))
        total = np.cumsum(self._counts[order])
        blocks, start, given = [], 0, 0
        while start < len(order):
            end = int(np.searchsorted(total, given + self._half, side="right"))
            blocks.append(self._documents[order[start:end]])
            start, given = end, int(total[end - 1])
        return blocks

    def _deal(self, epoch: int, block: int) -> list[Ints]:
        """Deal a block's places to the phases that give them out, as evenly as can be."""
        counts = self._counts[np.searchsorted(self._documents, self.documents(epoch, block))]
        n = int(counts.sum())
        drawn = np.random.default_rng([self._seed, epoch, _DEAL, block])
        borders = [-(-n * piece // PIECES) for piece in range(1, PIECES)]
        return list(np.split(drawn.permutation(n), borders))
