"""Latent scorer `delta_norm`: how a latent's decoder is divided between models (arXiv 2504.02922).

Columns, with a and b in the dictionary's canonical order:
    delta_norm[a|b]        Δnorm in normalised space: 0 = a only, ½ = equal, 1 = b only
    delta_norm_raw[a|b]    the same in the models' own units (decoder times the normaliser's scale)
    decoder_norm[m]        ‖d^m‖, normalised space
    decoder_norm_raw[m]    ‖d^m‖·s^m
    decoder_cosine[a|b]    cos(d^a, d^b); only where the widths agree
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import ScoreColumn, TokenisedCorpus, TrainedDictionary
from modeldiff_harness.contracts import ScoreContext

__all__ = ["DeltaNorm", "create"]

Doubles = NDArray[np.float64]

_LATENTS_AT_ONCE = 1024
"""Decoder rows that are widened to float64 at a time."""


def create() -> DeltaNorm:
    """Return the scorer."""
    return DeltaNorm()


class DeltaNorm:
    """Needs no activations: everything is in the decoder."""

    splits: Sequence[str] = ()

    def start(self, dictionary: TrainedDictionary, corpus: TokenisedCorpus) -> None:
        """Remember the dictionary."""
        self._dictionary = dictionary

    def update(self, context: ScoreContext) -> None:
        """Do nothing."""

    def merge(self, other: DeltaNorm) -> None:
        """Do nothing: both hold the same dictionary."""

    def finish(self) -> Sequence[ScoreColumn]:
        """Return the columns; Δnorm and cosine are undefined where both norms (or one) vanish."""
        dictionary = self._dictionary
        models = dictionary.models
        norm = {m: np.sqrt(_dots(dictionary, m, m)) for m in models}
        norm_raw = {m: np.sqrt(_dots(dictionary, m, m, raw=True)) for m in models}
        width = {m: sum(v.width for v in dictionary.views if v.model == m) for m in models}
        columns = []
        for m in models:
            columns.append(_norm_column(f"decoder_norm[{m}]", norm[m], "normalised"))
            columns.append(_norm_column(f"decoder_norm_raw[{m}]", norm_raw[m], "activation"))
        for a, b in itertools.combinations(models, 2):
            columns.append(_delta_column(f"delta_norm[{a}|{b}]", norm[a], norm[b], ""))
            columns.append(
                _delta_column(
                    f"delta_norm_raw[{a}|{b}]", norm_raw[a], norm_raw[b], " in the models' units"
                )
            )
            if width[a] == width[b]:
                columns.append(_cosine_column(a, b, _dots(dictionary, a, b), norm))
        return columns


def _dots(dictionary: TrainedDictionary, a: str, b: str, *, raw: bool = False) -> Doubles:
    """Return ⟨d^a, d^b⟩ (L,) over all sites, in float64, a few latents at a time."""
    sides = [
        [
            (d, n.scale if raw else 1.0)
            for view, d, n in zip(
                dictionary.views, dictionary.decoders, dictionary.normalisers, strict=True
            )
            if view.model == model
        ]
        for model in (a, b)
    ]
    dots_L = np.empty(dictionary.n_latents)
    for start in range(0, dictionary.n_latents, _LATENTS_AT_ONCE):
        rows = slice(start, start + _LATENTS_AT_ONCE)
        left, right = (
            np.concatenate([d[rows].astype(np.float64) * scale for d, scale in side], axis=1)
            for side in sides
        )
        dots_L[rows] = (left * right).sum(axis=1)
    return dots_L


def _norm_column(name: str, norm_L: Doubles, space: str) -> ScoreColumn:
    return ScoreColumn(
        name=name,
        unit=f"{space} units",
        meaning="Norm of the latent's decoder row in this model.",
        values_L=norm_L,
        defined_L=np.ones(norm_L.shape, dtype=bool),
    )


def _delta_column(name: str, a_L: Doubles, b_L: Doubles, where: str) -> ScoreColumn:
    largest = np.maximum(a_L, b_L)
    defined = largest > 0
    ratio = np.divide(b_L - a_L, largest, out=np.zeros_like(a_L), where=defined)
    return ScoreColumn(
        name=name,
        unit="0 to 1",
        meaning=f"Relative norm difference{where}: 0 = first model only, 1 = second model only.",
        values_L=np.where(defined, 0.5 * (ratio + 1.0), 0.0),
        defined_L=defined,
    )


def _cosine_column(a: str, b: str, dots: Doubles, norm: dict[str, Doubles]) -> ScoreColumn:
    product = norm[a] * norm[b]
    return ScoreColumn(
        name=f"decoder_cosine[{a}|{b}]",
        unit="-1 to 1",
        meaning="Cosine between the two models' decoder rows.",
        values_L=np.divide(dots, product, out=np.zeros_like(dots), where=product > 0),
        defined_L=product > 0,
    )
