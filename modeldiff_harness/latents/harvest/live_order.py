"""Where a token lies in the order of a live stream, counted without the outliers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.latents.harvest.mixing import MixingPlan
from modeldiff_harness.latents.harvest.outliers import OutlierRecord

__all__ = ["Position", "seek"]


@dataclass(frozen=True)
class Position:
    """Where a token lies in the order."""

    epoch: int
    phase: int
    offset: int
    """Tokens of the phase that were given out before."""


def seek(
    plan: MixingPlan,
    record: OutlierRecord,
    ordinary: Callable[[int, int], NDArray[np.bool_]],
    position: int,
) -> Position:
    """Return where the `position`-th token of the order lies.

    `ordinary(epoch, block)` marks the places of a block that are no outliers.
    """
    if plan.stays:
        n = int(ordinary(0, 0).sum())
        return Position(position // n, 0, position % n)
    epoch, phase, left = 0, 0, position
    in_epoch = lru_cache(maxsize=4)(lambda block: ordinary(epoch, block))
    while True:
        if record.n_blocks == plan.n_blocks(0) and phase == 0:
            n_epoch = plan.n_tokens - record.rows.shape[0]  # all outliers are known: skip epochs
            epoch, left = epoch + left // n_epoch, left % n_epoch
            in_epoch.cache_clear()
        n_phase = plan.n_given(epoch, phase, in_epoch)
        if left < n_phase:
            return Position(epoch, phase, left)
        left -= n_phase
        phase += 1
        if phase == plan.n_phases(epoch):
            epoch, phase = epoch + 1, 0
            in_epoch.cache_clear()
