"""Parts of a corpus that are corpora themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import TokenisedCorpus
from modeldiff_harness.latents.harvest.prompts import prompt_of_documents

__all__ = ["kept_tokens", "kept_rows", "sample_documents", "take_documents"]

Ints = NDArray[np.int64]


def kept_tokens(corpus: TokenisedCorpus) -> Ints:
    """Return how many tokens of each document are learnt from, (N,)."""
    total_T1 = np.concatenate([[0], np.cumsum(corpus.keep_T, dtype=np.int64)])
    counts: Ints = np.diff(total_T1[corpus.offsets_N1])
    return counts


def kept_rows(corpus: TokenisedCorpus, documents: Ints) -> Ints:
    """Return the corpus indices of the kept tokens of `documents`, in the order given."""
    starts, ends = corpus.offsets_N1[documents], corpus.offsets_N1[documents + 1]
    lengths = ends - starts
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    rows = np.repeat(starts, lengths) + within
    kept: Ints = rows[corpus.keep_T[rows]].astype(np.int64)
    return kept


def sample_documents(corpus: TokenisedCorpus, n_tokens: int) -> Ints:
    """Return the documents of whole prompts that hold at least `n_tokens` kept tokens, in order.

    Prompts are taken in the order of a digest of their names, across all splits; all documents
    when the corpus holds no more than `n_tokens`.
    """
    counts_N = kept_tokens(corpus)
    if counts_N.sum() <= n_tokens:
        return np.arange(corpus.n_documents)
    prompt_N, names = prompt_of_documents(corpus)
    digests = [hashlib.sha256(b"sample:" + name.encode()).digest() for name in names]
    order_P = np.array(sorted(range(len(names)), key=digests.__getitem__))
    tokens_P = np.bincount(prompt_N, weights=counts_N, minlength=len(names))[order_P]
    enough = int(np.searchsorted(np.cumsum(tokens_P), n_tokens)) + 1
    chosen_P = np.zeros(len(names), dtype=bool)
    chosen_P[order_P[:enough]] = True
    return np.flatnonzero(chosen_P[prompt_N])


def take_documents(corpus: TokenisedCorpus, documents: Sequence[int] | Ints) -> TokenisedCorpus:
    """Return the corpus of the documents at these indices, in the order given."""
    chosen = np.asarray(documents, dtype=np.int64)
    starts, ends = corpus.offsets_N1[chosen], corpus.offsets_N1[chosen + 1]
    lengths = ends - starts
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    rows = np.repeat(starts, lengths) + within
    return TokenisedCorpus(
        tokens_T=corpus.tokens_T[rows],
        roles_T=corpus.roles_T[rows],
        keep_T=corpus.keep_T[rows],
        offsets_N1=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        splits_N=corpus.splits_N[chosen],
        documents=tuple(corpus.documents[n] for n in chosen.tolist()),
        tokenizer_digest=corpus.tokenizer_digest,
        chat_template_digest=corpus.chat_template_digest,
        context=corpus.context,
        n_truncated=0,
        also_read_by=corpus.also_read_by,
    )
