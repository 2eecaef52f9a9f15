"""Windows of tokens around a latent's activations, collected in one pass in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import ROLES, LatentExamples, TokenisedCorpus
from modeldiff_harness.contracts import ScoreContext
from modeldiff_harness.latents.prompts import prompt_of_documents

__all__ = ["ExampleCollector", "ExampleSettings"]

TOP, QUANTILE = 0, 1
_SPARE = 3
"""Kept per wanted window, so that windows of distinct prompts can be preferred at the end."""

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
class _Firings:
    """Firings of whole documents, sorted by corpus token, then latent."""

    row_N: Ints
    latent_N: Ints
    activation_N: NDArray[np.float32]

    def __getitem__(self, where: slice) -> _Firings:
        return _Firings(self.row_N[where], self.latent_N[where], self.activation_N[where])


@dataclass(frozen=True)
class _Windows:
    """Candidate windows; `priority` is a peak, or a pseudo-random number, the larger the better."""

    latent_E: Ints
    document_E: Ints
    peak_E: NDArray[np.float32]
    start_E: Ints
    activations_EW: NDArray[np.float32]
    priority_E: NDArray[np.float64]

    def __getitem__(self, where: slice | Ints | NDArray[np.bool_]) -> _Windows:
        return _Windows(*(array[where] for array in vars(self).values()))


class ExampleCollector:
    """Collects, for every latent, its top windows and a uniform sample of its documents.

    At most one window a document (at the document's peak).  Memory is bounded by a constant number
    of windows a latent, whatever the corpus.  Batches must come in corpus order; the result does
    not depend on where they are cut.
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
        self._top = _Shelf(n_latents, _SPARE * settings.n_top, settings.window_tokens)
        self._sample = _Shelf(n_latents, _SPARE * settings.n_quantile, settings.window_tokens)
        self._carry: _Firings | None = None
        self._mass_L = np.zeros(n_latents)
        self._template_mass_L = np.zeros(n_latents)
        self._prompt_N, _ = prompt_of_documents(corpus)

    def update(self, context: ScoreContext) -> None:
        """Add one batch of the score split."""
        codes = context.codes
        rows_T = context.rows_T.cpu().numpy()
        fresh = _Firings(
            rows_T[codes.token_N.cpu().numpy()],
            codes.latent_N.cpu().numpy(),
            codes.activation_N.cpu().numpy().astype(np.float32),
        )
        self._add_mass(fresh)
        if self._carry is not None:
            fresh = _Firings(
                np.concatenate([self._carry.row_N, fresh.row_N]),
                np.concatenate([self._carry.latent_N, fresh.latent_N]),
                np.concatenate([self._carry.activation_N, fresh.activation_N]),
            )
        if not rows_T.shape[0]:
            return
        # the last document may go on in the next batch: it waits
        last_document = np.searchsorted(self._corpus.offsets_N1, rows_T[-1], side="right") - 1
        cut = np.searchsorted(fresh.row_N, self._corpus.offsets_N1[last_document])
        self._collect(fresh[:cut])
        self._carry = fresh[cut:]

    def finish(self) -> LatentExamples:
        """Return the chosen windows, sorted by latent, kind and falling peak."""
        if self._carry is not None:
            self._collect(self._carry)
            self._carry = None
        top, sample = self._top.contents(), self._sample.contents()
        prompt = self._prompt_N
        chosen, kinds = [], []
        for latent in range(self._n_latents):
            tops = _distinct_prompts(top.of(latent), prompt, self._settings.n_top)
            taken = set(tops.document_E.tolist())
            rest = sample.of(latent)
            rest = rest[~np.isin(rest.document_E, list(taken))]
            spread = _spread_over_peaks(rest, self._settings.n_quantile)
            for windows, kind in ((tops, TOP), (spread, QUANTILE)):
                chosen.append(windows)
                kinds.append(np.full(windows.latent_E.shape[0], kind, dtype=np.uint8))
        windows = _join(chosen, self._settings.window_tokens)
        share = np.divide(
            self._template_mass_L,
            self._mass_L,
            out=np.zeros(self._n_latents),
            where=self._mass_L > 0,
        )
        return LatentExamples(
            dictionary_id=self._dictionary_id,
            latent_E=windows.latent_E,
            document_E=windows.document_E,
            kind_E=np.concatenate([np.zeros(0, np.uint8), *kinds]),
            peak_E=windows.peak_E,
            start_E=windows.start_E,
            tokens_EW=self._tokens(windows),
            activations_EW=windows.activations_EW,
            template_share_L=share,
        )

    def _add_mass(self, firings: _Firings) -> None:
        n = self._n_latents
        mass = firings.activation_N.astype(np.float64)
        on_template = self._corpus.roles_T[firings.row_N] == ROLES.index("template")
        self._mass_L += np.bincount(firings.latent_N, mass, minlength=n)
        self._template_mass_L += np.bincount(firings.latent_N, mass * on_template, minlength=n)

    def _collect(self, firings: _Firings) -> None:
        """Offer the peak of every (latent, document) of whole documents to both shelves."""
        if not firings.row_N.shape[0]:
            return
        document_N = np.searchsorted(self._corpus.offsets_N1, firings.row_N, side="right") - 1
        order = np.lexsort((firings.row_N, -firings.activation_N, document_N, firings.latent_N))
        key = firings.latent_N[order] * self._corpus.n_documents + document_N[order]
        first = order[np.flatnonzero(np.diff(key, prepend=-1))]
        latent, document = firings.latent_N[first], document_N[first]
        peak = firings.activation_N[first]
        for shelf, priority in (
            (self._top, peak.astype(np.float64)),
            (self._sample, _pseudo_random(latent, document)),
        ):
            wanted = shelf.wants(latent, priority)
            if wanted.any():
                start, activations = self._window(firings, first[wanted], document[wanted])
                shelf.put(
                    _Windows(
                        latent[wanted],
                        document[wanted],
                        peak[wanted],
                        start,
                        activations,
                        priority[wanted],
                    )
                )

    def _window(
        self, firings: _Firings, peaks: Ints, document_E: Ints
    ) -> tuple[Ints, NDArray[np.float32]]:
        """Return start and activations (E, W) of the windows around the firings `peaks`."""
        settings, offsets = self._settings, self._corpus.offsets_N1
        start_E = np.maximum(firings.row_N[peaks] - settings.tokens_before, offsets[document_E])
        row_EW = start_E[:, None] + np.arange(settings.window_tokens)
        inside_EW = row_EW < offsets[document_E + 1][:, None]
        key_N = firings.row_N * self._n_latents + firings.latent_N
        key_EW = row_EW * self._n_latents + firings.latent_N[peaks][:, None]
        place_EW = np.searchsorted(key_N, key_EW).clip(max=key_N.shape[0] - 1)
        found_EW = (key_N[place_EW] == key_EW) & inside_EW
        return start_E, np.where(found_EW, firings.activation_N[place_EW], np.float32(0))

    def _tokens(self, windows: _Windows) -> NDArray[np.int32]:
        row_EW = windows.start_E[:, None] + np.arange(self._settings.window_tokens)
        inside_EW = row_EW < self._corpus.offsets_N1[windows.document_E + 1][:, None]
        last = max(self._corpus.n_tokens - 1, 0)
        return np.where(inside_EW, self._corpus.tokens_T[row_EW.clip(max=last)], np.int32(-1))


class _Shelf:
    """Keeps the `capacity` windows of highest priority of every latent."""

    def __init__(self, n_latents: int, capacity: int, window_tokens: int) -> None:
        self._capacity, self._window_tokens = capacity, window_tokens
        self._bar_L = np.full(n_latents, -np.inf)
        """Priority below which a latent takes nothing more."""
        self._parts: list[_Windows] = []
        self._held = 0
        self._most = max(4096, 2 * n_latents * capacity)

    def wants(self, latent_E: Ints, priority_E: NDArray[np.float64]) -> NDArray[np.bool_]:
        return priority_E > self._bar_L[latent_E] if self._capacity else priority_E > np.inf

    def put(self, windows: _Windows) -> None:
        self._parts.append(windows)
        self._held += windows.latent_E.shape[0]
        if self._held > self._most:
            self._prune()

    def contents(self) -> _ByLatent:
        return _ByLatent(self._prune(), self._bar_L.shape[0])

    def _prune(self) -> _Windows:
        held = _join(self._parts, self._window_tokens)
        # equal priorities: the earlier document wins, wherever batches were cut
        order = np.lexsort((held.document_E, -held.priority_E, held.latent_E))
        held = held[order]
        starts = np.searchsorted(held.latent_E, np.arange(self._bar_L.shape[0] + 1))
        rank_E = np.arange(held.latent_E.shape[0]) - starts[held.latent_E]
        full = np.flatnonzero(rank_E == self._capacity - 1)
        self._bar_L[held.latent_E[full]] = held.priority_E[full]
        held = held[rank_E < self._capacity]
        self._parts, self._held = [held], held.latent_E.shape[0]
        return held


class _ByLatent:
    """Windows sorted by latent and falling priority, looked up by latent."""

    def __init__(self, windows: _Windows, n_latents: int) -> None:
        self._windows = windows
        self._starts = np.searchsorted(windows.latent_E, np.arange(n_latents + 1))

    def of(self, latent: int) -> _Windows:
        return self._windows[self._starts[latent] : self._starts[latent + 1]]


def _distinct_prompts(windows: _Windows, prompt_N: Ints, n: int) -> _Windows:
    """Return the `n` first windows, those of a prompt not yet shown before the others."""
    prompt_E = prompt_N[windows.document_E]
    _, first = np.unique(prompt_E, return_index=True)
    repeated = np.ones(prompt_E.shape[0], dtype=bool)
    repeated[first] = False
    preferred = np.argsort(repeated, kind="stable")[:n]
    return windows[np.sort(preferred)]


def _spread_over_peaks(windows: _Windows, n: int) -> _Windows:
    """Return `n` windows evenly spaced in the order of falling peaks."""
    order = np.lexsort((windows.document_E, -windows.peak_E))
    total = order.shape[0]
    if total > n:
        order = order[((np.arange(n) + 0.5) * total / n).astype(np.int64)]
    return windows[order]


def _join(parts: list[_Windows], window_tokens: int) -> _Windows:
    if parts:
        return _Windows(
            *(np.concatenate(arrays) for arrays in zip(*map(_arrays, parts), strict=True))
        )
    none = np.zeros(0, np.int64)
    floats = np.zeros(0, np.float32)
    windows = np.zeros((0, window_tokens), np.float32)
    return _Windows(none, none, floats, none, windows, np.zeros(0))


def _arrays(windows: _Windows) -> tuple[NDArray[np.generic], ...]:
    return tuple(vars(windows).values())


def _pseudo_random(latent_E: Ints, document_E: Ints) -> NDArray[np.float64]:
    """Return numbers in [0, 1) that depend on (latent, document) only (SplitMix64's finaliser).

    Keeping the largest few is a uniform sample of a latent's documents in any order of arrival.
    """
    with np.errstate(over="ignore"):
        z = latent_E.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z += (document_E.astype(np.uint64) + np.uint64(1)) * np.uint64(0xD1B54A32D192ED03)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) / float(1 << 53)
