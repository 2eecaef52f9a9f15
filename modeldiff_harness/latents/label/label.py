"""`label`: a labeler proposes what a latent is about, and the harness tests the proposal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from modeldiff_harness.artifacts import (
    OWNERS,
    LatentEvidence,
    LatentExamples,
    LatentLabel,
    LatentLabels,
    LatentOwners,
    LatentScores,
    TokenisedCorpus,
)
from modeldiff_harness.contracts import Labeler, Runtime
from modeldiff_harness.errors import RunError
from modeldiff_harness.latents.label.capability_counts import capability_counts, leading_author
from modeldiff_harness.latents.label.evidence import Decode, build_evidence
from modeldiff_harness.stats.auroc import auroc_of_levels
from modeldiff_harness.taxonomy import load_taxonomy

__all__ = ["choose_latents", "confirm_label", "label"]

_SPECIFIC = tuple(OWNERS.index(owner) for owner in ("baseline", "candidate", "base"))
_SHARED = OWNERS.index("shared")
_LEAST_TEST_PROMPTS = 3
"""Held-out prompts of the labelled capability, and of others, below which nothing is tested."""


def label(
    owners: LatentOwners,
    scores: LatentScores,
    examples: LatentExamples,
    corpus: TokenisedCorpus,
    labeler: Labeler,
    decode: Decode,
    *,
    n_decoys: int = 32,
    seed: int = 0,
    runtime: Runtime,
) -> LatentLabels:
    """Label the latents that are specific under any rule, and shared decoys.

    The labeler gets both kinds shuffled together and never learns an owner.  Every label is then
    tested on the label-test split (`confirm_label`).  It is confirmed when the 95 % interval of its
    AUROC lies above ½; otherwise the latent becomes uninterpretable, with the reason, and stays
    in N.  About 1 in 40 arbitrary labels passes such a test by luck.

    Raises RunError when the labeler answers for a latent it was not asked about, twice for one, or
    with a capability that the taxonomy does not know.
    """
    latents = choose_latents(owners, n_decoys=n_decoys, seed=seed)
    proposals: dict[int, LatentLabel] = {}
    title = f"label {scores.dictionary_id}"
    with runtime.progress.task(title, len(latents), unit="latent") as task:
        evidences = build_evidence(latents, scores, examples, corpus, decode)
        for proposal in _checked(labeler, evidences, scores.dictionary_id, set(latents)):
            proposals[proposal.latent] = proposal
            task.advance(1)
    labels = []
    for latent in sorted(latents):
        answer = proposals.get(latent) or _unanswered(owners, latent, labeler.name)
        labels.append(confirm_label(answer, scores))
    return LatentLabels(owners.dictionary_id, labeler.name, tuple(labels))


def choose_latents(owners: LatentOwners, *, n_decoys: int, seed: int) -> list[int]:
    """Return specific latents and shared decoys in one shuffled order; roles have no influence.

    Decoys are shared under one of the rules and specific under none.
    """
    specific_L = np.zeros(len(owners.defined_L), dtype=bool)
    shared_L = specific_L.copy()
    for rule in owners.rules:
        specific_L |= np.isin(rule.owner_L, _SPECIFIC)
        shared_L |= rule.owner_L == _SHARED
    rng = np.random.default_rng(seed)
    pool = np.flatnonzero(shared_L & ~specific_L)
    decoys = rng.choice(pool, size=min(n_decoys, len(pool)), replace=False)
    chosen = np.concatenate([np.flatnonzero(specific_L), np.sort(decoys)]).astype(np.int64)
    return [int(latent) for latent in rng.permutation(chosen)]


def confirm_label(proposal: LatentLabel, scores: LatentScores) -> LatentLabel:
    """Return the label with its score on the label-test split, or uninterpretable.

    Question: does the latent's mean activation over a prompt's document tell prompts of the
    labelled capability from the others?  Unit: a prompt, in the words of the author in whose
    documents the latent is most active on the score split.  AUROC over levels of activation
    (powers of two), interval by Newcombe (2006).
    """
    if proposal.capability is None:
        return replace(proposal, test_score=None, n_test_prompts=0)
    author = leading_author(scores.firing_counts, proposal.latent)
    counts = capability_counts(scores.firing_counts, proposal.latent, "label_test", author)
    is_own_C = np.array([c == proposal.capability for c in counts.capabilities], dtype=bool)
    n_own, n_rest = (int(counts.n_prompts_C[mask].sum()) for mask in (is_own_C, ~is_own_C))
    if min(n_own, n_rest) < _LEAST_TEST_PROMPTS:
        return replace(
            proposal,
            capability=None,
            reason=f"{proposal.capability} could not be tested: {n_own} held-out prompts of it and "
            f"{n_rest} others",
            test_score=None,
            n_test_prompts=n_own + n_rest,
        )
    score = auroc_of_levels(
        counts.level_prompts_CH[is_own_C].sum(axis=0),
        counts.level_prompts_CH[~is_own_C].sum(axis=0),
    )
    tested = replace(proposal, test_score=score, n_test_prompts=n_own + n_rest)
    if score.lower > 0.5:
        return tested
    return replace(
        tested,
        capability=None,
        reason=f"{proposal.capability} was not confirmed on held-out prompts: AUROC "
        f"{score.estimate:.2f} ({score.lower:.2f} to {score.upper:.2f})",
    )


def _checked(
    labeler: Labeler, evidences: Iterator[LatentEvidence], dictionary_id: str, asked: set[int]
) -> Iterator[LatentLabel]:
    taxonomy = load_taxonomy()
    seen: set[int] = set()
    for proposal in labeler.label(evidences):
        where = f"labeler {labeler.name!r}, latent {proposal.latent} of {dictionary_id}"
        if proposal.dictionary_id != dictionary_id or proposal.latent not in asked:
            raise RunError(f"{where}: it was not asked about this latent.")
        if proposal.latent in seen:
            raise RunError(f"{where}: it answered twice.")
        if proposal.capability is not None and proposal.capability not in taxonomy:
            raise RunError(
                f"{where}: {proposal.capability!r} is no capability of the taxonomy.",
                hint="Labels are taxonomy keys, or None for uninterpretable.",
            )
        seen.add(proposal.latent)
        yield proposal


def _unanswered(owners: LatentOwners, latent: int, labeler: str) -> LatentLabel:
    return LatentLabel(
        owners.dictionary_id, latent, None, "", labeler, reason="the labeler gave no answer"
    )
