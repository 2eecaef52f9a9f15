"""In which groups of documents each latent is active: the counts that labels are tested on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import SPLITS, FiringCounts, TokenisedCorpus
from modeldiff_harness.contracts import ScoreContext
from modeldiff_harness.latents.harvest.prompts import prompt_of_documents

__all__ = ["FiringCounter"]

_TIDY_AT = 1 << 20
"""Waiting (latent, document) pairs before those of finished prompts are counted."""
N_LEVELS = 14
"""Levels of mean activation: inactive, then powers of two from θ/512 to 8·θ."""
_UNIT_PER_THRESHOLD = 1.0 / 512.0

Ints = NDArray[np.int64]


class FiringCounter:
    """Counts tokens, documents and prompts of every latent by (split, capability, author).

    Documents must come in corpus order, split by split.  A prompt that one author answered once is
    counted at once; the pairs of other prompts wait for their last document, and only they do.
    """

    def __init__(
        self, corpus: TokenisedCorpus, n_latents: int, splits: Sequence[str], threshold: float
    ) -> None:
        self._unit = (threshold or 1.0) * _UNIT_PER_THRESHOLD
        self._n_latents = n_latents
        wanted = {SPLITS.index(split): split for split in splits}
        keys = [
            (wanted.get(int(split), ""), document.capability or "", document.author)
            for split, document in zip(corpus.splits_N, corpus.documents, strict=True)
        ]
        self._groups = sorted(
            {key for key in keys if key[0]}, key=lambda g: (SPLITS.index(g[0]), g[1], g[2])
        )
        number = {group: g for g, group in enumerate(self._groups)}
        self._group_N = np.array([number.get(key, -1) for key in keys], dtype=np.int64)
        self._prompt_N, _ = prompt_of_documents(corpus)
        self._find_shared_prompts(corpus)
        self._seen_tokens_N = np.zeros(corpus.n_documents, dtype=np.int64)
        shape = (n_latents, len(self._groups))
        self._tokens_LG = np.zeros(shape, dtype=np.int64)
        self._documents_LG = np.zeros(shape, dtype=np.int64)
        self._prompts_LG = np.zeros(shape, dtype=np.int64)
        self._mass_LG = np.zeros(shape, dtype=np.float64)
        self._levels_LGH = np.zeros((*shape, N_LEVELS), dtype=np.int32)
        self._waiting: list[tuple[Ints, Ints, NDArray[np.float64]]] = []
        """(latent, shared prompt, mass) of pairs whose prompt has more documents to come."""
        self._n_waiting = 0
        self._latest_by_split = np.full(len(SPLITS), -1, dtype=np.int64)

    def update(self, context: ScoreContext) -> None:
        """Count one batch."""
        from modeldiff_harness.latents.compiled import score_loops as loops

        documents, counts = np.unique(context.document_T.cpu().numpy(), return_counts=True)
        self._seen_tokens_N[documents] += counts
        shared = self._shared_N[documents]
        np.add.at(self._shared_tokens_S, shared[shared >= 0], counts[shared >= 0])
        self._latest_by_split[SPLITS.index(context.split)] = documents.max(initial=-1)
        found = context.by_document
        loops.count_firings(
            found.latent_P,
            found.document_P,
            found.start_P1,
            found.mass_P,
            self._group_N,
            self._seen_tokens_N,
            self._shared_N < 0,
            self._unit,
            self._tokens_LG,
            self._documents_LG,
            self._mass_LG,
            self._prompts_LG,
            self._levels_LGH,
        )
        shared_P = self._shared_N[found.document_P]
        waits = shared_P >= 0
        if waits.any():
            self._waiting.append((found.latent_P[waits], shared_P[waits], found.mass_P[waits]))
            self._n_waiting += int(waits.sum())
            if self._n_waiting > _TIDY_AT:
                self._count_waiting(finished_only=True)

    def finish(self) -> FiringCounts:
        """Return the counts; only groups with at least one scored token."""
        self._count_waiting(finished_only=False)
        n_groups, seen = len(self._groups), np.flatnonzero(self._seen_tokens_N)
        group_n = self._group_N[seen]
        n_tokens_G = np.bincount(group_n, self._seen_tokens_N[seen], minlength=n_groups)
        groups_of_prompts = np.unique(np.stack([group_n, self._prompt_N[seen]]), axis=1)[0]
        n_prompts_G = np.bincount(groups_of_prompts, minlength=n_groups)
        used = np.flatnonzero(n_tokens_G)
        levels_LGH = self._levels_LGH[:, used]
        levels_LGH[:, :, 0] = n_prompts_G[used] - levels_LGH.sum(axis=2)
        return FiringCounts(
            splits=tuple(self._groups[g][0] for g in used),
            capabilities=tuple(self._groups[g][1] for g in used),
            authors=tuple(self._groups[g][2] for g in used),
            n_documents_G=np.bincount(group_n, minlength=n_groups)[used],
            n_tokens_G=n_tokens_G.astype(np.int64)[used],
            active_documents_LG=self._documents_LG[:, used],
            active_tokens_LG=self._tokens_LG[:, used],
            mass_LG=self._mass_LG[:, used],
            active_prompts_LG=self._prompts_LG[:, used],
            n_prompts_G=n_prompts_G[used],
            level_prompts_LGH=levels_LGH,
            level_unit=self._unit,
        )

    def _find_shared_prompts(self, corpus: TokenisedCorpus) -> None:
        """Number the (group, prompt)s that have several documents; −1 for all other documents."""
        pairs = np.stack([self._group_N, self._prompt_N])
        _, place_N, counts = np.unique(pairs, axis=1, return_inverse=True, return_counts=True)
        place_N = place_N.reshape(-1)
        number = np.where(counts > 1, np.cumsum(counts > 1) - 1, -1)
        self._shared_N = np.where(self._group_N >= 0, number[place_N], -1)
        n_shared = int(self._shared_N.max(initial=-1)) + 1
        several = np.flatnonzero(self._shared_N >= 0)
        self._shared_last_S = np.zeros(n_shared, dtype=np.int64)
        self._shared_last_S[self._shared_N[several]] = several  # ascending: the last one stays
        self._shared_tokens_S = np.zeros(n_shared, dtype=np.int64)
        self._split_N = corpus.splits_N.astype(np.int64)

    def _count_waiting(self, *, finished_only: bool) -> None:
        from modeldiff_harness.latents.compiled import score_loops as loops

        if not self._waiting:
            return
        latent_P, shared_P, mass_P = (np.concatenate(c) for c in zip(*self._waiting, strict=True))
        last_P = self._shared_last_S[shared_P]
        ready = last_P <= self._latest_by_split[self._split_N[last_P]]
        if not finished_only:
            ready[:] = True
        keys, place = np.unique(
            latent_P[ready] * self._shared_last_S.shape[0] + shared_P[ready], return_inverse=True
        )
        latent, shared = np.divmod(keys, self._shared_last_S.shape[0])
        loops.add_prompts(
            latent,
            self._group_N[self._shared_last_S[shared]],
            np.bincount(place, mass_P[ready]) / self._shared_tokens_S[shared],
            self._unit,
            self._prompts_LG,
            self._levels_LGH,
        )
        left = ~ready
        self._waiting = [(latent_P[left], shared_P[left], mass_P[left])] if left.any() else []
        self._n_waiting = int(left.sum())
