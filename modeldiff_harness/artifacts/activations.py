"""Activations: on disk, or what a live stream must know before it runs.

Letters: T tokens, N documents, M models, V views (a model at a site), D width, L latents,
K active, G groups of documents, B jackknife blocks, E examples, W window length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from modeldiff_harness.artifacts.arrays import NDArray

__all__ = ["ActivationStatistics", "HarvestedActivations", "Normaliser", "View"]

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class View:
    """One model at one site: the unit that a dictionary reads and writes."""

    model: str
    """Role-free name of the model (its alias), never "baseline" or "candidate"."""
    site: str
    """`resid_post.i`, 0-based."""
    width: int


@dataclass(frozen=True)
class Normaliser:
    """x_normalised = (x − mean_D) / scale of one view, from the train split in float64."""

    mean_D: Doubles
    scale: float
    """One scalar: mean squared norm of the centred vector becomes D after division."""


@dataclass(frozen=True)
class HarvestedActivations:
    """Activations of one model at one or several sites, one row a kept token, in corpus order.

    `folder`/`activations.safetensors` holds a tensor (T_kept, D) a site, named by the site;
    `rows_T` maps a row to its corpus token.
    """

    SCHEMA_VERSION: ClassVar[int] = 1

    views: tuple[View, ...]
    rows_T: Ints
    """(T_kept,) index of each row into the corpus's tokens."""
    median_norms: tuple[float, ...]
    """Median ‖x‖ over kept tokens, a value a view."""
    dtype: str
    seconds: float
    """Wall time of the forward passes."""
    how: str = ""
    """How the model was run: its type and whether rows were packed; empty when unknown."""
    folder: Path = field(default=Path(), compare=False, metadata={"transient": True})


@dataclass(frozen=True)
class ActivationStatistics:
    """What a live stream must know before it runs: centre, spread and outlying norms of each view.

    Measured once on whole prompts of the corpus (all of them when they hold no more than
    `sample_tokens`); float64.
    """

    SCHEMA_VERSION: ClassVar[int] = 1

    views: tuple[View, ...]
    normalisers: tuple[Normaliser, ...]
    """From the sample's train-split tokens of ordinary norm."""
    max_norms: tuple[float, ...] | None
    """A token whose norm exceeds its view's is left out of every view; None: all stay."""
    median_norms: tuple[float, ...]
    n_tokens: int
    """Kept tokens in the sample."""
    n_outliers: int
    """How many of them were left out."""
    complete: bool
    """True when the sample is the whole corpus: the numbers are those of cached activations."""
    seconds: float
    """Wall time of the forward passes."""
