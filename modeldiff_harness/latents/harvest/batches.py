"""Cutting batches of activations and joining them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from modeldiff_harness.contracts import ActivationBatch

__all__ = ["joined", "part_of"]


def part_of(batch: ActivationBatch, where: slice) -> ActivationBatch:
    """Return some of the tokens of `batch`."""
    acts = tuple(x_TD[where] for x_TD in batch.acts)
    return ActivationBatch(batch.views, acts, batch.rows_T[where], batch.document_T[where])


def joined(parts: Sequence[ActivationBatch]) -> ActivationBatch:
    """Return the tokens of all `parts`, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return ActivationBatch(
        parts[0].views,
        tuple(torch.cat(views) for views in zip(*(part.acts for part in parts), strict=True)),
        np.concatenate([part.rows_T for part in parts]),
        np.concatenate([part.document_T for part in parts]),
    )
