"""Latent scores made from plain arrays, for tests of whatever reads them.

`planted_scores` fills every column that `classify` reads; what is not given is harmless: equal
norms, ν of 1, a clearly positive β, and enough active tokens and documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeldiff_harness.artifacts import (
    DictionaryQuality,
    FiringCounts,
    LatentScores,
    ScoreColumn,
)

__all__ = ["Group", "planted_firing_counts", "planted_scores", "scores_from_norms"]

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """One (split, capability, author) group; the arrays have a value a latent."""

    split: str
    capability: str
    author: str
    n_prompts: int
    active_prompts_L: ArrayLike
    mass_L: ArrayLike | None = None
    """Sum of f·w; default: one unit for every active prompt."""
    tokens_per_prompt: int = 20
    level_prompts_LH: ArrayLike | None = None
    """Prompts by level of activation; default: every active prompt at the one level above 0."""


def planted_firing_counts(groups: Sequence[Group], n_latents: int) -> FiringCounts:
    """Build a `FiringCounts` in which every active prompt has one document and one token."""
    active_LG = np.zeros((n_latents, len(groups)), dtype=np.int64)
    mass_LG = np.zeros((n_latents, len(groups)), dtype=np.float64)
    for g, group in enumerate(groups):
        active_LG[:, g] = np.asarray(group.active_prompts_L)
        mass_LG[:, g] = active_LG[:, g] if group.mass_L is None else np.asarray(group.mass_L)
    n_prompts_G = np.array([group.n_prompts for group in groups], dtype=np.int64)
    tokens_G = np.array([g.n_prompts * g.tokens_per_prompt for g in groups], dtype=np.int64)
    levels = [
        np.stack([group.n_prompts - active_LG[:, g], active_LG[:, g]], axis=1)
        if group.level_prompts_LH is None
        else np.asarray(group.level_prompts_LH)
        for g, group in enumerate(groups)
    ]
    levels_LGH = np.stack(levels, axis=1) if groups else np.zeros((n_latents, 0, 2))
    return FiringCounts(
        splits=tuple(group.split for group in groups),
        capabilities=tuple(group.capability for group in groups),
        authors=tuple(group.author for group in groups),
        n_documents_G=n_prompts_G,
        n_tokens_G=tokens_G,
        active_documents_LG=active_LG,
        active_tokens_LG=active_LG.copy(),
        mass_LG=mass_LG,
        active_prompts_LG=active_LG.copy(),
        n_prompts_G=n_prompts_G.copy(),
        level_prompts_LGH=levels_LGH.astype(np.int32),
        level_unit=1.0,
    )


def planted_scores(
    models: Sequence[str],
    delta_norm: Mapping[tuple[str, str], ArrayLike],
    *,
    nu_eps: Mapping[tuple[str, str], ArrayLike] | None = None,
    nu_r: Mapping[tuple[str, str], ArrayLike] | None = None,
    beta_lower: Mapping[tuple[str, str], ArrayLike] | None = None,
    n_active_tokens: ArrayLike = 1_000,
    n_active_documents: ArrayLike = 100,
    groups: Sequence[Group] = (),
    dictionary_id: str = "planted",
) -> LatentScores:
    """Build the scores of one dictionary from arrays (L,); scalars are spread over the latents.

    `delta_norm[a, b]` follows the canonical order of `models` (1 = b-only); `nu_eps`, `nu_r` and
    `beta_lower` are keyed (own, other).
    """
    n_latents = max(np.size(values) for values in delta_norm.values())

    def column(name: str, values: ArrayLike, lower: ArrayLike | None = None) -> ScoreColumn:
        values_L = np.broadcast_to(np.asarray(values, np.float64), (n_latents,)).copy()
        defined_L = np.ones(n_latents, dtype=bool)
        if lower is None:
            return ScoreColumn(name, "1", "planted", values_L, defined_L)
        lower_L = np.broadcast_to(np.asarray(lower, np.float64), (n_latents,)).copy()
        return ScoreColumn(name, "1", "planted", values_L, defined_L, lower_L, values_L + 1.0)

    columns: list[ScoreColumn] = []
    for first, a in enumerate(models):
        for b in models[first + 1 :]:
            columns.append(column(f"delta_norm[{a}|{b}]", delta_norm[a, b]))
            columns.append(column(f"decoder_cosine[{a}|{b}]", 0.9))
    for own, other in permutations(models, 2):
        key = f"[own={own},other={other}]"
        columns.append(column(f"nu_eps{key}", (nu_eps or {}).get((own, other), 1.0)))
        columns.append(column(f"nu_r{key}", (nu_r or {}).get((own, other), 1.0)))
        lower = (beta_lower or {}).get((own, other), 0.5)
        columns.append(column(f"beta_own{key}", 1.0, lower))
    columns.append(column("n_active_tokens", n_active_tokens))
    columns.append(column("n_active_documents", n_active_documents))
    return LatentScores(
        dictionary_id=dictionary_id,
        models=tuple(models),
        columns=tuple(columns),
        quality=DictionaryQuality({}, {}, 0.0, 0.0, 0.0, 0.0, 0, 0),
        firing_counts=planted_firing_counts(groups, n_latents),
    )


def scores_from_norms(norms: Mapping[str, ArrayLike], **more: object) -> LatentScores:
    """Build scores whose Δnorm columns follow from decoder norms by model."""
    models = tuple(norms)
    norm_L = {model: np.atleast_1d(np.asarray(values, float)) for model, values in norms.items()}
    delta_norm: dict[tuple[str, str], ArrayLike] = {}
    for first, a in enumerate(models):
        for b in models[first + 1 :]:
            larger_L = np.maximum(norm_L[a], norm_L[b])
            delta_norm[a, b] = 0.5 * ((norm_L[b] - norm_L[a]) / larger_L + 1.0)
    return planted_scores(models, delta_norm, **more)  # type: ignore[arg-type]
