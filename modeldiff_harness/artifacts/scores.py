"""What one pass over the held-out splits measures of every latent.

Letters: T tokens, N documents, M models, V views (a model at a site), D width, L latents,
K active, G groups of documents, B jackknife blocks, E examples, W window length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from modeldiff_harness.artifacts.arrays import NDArray

__all__ = [
    "ColumnOwner",
    "DictionaryQuality",
    "FiringCounts",
    "LatentExamples",
    "LatentScores",
    "ScoreColumn",
    "ScorePass",
]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ColumnOwner:
    """Who made a column."""

    scorer: str
    """Name of the `latent_scorer`."""
    distribution: str
    """Distribution that offers it."""


@dataclass(frozen=True)
class ScoreColumn:
    """One number a latent, made by a scorer; NaN never appears: `defined_L` says where it is."""

    name: str
    """e.g. delta_norm, nu_eps[candidate-model], firing_rate."""
    unit: str
    meaning: str
    values_L: Doubles
    defined_L: NDArray[np.bool_]
    lower_L: Doubles | None = None
    upper_L: Doubles | None = None
    owner: ColumnOwner | None = None
    """Written by the score pass, not by the scorer; None when the pass was not told."""


@dataclass(frozen=True)
class FiringCounts:
    """In how many documents and tokens of each group a latent fires, by split."""

    splits: tuple[str, ...]
    """Split of each group; groups are the distinct (split, capability, author) triples."""
    capabilities: tuple[str, ...]
    """Capability of each group, "" for none."""
    authors: tuple[str, ...]
    n_documents_G: Ints
    n_tokens_G: Ints
    active_documents_LG: Ints
    active_tokens_LG: Ints
    mass_LG: Doubles
    """Sum of f·w over tokens."""
    active_prompts_LG: Ints
    """Distinct prompts with at least one active token."""
    n_prompts_G: Ints
    level_prompts_LGH: NDArray[np.int32]
    """(L, G, H) prompts by level of the latent's mean activation in them (Σ f·w / tokens): 0 is
    inactive, h > 0 is [unit·2^(h−1), unit·2^h), open at both ends.  At usual firing rates most
    latents are active somewhere in most prompts; the level is what tells prompts apart."""
    level_unit: float


@dataclass(frozen=True)
class DictionaryQuality:
    """Quality numbers on the score split."""

    fve: dict[str, float]
    """Fraction of variance explained, by model."""
    fve_delta: dict[str, float]
    """FVE of the difference "a − b" by "a|b", the one that matters for a diff."""
    l0: float
    """Mean active latents a token under θ."""
    l0_topk: float
    """Mean active latents a token when exactly k·B a batch are kept."""
    dead_fraction: float
    dense_fraction: float
    """Share of latents active on more than 10 % of tokens."""
    n_tokens: int
    n_documents: int


@dataclass(frozen=True)
class LatentScores:
    """All score columns of one dictionary: sums turned into numbers, no thresholds."""

    SCHEMA_VERSION: ClassVar[int] = 2

    dictionary_id: str
    models: tuple[str, ...]
    columns: tuple[ScoreColumn, ...]
    quality: DictionaryQuality
    firing_counts: FiringCounts

    def column(self, name: str) -> ScoreColumn:
        """Return the column `name`; KeyError names the known ones."""
        for column in self.columns:
            if column.name == name:
                return column
        known = ", ".join(c.name for c in self.columns)
        raise KeyError(f"no score column {name!r}; known: {known}")


@dataclass(frozen=True)
class LatentExamples:
    """Windows of tokens around a latent's activations, from the score split only."""

    SCHEMA_VERSION: ClassVar[int] = 1

    dictionary_id: str
    latent_E: Ints
    document_E: Ints
    """Index into the corpus's documents."""
    kind_E: NDArray[np.uint8]
    """0: among the highest; 1: a quantile sample."""
    peak_E: Floats
    """Activation f·w at the peak."""
    start_E: Ints
    """Corpus token index of the window's first token."""
    tokens_EW: NDArray[np.int32]
    """Token ids, −1 beyond the document."""
    activations_EW: Floats
    template_share_L: Doubles
    """Share of a latent's activation mass on template control tokens; > 0.5 = template latent."""


@dataclass(frozen=True)
class ScorePass:
    """What one pass over the held-out tokens gives: numbers and examples."""

    SCHEMA_VERSION: ClassVar[int] = 2

    scores: LatentScores
    examples: LatentExamples
