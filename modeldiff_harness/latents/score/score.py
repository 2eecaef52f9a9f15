"""Verb `score`: ONE pass over the held-out splits feeds every scorer and the example collector."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from modeldiff_harness.artifacts import (
    ColumnOwner,
    LatentScores,
    ScoreColumn,
    ScorePass,
    TokenisedCorpus,
    TrainedDictionary,
)
from modeldiff_harness.contracts import (
    ActivationBatch,
    ActivationStream,
    LatentScorer,
    Runtime,
    ScoreContext,
)
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.latents.dictionaries.encode import (
    InferenceWeights,
    decode_with_errors,
    encode_counting,
    side_by_side,
    slices,
)
from modeldiff_harness.latents.harvest.batches import joined, part_of
from modeldiff_harness.latents.harvest.prompts import prompt_of_documents
from modeldiff_harness.latents.harvest.renormalise import in_space_of
from modeldiff_harness.latents.score.document_firings import document_firings
from modeldiff_harness.latents.score.examples import ExampleCollector, ExampleSettings
from modeldiff_harness.latents.score.firing_counts import FiringCounter
from modeldiff_harness.latents.score.quality import QualityCounter

__all__ = ["SCORED_SPLITS", "jackknife_blocks", "score", "whole_documents"]

SCORED_SPLITS = ("score", "label_test")
"""Quality numbers and examples come from the first; both enter the firing counts."""


def score(
    dictionary: TrainedDictionary,
    stream: ActivationStream,
    scorers: Sequence[LatentScorer],
    *,
    owners: Sequence[ColumnOwner] = (),
    n_blocks: int = 20,
    examples: ExampleSettings | None = None,
    runtime: Runtime,
) -> ScorePass:
    """Score every latent of `dictionary` on held-out tokens; sums, no thresholds.

    The context of a batch (codes under θ, reconstructions, errors) is computed once and shared.
    Every split that a scorer reads is summed by an accumulator of its own; `merge` adds them up.
    `owners` says whose the scorers are, one each, and is written on their columns.  `n_blocks`
    blocks of prompts carry the jackknife intervals.

    Raises UsageError when the stream is not the dictionary's or the score split is empty, RunError
    when two scorers make a column of one name or a scorer breaks the contract of `ScoreColumn`.
    """
    _check_stream(dictionary, stream)
    stream = in_space_of(dictionary, stream)  # an imported one brings its own normalisers
    corpus = stream.corpus
    parts = [_start(scorer, dictionary, corpus) for scorer in scorers]
    quality = QualityCounter(dictionary)
    firings = FiringCounter(corpus, dictionary.n_latents, SCORED_SPLITS, dictionary.threshold)
    collector = ExampleCollector(
        corpus, dictionary.n_latents, dictionary.dictionary_id, examples or ExampleSettings()
    )
    total = sum(stream.n_rows(split) for split in SCORED_SPLITS)
    title = f"score {dictionary.dictionary_id}"
    with runtime.progress.task(title, total, unit="tok") as task:
        for context, n_positive in _contexts(dictionary, stream, n_blocks, runtime):
            for part in parts:
                if context.split in part:
                    part[context.split].update(context)
            firings.update(context)
            if context.split == "score":
                quality.update(context, n_positive)
                collector.update(context)
            task.advance(context.codes.n_tokens)
    whose: Sequence[ColumnOwner | None] = owners or [None] * len(scorers)
    columns = [
        replace(column, owner=owner)
        for scorer, part, owner in zip(scorers, parts, whose, strict=True)
        for column in _finish(scorer, part)
    ]
    _check_columns(columns, dictionary.n_latents)
    scores = LatentScores(
        dictionary_id=dictionary.dictionary_id,
        models=dictionary.models,
        columns=tuple(columns),
        quality=quality.finish(),
        firing_counts=firings.finish(),
    )
    return ScorePass(scores, collector.finish())


def _start(
    scorer: LatentScorer, dictionary: TrainedDictionary, corpus: TokenisedCorpus
) -> dict[str, LatentScorer]:
    """Start `scorer`; return an accumulator for each scored split that it reads, itself first."""
    splits = [split for split in SCORED_SPLITS if split in scorer.splits]
    parts = [scorer, *(copy.deepcopy(scorer) for _ in splits[1:])]
    for part in parts:
        part.start(dictionary, corpus)
    # a scorer that reads no split has started all the same
    return dict(zip(splits, parts, strict=False))


def _finish(scorer: LatentScorer, parts: Mapping[str, LatentScorer]) -> Sequence[ScoreColumn]:
    for part in parts.values():
        if part is not scorer:
            scorer.merge(part)
    return scorer.finish()


def jackknife_blocks(corpus: TokenisedCorpus, n_blocks: int) -> NDArray[np.int64]:
    """Return the block of each document, (N,): prompts are dealt by the digest of their name."""
    prompt_N, names = prompt_of_documents(corpus)
    digests = [hashlib.sha256(name.encode()).digest() for name in names]
    block_P = np.array([int.from_bytes(d[:8], "big") % n_blocks for d in digests], dtype=np.int64)
    return block_P[prompt_N]


def whole_documents(batches: Iterable[ActivationBatch]) -> Iterator[ActivationBatch]:
    """Yield the tokens of `batches`, cut only between documents.

    The last document of a batch waits for the next one; no more than that is held.
    """
    held: list[ActivationBatch] = []
    for batch in batches:
        if not batch.document_T.shape[0]:
            continue
        last = int(batch.document_T[-1])
        cut = int(np.searchsorted(batch.document_T, last))
        if held and int(held[0].document_T[0]) != last:
            yield joined([*held, part_of(batch, slice(0, cut))])
            held = []
        elif cut:
            yield part_of(batch, slice(0, cut))
        held.append(part_of(batch, slice(cut, None)))
    if held:
        yield joined(held)


def _contexts(
    dictionary: TrainedDictionary, stream: ActivationStream, n_blocks: int, runtime: Runtime
) -> Iterator[tuple[ScoreContext, int]]:
    """Yield the context of every batch and how many of its pre-activations are positive."""
    block_N = jackknife_blocks(stream.corpus, n_blocks)
    weights: InferenceWeights | None = None
    for split in SCORED_SPLITS:
        for batch in whole_documents(stream.ordered((split,), runtime.batch_tokens)):
            if weights is None:
                weights = InferenceWeights.of(
                    dictionary, device=runtime.device, dtype=batch.acts[0].dtype
                )
            yield _context(dictionary, weights, stream.corpus, split, batch, block_N, n_blocks)


def _context(
    dictionary: TrainedDictionary,
    weights: InferenceWeights,
    corpus: TokenisedCorpus,
    split: str,
    batch: ActivationBatch,
    block_N: NDArray[np.int64],
    n_blocks: int,
) -> tuple[ScoreContext, int]:
    device = weights.encoder_bias_L.device
    joined_TC = side_by_side([a.to(device) for a in batch.acts])  # once, for every product
    acts = slices(joined_TC, weights.widths)
    codes, n_positive = encode_counting(weights, acts)
    reconstructions, errors = decode_with_errors(weights, codes, acts)
    context = ScoreContext(
        dictionary=dictionary,
        corpus=corpus,
        split=split,
        block_T=torch.from_numpy(block_N[batch.document_T]),
        n_blocks=n_blocks,
        rows_T=torch.from_numpy(batch.rows_T),
        document_T=torch.from_numpy(batch.document_T),
        codes=codes,
        acts=acts,
        reconstructions=reconstructions,
        errors=errors,
        by_document=document_firings(codes, batch.rows_T, batch.document_T),
    )
    return context, n_positive


def _check_stream(dictionary: TrainedDictionary, stream: ActivationStream) -> None:
    if dictionary.views != stream.views:
        raise UsageError(
            f"dictionary {dictionary.dictionary_id} reads other views than the stream holds."
        )
    if not stream.n_rows("score"):
        raise UsageError(
            "split 'score' holds no token: nothing to score on.",
            hint="Give the corpus more prompts.",
        )


def _check_columns(columns: Sequence[ScoreColumn], n_latents: int) -> None:
    seen: set[str] = set()
    for column in columns:
        if column.name in seen:
            raise RunError(f"two scorers make the column {column.name!r}; rename one.")
        seen.add(column.name)
        for array in (column.values_L, column.defined_L, column.lower_L, column.upper_L):
            if array is None:
                continue
            if array.shape != (n_latents,):
                raise RunError(
                    f"column {column.name!r} has shape {array.shape}, expected ({n_latents},)."
                )
            if not np.isfinite(array).all():
                raise RunError(
                    f"column {column.name!r} holds values that are not finite.",
                    hint="Its scorer must mark them in `defined_L` and write 0.",
                )
