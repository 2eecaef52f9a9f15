"""Planted activations for tests: a stream whose every feature is known."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from modeldiff_harness.builtin.planted import PlantedConfig, PlantedTruth, planted_corpus
from modeldiff_harness.latents.harvest.stream import MatrixStream

__all__ = ["PlantedConfig", "PlantedTruth", "planted_corpus", "planted_stream"]


def planted_stream(
    config: PlantedConfig | None = None,
    *,
    order: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[MatrixStream, PlantedTruth]:
    """Return a stream over planted activations and the truth; `order` permutes the models."""
    corpus, truth = planted_corpus(config or PlantedConfig())
    chosen = list(order) if order is not None else list(range(len(truth.views)))
    kept = corpus.keep_T.nonzero()[0]
    stream = MatrixStream(
        corpus,
        [truth.views[m] for m in chosen],
        [truth.activations[m][kept] for m in chosen],
        kept,
        max_norm_factor=None,
        dtype=dtype,
    )
    return stream, truth
