"""Windows of tokens around a latent's activations, collected in one pass in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import ROLES, LatentExamples, TokenisedCorpus
from modeldiff_harness.contracts import ScoreContext
from modeldiff_harness.latents.compiled.threads import over_ranges
from modeldiff_harness.latents.harvest.prompts import prompt_of_documents

__all__ = ["ExampleCollector", "ExampleSettings"]

TOP, QUANTILE = 0, 1
_SPARE = 3
"""Kept per wanted window, so that windows of distinct prompts can be preferred at the end."""
_LATENTS_A_RANGE = 512
"""Latents a thread chooses for at a time."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ExampleSettings:
    """How many windows a latent and how long."""

    n_top: int = 12
    n_quantile: int = 6
    """Windows spread evenly over the latent's remaining documents, ordered by peak."""
    window_tokens: int = 32
    tokens_before: int = 20
    """Tokens shown before the peak, where the document has them."""


@dataclass(frozen=True)
class _Shelf:
    """The `K` windows of highest priority of every latent: a heap of places and their windows."""

    size_L: Ints
    priority_LK: NDArray[np.float64]
    document_LK: Ints
    slot_LK: NDArray[np.int32]
    """Where the window of a place in the heap lies in the next three."""
    peak_LK: NDArray[np.float32]
    start_LK: Ints
    window_LKW: NDArray[np.float32]

    @classmethod
    def empty(cls, n_latents: int, capacity: int, window_tokens: int) -> _Shelf:
        """Allocate; pages that are never written cost no memory."""
        shape = (n_latents, capacity)
        return cls(
            size_L=np.zeros(n_latents, np.int64),
            priority_LK=np.zeros(shape, np.float64),
            document_LK=np.zeros(shape, np.int64),
            slot_LK=np.zeros(shape, np.int32),
            peak_LK=np.zeros(shape, np.float32),
            start_LK=np.zeros(shape, np.int64),
            window_LKW=np.zeros((*shape, window_tokens), np.float32),
        )

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Return the arrays in the order that the compiled loop takes them."""
        return tuple(vars(self).values())

    def documents_by_slot(self) -> Ints:
        """Return (L, K) documents of the windows, by slot instead of by place in the heap."""
        document_LK = np.zeros_like(self.document_LK)
        latent, place = np.nonzero(np.arange(document_LK.shape[1]) < self.size_L[:, None])
        document_LK[latent, self.slot_LK[latent, place]] = self.document_LK[latent, place]
        return document_LK


class ExampleCollector:
    """Collects, for every latent, its top windows and a uniform sample of its documents.

    At most one window a document (at the document's peak).  Memory is bounded by a constant number
    of windows a latent, whatever the corpus.  The result does not depend on where batches are cut.
    """

    def __init__(
        self,
        corpus: TokenisedCorpus,
        n_latents: int,
        dictionary_id: str,
        settings: ExampleSettings,
    ) -> None:
        self._corpus, self._settings = corpus, settings
        self._dictionary_id, self._n_latents = dictionary_id, n_latents
        width = settings.window_tokens
        self._top = _Shelf.empty(n_latents, _SPARE * settings.n_top, width)
        self._sample = _Shelf.empty(n_latents, _SPARE * settings.n_quantile, width)
        self._mass_L = np.zeros(n_latents)
        self._template_mass_L = np.zeros(n_latents)
        self._prompt_N, _ = prompt_of_documents(corpus)
        self._on_template_T = corpus.roles_T == ROLES.index("template")

    def update(self, context: ScoreContext) -> None:
        """Add one batch of the score split."""
        from modeldiff_harness.latents.compiled import example_loops as loops

        found, corpus = context.by_document, self._corpus
        given = (
            found.document_P,
            found.latent_P,
            found.start_P1,
            found.row_N,
            found.activation_N,
            found.peak_P,
            found.peak_row_P,
            corpus.offsets_N1,
            self._settings.tokens_before,
        )

        def offer(first: int, _last: int) -> None:
            shelf = self._sample if first else self._top
            loops.offer(*given, bool(first), *shelf.arrays())

        over_ranges(2, 1, offer)
        loops.add_mass(
            found.latent_P,
            found.start_P1,
            found.row_N,
            found.activation_N,
            found.mass_P,
            self._on_template_T,
            self._mass_L,
            self._template_mass_L,
        )

    def finish(self) -> LatentExamples:
        """Return the chosen windows, sorted by latent, kind and falling peak."""
        tops, samples = self._chosen()
        kind_E = np.concatenate(
            [np.full(tops[0].shape[0], TOP), np.full(samples[0].shape[0], QUANTILE)]
        )
        latent_E = np.concatenate([tops[0], samples[0]])
        order = np.lexsort((kind_E, latent_E))  # stable: the order of peaks stays

        def both(of: str) -> NDArray[Any]:
            parts = [getattr(self._top, of)[tops], getattr(self._sample, of)[samples]]
            found: NDArray[Any] = np.concatenate(parts)[order]
            return found

        documents = self._top.documents_by_slot(), self._sample.documents_by_slot()
        document_E = np.concatenate([documents[0][tops], documents[1][samples]])[order]
        start_E = both("start_LK")
        share = np.divide(
            self._template_mass_L,
            self._mass_L,
            out=np.zeros(self._n_latents),
            where=self._mass_L > 0,
        )
        return LatentExamples(
            dictionary_id=self._dictionary_id,
            latent_E=latent_E[order],
            document_E=document_E,
            kind_E=kind_E[order].astype(np.uint8),
            peak_E=both("peak_LK"),
            start_E=start_E,
            tokens_EW=self._tokens(start_E, document_E),
            activations_EW=both("window_LKW"),
            template_share_L=share,
        )

    def _chosen(self) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
        """Return (latents, slots) of the windows chosen from the top and from the sample."""
        from modeldiff_harness.latents.compiled import example_loops as loops

        settings, n, top, sample = self._settings, self._n_latents, self._top, self._sample
        counts = np.zeros(n, np.int64), np.zeros(n, np.int64)
        slots = (
            np.zeros((n, settings.n_top), np.int64),
            np.zeros((n, settings.n_quantile), np.int64),
        )
        over_ranges(
            n,
            _LATENTS_A_RANGE,
            lambda start, stop: loops.choose_windows(
                top.size_L,
                top.priority_LK,
                top.document_LK,
                top.slot_LK,
                sample.size_L,
                sample.document_LK,
                sample.slot_LK,
                sample.peak_LK,
                self._prompt_N,
                settings.n_top,
                settings.n_quantile,
                start,
                stop,
                counts[0],
                slots[0],
                counts[1],
                slots[1],
            ),
        )
        places = [np.arange(s.shape[1]) < c[:, None] for c, s in zip(counts, slots, strict=True)]
        tops, samples = (
            (np.repeat(np.arange(n), c), s[place])
            for c, s, place in zip(counts, slots, places, strict=True)
        )
        return tops, samples

    def _tokens(self, start_E: Ints, document_E: Ints) -> NDArray[np.int32]:
        row_EW = start_E[:, None] + np.arange(self._settings.window_tokens)
        inside_EW = row_EW < self._corpus.offsets_N1[document_E + 1][:, None]
        last = max(self._corpus.n_tokens - 1, 0)
        return np.where(inside_EW, self._corpus.tokens_T[row_EW.clip(max=last)], np.int32(-1))
