"""What a labeler is shown of a latent, built from what the score pass kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import (
    SPLITS,
    LatentEvidence,
    LatentExamples,
    LatentScores,
    TokenisedCorpus,
    TokenWindow,
)
from modeldiff_harness.errors import RunError
from modeldiff_harness.latents.label.capability_counts import capability_counts, leading_author

__all__ = ["Decode", "build_evidence"]

Decode = Callable[[Sequence[int]], Sequence[str]]
"""Token ids → the text of each token."""

MOST_TOKENS = 12
LEAST_MASS_SHARE = 0.02
"""Tokens below this share of a latent's mass say nothing about it."""
_KINDS = ("top", "quantile")


def build_evidence(
    latents: Iterable[int],
    scores: LatentScores,
    examples: LatentExamples,
    corpus: TokenisedCorpus,
    decode: Decode,
) -> Iterator[LatentEvidence]:
    """Yield the evidence of each of `latents`, in the order given, all from the score split.

    Nothing in it tells which model a latent came from: authors that are models are shown as
    "model".  `active_prompts_C` and `n_prompts_C` count prompts in the words of one author (see
    `capability_counts`).  `token_lift` holds up to 12 tokens with at least 2 % of the mass in the
    windows: log-odds of that share against the token's share of the score split, half a token
    added.

    Raises RunError when an example window lies outside the score split.
    """
    share_of_corpus = _TokenShares(corpus)
    rows_of = _rows_by_latent(examples)
    for latent in latents:
        rows = rows_of.get(latent, np.empty(0, dtype=np.int64))
        author = leading_author(scores.firing_counts, latent)
        counts = capability_counts(scores.firing_counts, latent, "score", author)
        yield LatentEvidence(
            dictionary_id=scores.dictionary_id,
            latent=latent,
            windows=tuple(_window(examples, int(row), corpus, decode) for row in rows),
            capabilities=counts.capabilities,
            active_prompts_C=tuple(counts.active_prompts_C.tolist()),
            n_prompts_C=tuple(counts.n_prompts_C.tolist()),
            mass_C=tuple(counts.mass_C.tolist()),
            n_tokens_C=tuple(counts.n_tokens_C.tolist()),
            level_prompts_CH=tuple(tuple(row) for row in counts.level_prompts_CH.tolist()),
            token_lift=_token_lift(examples, rows, share_of_corpus, decode),
            template_share=float(examples.template_share_L[latent]),
        )


def _rows_by_latent(examples: LatentExamples) -> dict[int, NDArray[np.int64]]:
    order = np.lexsort((-examples.peak_E, examples.kind_E, examples.latent_E))
    latents, starts = np.unique(examples.latent_E[order], return_index=True)
    parts = np.split(order.astype(np.int64), starts[1:])
    return {int(latent): rows for latent, rows in zip(latents, parts, strict=True)}


def _window(
    examples: LatentExamples, row: int, corpus: TokenisedCorpus, decode: Decode
) -> TokenWindow:
    index = int(examples.document_E[row])
    split = SPLITS[int(corpus.splits_N[index])]
    document = corpus.documents[index]
    if split != "score":
        raise RunError(
            f"example window of latent {int(examples.latent_E[row])} lies in split {split!r} "
            f"(document {document.doc_id}).",
            hint="Examples must come from the score split; score the dictionary again.",
        )
    filled_W = examples.tokens_EW[row] >= 0
    return TokenWindow(
        doc_id=document.doc_id,
        tokens=tuple(decode(examples.tokens_EW[row][filled_W].tolist())),
        activations=tuple(examples.activations_EW[row][filled_W].astype(float).tolist()),
        capability=document.capability,
        author=document.author if document.author in ("own", "web") else "model",
        split=split,
        kind=_KINDS[int(examples.kind_E[row])],
    )


class _TokenShares:
    """How often each token id stands among the kept tokens of the score split."""

    def __init__(self, corpus: TokenisedCorpus) -> None:
        lengths_N = np.diff(corpus.offsets_N1)
        split_T = np.repeat(corpus.splits_N, lengths_N)
        used_T = (split_T == SPLITS.index("score")) & corpus.keep_T
        self.count_V = np.bincount(corpus.tokens_T[used_T], minlength=1)
        self.n_tokens = int(used_T.sum())

    def log_odds(self, token: int) -> float:
        count = float(self.count_V[token]) if token < len(self.count_V) else 0.0
        return float(np.log((count + 0.5) / (self.n_tokens - count + 0.5)))


def _token_lift(
    examples: LatentExamples,
    rows: NDArray[np.int64],
    share_of_corpus: _TokenShares,
    decode: Decode,
) -> dict[str, float]:
    tokens = examples.tokens_EW[rows].ravel()
    mass = np.where(tokens >= 0, examples.activations_EW[rows].ravel().astype(np.float64), 0.0)
    n_active, total = int((mass > 0).sum()), float(mass.sum())
    if total <= 0:
        return {}
    ids, place = np.unique(tokens, return_inverse=True)
    share = np.bincount(place, weights=mass) / total
    kept = [i for i in np.argsort(-share, kind="stable") if share[i] >= LEAST_MASS_SHARE]
    kept = kept[:MOST_TOKENS]
    texts = decode([int(ids[i]) for i in kept])
    lifts: dict[str, float] = {}
    for i, text in zip(kept, texts, strict=True):
        in_mass = np.log((share[i] * n_active + 0.5) / ((1.0 - share[i]) * n_active + 0.5))
        lift = float(in_mass) - share_of_corpus.log_odds(int(ids[i]))
        lifts[text] = max(lift, lifts.get(text, lift))
    return dict(sorted(lifts.items(), key=lambda item: (-item[1], item[0])))
