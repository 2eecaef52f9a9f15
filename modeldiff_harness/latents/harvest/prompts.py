"""What counts by prompt: the prompt of each document, and a pair's raw activations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import TokenisedCorpus
from modeldiff_harness.contracts import ActivationStream
from modeldiff_harness.errors import UsageError

__all__ = ["PairBatch", "prompt_of_documents", "raw_pairs"]

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Raw (un-normalised) activations of a pair over T tokens, in float64."""

    baseline_TD: Doubles
    candidate_TD: Doubles
    document_T: Ints
    """Index into the corpus's documents."""


def prompt_of_documents(corpus: TokenisedCorpus) -> tuple[Ints, tuple[str, ...]]:
    """Return (prompt index of each document (N,), prompt names); a document without one is its own.

    The two kinds of name cannot meet: they are kept apart by a prefix inside.
    """
    names: dict[tuple[str, str], int] = {}
    index_N = np.empty(corpus.n_documents, dtype=np.int64)
    for n, document in enumerate(corpus.documents):
        own = ("document", document.doc_id)
        name = own if document.prompt_id is None else ("prompt", document.prompt_id)
        index_N[n] = names.setdefault(name, len(names))
    return index_N, tuple(name for _, name in names)


def raw_pairs(
    stream: ActivationStream, pair: tuple[str, str], splits: Sequence[str], batch_tokens: int
) -> Iterator[PairBatch]:
    """Yield the raw activations of `pair` (baseline, candidate) over `splits`, in corpus order.

    x = x_normalised · scale + mean, so that the models' own scales are compared and not what the
    normalisers made of them.  Raises UsageError when the stream does not read both models at
    exactly one common site, or their widths differ.
    """
    places = []
    for model in pair:
        found = [v for v, view in enumerate(stream.views) if view.model == model]
        if len(found) != 1:
            raise UsageError(
                f"the stream reads {model!r} at {len(found)} sites.",
                hint="Give a stream of both models of the pair at one site.",
            )
        places.append(found[0])
    first, second = (stream.views[v] for v in places)
    if first.site != second.site or first.width != second.width:
        raise UsageError(
            f"{first.model} at {first.site} (width {first.width}) and {second.model} at "
            f"{second.site} (width {second.width}) have no difference.",
        )
    for batch in stream.ordered(splits, batch_tokens):
        baseline_TD, candidate_TD = (
            batch.acts[v].double().cpu().numpy() * stream.normalisers[v].scale
            + stream.normalisers[v].mean_D
            for v in places
        )
        yield PairBatch(baseline_TD, candidate_TD, np.asarray(batch.document_T, dtype=np.int64))
