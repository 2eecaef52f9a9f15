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


class ActivityCounter:
    """Counts tokens, documents and prompts of every latent by (split, capability, author).

    Batches may come in any order and cut documents anywhere.
    """

    def __init__(self, corpus: TokenisedCorpus, n_latents: int, splits: Sequence[str]) -> None:
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
        self._pairs: list[NDArray[np.int64]] = []
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
        keys = np.unique(latent_N * self._corpus.n_documents + document_N)
        self._pairs.append(keys)
        self._pending += keys.shape[0]
        if self._pending > _MERGE_AT:
            self._pairs = [np.unique(np.concatenate(self._pairs))]
            self._pending = 0

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
        keys = np.unique(np.concatenate([np.zeros(0, np.int64), *self._pairs]))
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
        )


def _distinct_pairs(
    left: NDArray[np.int64], right: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct (left, right) pairs, sorted."""
    if not left.shape[0]:
        return left, right
    base = int(right.max()) + 1
    pairs = np.divmod(np.unique(left * base + right), base)
    return pairs[0], pairs[1]
