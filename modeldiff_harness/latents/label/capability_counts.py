"""Reading `FiringCounts`: one latent's prompts, mass and tokens by capability.

Documents of one prompt by several authors are not several independent prompts.  Counts of prompts
are therefore taken among the documents of ONE author: the one in whose words the latent is most
active on the score split.  Mass and tokens, which are no counts of units, are over all authors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import FiringCounts

__all__ = ["CapabilityCounts", "capability_counts", "latent_mass", "leading_author"]

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CapabilityCounts:
    """One latent on one split, a value a capability (C), in sorted order of their keys."""

    capabilities: tuple[str, ...]
    active_prompts_C: Ints
    """Prompts of the author with at least one active token."""
    n_prompts_C: Ints
    """Prompts of the author."""
    mass_C: Doubles
    """Sum of f·w over tokens of all authors."""
    n_tokens_C: Ints
    """Kept tokens of all authors."""
    level_prompts_CH: Ints
    """(C, H) prompts of the author by level of mean activation, 0 = inactive."""


def leading_author(firings: FiringCounts, latent: int, split: str = "score") -> str | None:
    """Return the author in whose documents of `split` the latent has most mass.

    Only authors with documents of at least two capabilities are asked, since nothing can be
    enriched within one; None when there is no such author.
    """
    mass: dict[str, float] = {}
    seen: dict[str, set[str]] = {}
    for g in _tagged(firings, split):
        author = firings.authors[g]
        mass[author] = mass.get(author, 0.0) + float(firings.mass_LG[latent, g])
        seen.setdefault(author, set()).add(firings.capabilities[g])
    able = sorted(author for author, found in seen.items() if len(found) >= 2)
    return max(able, key=lambda author: mass[author]) if able else None


def capability_counts(
    firings: FiringCounts, latent: int, split: str, author: str | None
) -> CapabilityCounts:
    """Return the latent's counts by capability, prompts among the documents of `author`.

    Capabilities are those with a prompt of `author` in `split`; without an author there are none.
    """
    groups = _tagged(firings, split)
    keys = sorted(
        {
            firings.capabilities[g]
            for g in groups
            if firings.authors[g] == author and firings.n_prompts_G[g] > 0
        }
    )
    place = {key: c for c, key in enumerate(keys)}
    active_C, n_C = np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
    mass_C, tokens_C = np.zeros(len(keys)), np.zeros(len(keys), np.int64)
    levels_CH = np.zeros((len(keys), firings.level_prompts_LGH.shape[2]), np.int64)
    for g in groups:
        c = place.get(firings.capabilities[g])
        if c is None:
            continue
        mass_C[c] += firings.mass_LG[latent, g]
        tokens_C[c] += firings.n_tokens_G[g]
        if firings.authors[g] == author:
            active_C[c] += firings.active_prompts_LG[latent, g]
            n_C[c] += firings.n_prompts_G[g]
            levels_CH[c] += firings.level_prompts_LGH[latent, g]
    return CapabilityCounts(tuple(keys), active_C, n_C, mass_C, tokens_C, levels_CH)


def latent_mass(firings: FiringCounts, split: str = "score") -> Doubles:
    """Return every latent's activation mass (L,) on `split`, all documents."""
    in_split_G = np.array([found == split for found in firings.splits], dtype=bool)
    return np.asarray(firings.mass_LG[:, in_split_G].sum(axis=1), dtype=np.float64)


def _tagged(firings: FiringCounts, split: str) -> list[int]:
    return [
        g
        for g, (found, capability) in enumerate(
            zip(firings.splits, firings.capabilities, strict=True)
        )
        if found == split and capability
    ]
