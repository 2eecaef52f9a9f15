"""In which groups of documents each latent is active: the counts that labels are tested on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import SPLITS, GroupActivity, TokenisedCorpus
from modeldiff_harness.contracts import ScoreContext
from modeldiff_harness.latents.prompts import prompt_of_documents

__all__ = ["ActivityCounter"]

_MERGE_AT = 1 << 22
"""Pending (latent, document) keys before duplicates are removed."""
N_LEVELS = 14
"""Levels of mean activation: inactive, then powers of two from θ/512 to 8·θ."""
_UNIT_PER_THRESHOLD = 1.0 / 512.0


class ActivityCounter:
    """Counts tokens, documents and prompts of every latent by (split, capability, author).

    Batches may come in any order and cut documents anywhere.
    """

    def __init__(
        self, corpus: TokenisedCorpus, n_latents: int, splits: Sequence[str], threshold: float
    ) -> None:
        self._unit = (threshold or 1.0) * _UNIT_PER_THRESHOLD
        self._corpus = corpus
        self._n_latents = n_latents
        wanted = {SPLITS.index(split): split for split in splits}
        names = {
            (wanted[int(split)], document.capability or "", document.author)
            for split, document in zip(corpus.splits_N, corpus.documents, strict=True)
            if int(split) in wanted
        }
        self._groups = sorted(names, key=lambda g: (SPLITS.index(g[0]), g[1], g[2]))
        number = {group: g for g, group in enumerate(self._groups)}
        self._group_N = np.array(
            [
                number.get((wanted.get(int(split), ""), d.capability or "", d.author), -1)
                for split, d in zip(corpus.splits_N, corpus.documents, strict=True)
            ],
            dtype=np.int64,
        )
        self._prompt_N, _ = prompt_of_documents(corpus)
        self._seen_tokens_N = np.zeros(corpus.n_documents, dtype=np.int64)
        shape = (n_latents, len(self._groups))
        self._tokens_LG = np.zeros(shape, dtype=np.int64)
        self._mass_LG = np.zeros(shape, dtype=np.float64)
        self._pairs: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        self._pending = 0

    def update(self, context: ScoreContext) -> None:
        """Count one batch."""
        codes = context.codes
        document_T = context.document_T.cpu().numpy()
        latent_N = codes.latent_N.cpu().numpy()
        document_N = document_T[codes.token_N.cpu().numpy()]
        self._seen_tokens_N += np.bincount(document_T, minlength=self._seen_tokens_N.shape[0])
        cell_N = latent_N * len(self._groups) + self._group_N[document_N]
        cells, place_N = np.unique(cell_N, return_inverse=True)
        self._tokens_LG.reshape(-1)[cells] += np.bincount(place_N, minlength=cells.shape[0])
        mass = codes.activation_N.cpu().numpy().astype(np.float64)
        self._mass_LG.reshape(-1)[cells] += np.bincount(place_N, mass, minlength=cells.shape[0])
        keys = latent_N * self._corpus.n_documents + document_N
        self._pairs.append(_sum_by_key(keys, mass))
        self._pending += self._pairs[-1][0].shape[0]
        if self._pending > _MERGE_AT:
            self._pairs = [self._merged_pairs()]
            self._pending = 0

    def _merged_pairs(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the distinct latent·N + document keys with their mass."""
        keys = np.concatenate([np.zeros(0, np.int64), *(keys for keys, _ in self._pairs)])
        mass = np.concatenate([np.zeros(0), *(mass for _, mass in self._pairs)])
        return _sum_by_key(keys, mass)

    def _levels(
        self,
        cell_P: NDArray[np.int64],
        prompt_P: NDArray[np.int64],
        mass_P: NDArray[np.float64],
        n_prompts_G: NDArray[np.int64],
    ) -> NDArray[np.int32]:
        """Return (L, G, H) prompts by level of mean activation over their tokens in the group."""
        n_groups, n_prompts = len(self._groups), int(self._prompt_N.max(initial=0)) + 1
        seen = np.flatnonzero(self._group_N >= 0)
        tokens_GP = np.zeros(n_groups * n_prompts)
        place = self._group_N[seen] * n_prompts + self._prompt_N[seen]
        np.add.at(tokens_GP, place, self._seen_tokens_N[seen])
        keys, mass = _sum_by_key(cell_P * n_prompts + prompt_P, mass_P)
        cell, prompt = np.divmod(keys, n_prompts)
        mean = mass / tokens_GP[(cell % n_groups) * n_prompts + prompt]
        level = 1 + np.floor(np.log2(np.maximum(mean / self._unit, 1.0))).astype(np.int64)
        level = np.minimum(level, N_LEVELS - 1)
        size = self._n_latents * n_groups * N_LEVELS
        levels = np.bincount(cell * N_LEVELS + level, minlength=size).astype(np.int32)
        levels_LGH = levels.reshape(self._n_latents, n_groups, N_LEVELS)
        levels_LGH[:, :, 0] = n_prompts_G - levels_LGH.sum(axis=2)
        return levels_LGH

    def finish(self) -> GroupActivity:
        """Return the counts; only groups with at least one scored token."""
        n_groups, group_N = len(self._groups), self._group_N
        seen_N = self._seen_tokens_N > 0
        grouped = np.flatnonzero(seen_N)
        n_documents_G = np.bincount(group_N[grouped], minlength=n_groups)
        n_tokens_G = np.bincount(
            group_N[grouped], self._seen_tokens_N[grouped], minlength=n_groups
        ).astype(np.int64)
        n_prompts_G = np.bincount(
            _distinct_pairs(group_N[grouped], self._prompt_N[grouped])[0], minlength=n_groups
        )
        keys, mass_P = self._merged_pairs()
        latent_P, document_P = np.divmod(keys, self._corpus.n_documents)
        cell_P = latent_P * n_groups + group_N[document_P]
        cell_prompts = _distinct_pairs(cell_P, self._prompt_N[document_P])[0]
        shape, size = (self._n_latents, n_groups), self._n_latents * n_groups
        used = np.flatnonzero(n_tokens_G)
        return GroupActivity(
            splits=tuple(self._groups[g][0] for g in used),
            capabilities=tuple(self._groups[g][1] for g in used),
            authors=tuple(self._groups[g][2] for g in used),
            n_documents_G=n_documents_G[used],
            n_tokens_G=n_tokens_G[used],
            active_documents_LG=np.bincount(cell_P, minlength=size).reshape(shape)[:, used],
            active_tokens_LG=self._tokens_LG[:, used],
            mass_LG=self._mass_LG[:, used],
            active_prompts_LG=np.bincount(cell_prompts, minlength=size).reshape(shape)[:, used],
            n_prompts_G=n_prompts_G[used],
            level_prompts_LGH=self._levels(cell_P, self._prompt_N[document_P], mass_P, n_prompts_G)[
                :, used
            ],
            level_unit=self._unit,
        )


def _sum_by_key(
    keys: NDArray[np.int64], mass: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the distinct keys, sorted, with the sum of their mass."""
    distinct, place = np.unique(keys, return_inverse=True)
    sums = np.bincount(place, mass, minlength=distinct.shape[0])
    return distinct, sums.astype(np.float64, copy=False)


def _distinct_pairs(
    left: NDArray[np.int64], right: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct (left, right) pairs, sorted."""
    if not left.shape[0]:
        return left, right
    base = int(right.max()) + 1
    pairs = np.divmod(np.unique(left * base + right), base)
    return pairs[0], pairs[1]
