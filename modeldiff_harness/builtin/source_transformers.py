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
from modeldiff_harness.models.blocks import parse_site
from modeldiff_harness.models.loading import ModelPool
from modeldiff_harness.models.packing import Rows, capture_rows, pack_rows, packing_of

__all__ = ["TransformersSource", "create"]

_CPU_BATCH_TOKENS = 1024
"""Tokens a forward pass on a CPU, of rows of similar length: more of them gain nothing there."""


def create() -> TransformersSource:
    """Return a source; it has no configuration."""
    return TransformersSource()


class TransformersSource:
    """Runs the models of a ModelPool over a corpus, document by document, in corpus order."""

    def __init__(self) -> None:
        """Start at the first document."""
        self._document = 0
        self._packing: dict[str, str] = {}

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
        how: dict[str, str] = {}
        for name in models.names:  # a model that cannot be opened is found before any work
            model = pool.activate(name)[0]
            self._packing[name] = packing_of(model, max(blocks[name]))
            how[name] = _how(model, self._packing[name])
            if self._packing[name] == "alone":
                runtime.progress.log(
                    f"{name}: one document a row, since its attention cannot keep several apart"
                )
        return self._run(models.names, pool, corpus, blocks, views, how, runtime)

    def _run(
        self,
        names: Sequence[str],
        pool: ModelPool,
        corpus: TokenisedCorpus,
        blocks: Mapping[str, Sequence[int]],
        views: tuple[View, ...],
        how: Mapping[str, str],
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
                    pool.activate(name)[0], corpus, documents, blocks[name], self._packing[name]
                )
                acts += [x_TD[torch.from_numpy(keep_T)] for x_TD in found]
            document_T = np.repeat(documents, lengths_N[documents])
            yield ActivationBatch(views, tuple(acts), rows_T[keep_T], document_T[keep_T], how)


def _blocks(pool: ModelPool, name: str, corpus: TokenisedCorpus, sites: Sequence[str]) -> list[int]:
    identity = pool.identity(name)
    if identity.tokenizer_digest not in (corpus.tokenizer_digest, *corpus.also_read_by):
        raise UsageError(
            f"{name} has another tokenizer than the corpus was made with, and reads it in other "
            "ids: the same token ids cannot be given to every model.",
            hint="Compare models of one family, or run without the latent arm.",
        )
    return [parse_site(site, identity.n_blocks, name) for site in sites]


def _activations(
    model: nn.Module,
    corpus: TokenisedCorpus,
    documents: Sequence[int] | np.ndarray[Any, Any],
    blocks: Sequence[int],
    packing: str,
) -> list[Tensor]:
    """Return one (T, D) float32 CPU tensor a block over all tokens of `documents`, in order."""
    spans = [slice(corpus.offsets_N1[n], corpus.offsets_N1[n + 1]) for n in documents]
    ids = [torch.from_numpy(corpus.tokens_T[span].astype(np.int64)) for span in spans]
    config: Any = model.config
    on_cpu = next(model.parameters()).device.type == "cpu"
    batches = pack_rows(
        [int(d.shape[0]) for d in ids],
        config.get_text_config().hidden_size,
        batch_tokens=_CPU_BATCH_TOKENS if on_cpu else None,
        together=packing != "alone",
    )
    found: list[dict[int, Tensor]] = [{} for _ in blocks]
    for layout in batches:
        rows = Rows.of(ids, layout)
        captured = capture_rows(model, rows, blocks, packing)
        numbers = sorted(d for row in layout for d in row)
        for block, by_document in zip(blocks, found, strict=True):
            x_TD = captured[block].flatten(0, 1)[rows.place_N.to(captured[block].device)]
            sizes = [int(ids[d].shape[0]) for d in numbers]
            parts = torch.tensor_split(x_TD.float().cpu(), np.cumsum(sizes)[:-1].tolist())
            by_document.update(zip(numbers, parts, strict=True))
    return [torch.cat([by_document[d] for d in range(len(ids))]) for by_document in found]


def _how(model: nn.Module, packing: str) -> str:
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    rows = {"positions": "packed rows", "mask": "packed rows, block mask"}
    return f"{dtype}, {rows.get(packing, 'one document a row')}"
