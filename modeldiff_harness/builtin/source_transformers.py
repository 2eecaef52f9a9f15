"""Activation source `transformers`: residual streams of Hugging Face models.

Forward passes stop at the last site; several documents share a row without seeing each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modeldiff_harness.artifacts import TokenisedCorpus, View
from modeldiff_harness.contracts import ActivationBatch, Runtime, SourceModels
from modeldiff_harness.errors import UsageError
from modeldiff_harness.models.blocks import capture, parse_site
from modeldiff_harness.models.loading import ModelPool

__all__ = ["TransformersSource", "create", "pack_rows"]

_ROW_TOKENS = 512
"""Length of a packed row: long rows waste attention on masked pairs, short ones on padding."""


def create() -> TransformersSource:
    """Return a source; it has no configuration."""
    return TransformersSource()


class TransformersSource:
    """Runs the models of a ModelPool over a corpus, document by document, in corpus order."""

    def __init__(self) -> None:
        """Start at the first document."""
        self._document = 0
        self._packs: dict[str, bool] = {}

    def state(self) -> dict[str, Any]:
        """Return the next document to run, counting every batch that was yielded and consumed."""
        return {"document": self._document}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue at the document of `state` when the source is opened next."""
        self._document = int(state["document"])

    def open(
        self, models: SourceModels, corpus: TokenisedCorpus, sites: Sequence[str], runtime: Runtime
    ) -> Iterator[ActivationBatch]:
        """Yield the kept tokens of about `runtime.batch_tokens` tokens at a time.

        `models.handle` is a ModelPool.  Views are models × sites; activations are float32 on the
        CPU whatever type the models run in, (T, D_v) each.

        Raises UsageError for a bad site, and for a model whose tokenizer is not the corpus's.
        """
        pool: ModelPool = models.handle
        blocks = {name: _blocks(pool, name, corpus, sites) for name in models.names}
        views = tuple(
            View(name, site, pool.identity(name).width) for name in models.names for site in sites
        )
        pool.keep_loaded(models.names)
        for name in models.names:  # a model that cannot be opened is found before any work
            self._packs[name] = packs(pool.activate(name)[0], max(blocks[name]))
        return self._run(models.names, pool, corpus, blocks, views, runtime)

    def _run(
        self,
        names: Sequence[str],
        pool: ModelPool,
        corpus: TokenisedCorpus,
        blocks: Mapping[str, Sequence[int]],
        views: tuple[View, ...],
        runtime: Runtime,
    ) -> Iterator[ActivationBatch]:
        lengths_N = np.diff(corpus.offsets_N1)
        while self._document < corpus.n_documents:
            first = self._document
            taken = np.cumsum(lengths_N[first:])
            count = max(1, int(np.searchsorted(taken, runtime.batch_tokens, side="right")))
            documents = np.arange(first, first + count)
            rows_T = np.arange(corpus.offsets_N1[first], corpus.offsets_N1[first + count])
            keep_T = corpus.keep_T[rows_T]
            self._document = first + count
            if not keep_T.any():
                continue
            acts: list[Tensor] = []
            for name in names:
                found = _activations(
                    pool.activate(name)[0], corpus, documents, blocks[name], self._packs[name]
                )
                acts += [x_TD[torch.from_numpy(keep_T)] for x_TD in found]
            document_T = np.repeat(documents, lengths_N[documents])
            yield ActivationBatch(views, tuple(acts), rows_T[keep_T], document_T[keep_T])


def _blocks(pool: ModelPool, name: str, corpus: TokenisedCorpus, sites: Sequence[str]) -> list[int]:
    identity = pool.identity(name)
    if identity.tokenizer_digest != corpus.tokenizer_digest:
        raise UsageError(
            f"{name} has another tokenizer than the corpus was made with: the same token ids "
            "cannot be given to every model.",
            hint="Compare models of one family, or run without the latent arm.",
        )
    return [parse_site(site, identity.n_blocks, name) for site in sites]


def _activations(
    model: nn.Module,
    corpus: TokenisedCorpus,
    documents: Sequence[int] | np.ndarray[Any, Any],
    blocks: Sequence[int],
    packed: bool,
) -> list[Tensor]:
    """Return one (T, D) float32 CPU tensor a block over all tokens of `documents`, in order."""
    lengths = [int(corpus.offsets_N1[n + 1] - corpus.offsets_N1[n]) for n in documents]
    row_tokens = max(_ROW_TOKENS, max(lengths)) if packed else 0
    rows = pack_rows(lengths, row_tokens)
    width = max(sum(lengths[d] for d in row) for row in rows)
    ids_BT = torch.zeros((len(rows), width), dtype=torch.long)
    position_BT = torch.arange(width).repeat(len(rows), 1)
    places: dict[int, tuple[int, int]] = {}
    for b, row in enumerate(rows):
        start = 0
        for d in row:
            span = slice(corpus.offsets_N1[documents[d]], corpus.offsets_N1[documents[d] + 1])
            end = start + lengths[d]
            ids_BT[b, start:end] = torch.from_numpy(corpus.tokens_T[span].astype(np.int64))
            position_BT[b, start:end] = torch.arange(lengths[d])
            places[d] = (b, start)
            start = end
        if packed:
            position_BT[b, start:] = torch.arange(width - start)  # padding is one more document
    device = next(model.parameters()).device
    found = capture(
        model,
        ids_BT.to(device),
        blocks,
        position_ids_BT=position_BT.to(device) if packed else None,
    )
    index_T = torch.cat(
        [torch.arange(lengths[d]) + b * width + s for d, (b, s) in sorted(places.items())]
    ).to(device)
    return [found[block].flatten(0, 1)[index_T].float().cpu() for block in blocks]


def pack_rows(lengths: Sequence[int], row_tokens: int) -> list[list[int]]:
    """Deal documents to rows of at most `row_tokens` tokens, longest first into the fullest fit.

    A document longer than `row_tokens` gets a row of its own.
    """
    rows: list[list[int]] = []
    free: list[int] = []
    for d in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        fits = [r for r in range(len(rows)) if free[r] >= lengths[d]]
        if fits:
            row = min(fits, key=lambda r: (free[r], r))
            rows[row].append(d)
            free[row] -= lengths[d]
        else:
            rows.append([d])
            free.append(row_tokens - lengths[d])
    return rows


def packs(model: nn.Module, block: int) -> bool:
    """Say whether restarted positions keep documents of one row apart in this architecture.

    Asked of the model itself, on a few tokens: architectures that do not read positions this way
    are run one document a row.
    """
    device = next(model.parameters()).device
    first, second = torch.arange(4, 16), torch.arange(8, 17)
    position_BT = torch.cat([torch.arange(len(first)), torch.arange(len(second))])[None]
    together_BT = torch.cat([first, second])[None]
    packed = capture(
        model, together_BT.to(device), [block], position_ids_BT=position_BT.to(device)
    )[block][0, len(first) :]
    alone = capture(model, second[None].to(device), [block])[block][0]
    tolerance = 1e-4 if alone.dtype == torch.float32 else 3e-2
    gap = (packed.float() - alone.float()).norm() / alone.float().norm().clamp_min(1e-12)
    return bool(gap < tolerance)
