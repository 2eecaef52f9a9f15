"""A trained dictionary.

Letters: T tokens, N documents, M models, V views (a model at a site), D width, L latents,
K active, G groups of documents, B jackknife blocks, E examples, W window length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from modeldiff_harness.artifacts.activations import Normaliser, View
from modeldiff_harness.artifacts.arrays import NDArray

__all__ = ["TrainedDictionary"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class TrainedDictionary:
    """A sparse dictionary over V views, in the inference form that every learner converts to.

    Encoding of normalised views x^v: f⁺ = ReLU(Σ_v x^v W_enc^v + b_enc); latent j is active when
    f⁺_j·w_j > threshold, with w_j the latent weight Σ_m ‖d_j^m‖; then f_j = f⁺_j, else 0.
    Decoding: x̂^v = f W_dec^v + b^v.
    """

    SCHEMA_VERSION: ClassVar[int] = 1

    dictionary_id: str
    """Names a latent together with its index, everywhere."""
    design: str
    learner: str
    replicate: int
    views: tuple[View, ...]
    """Canonical order: by identity digest of the model, then by site; base has no special place."""
    encoders: tuple[Floats, ...]
    """V arrays (D_v, L)."""
    encoder_bias_L: Floats
    decoders: tuple[Floats, ...]
    """V arrays (L, D_v), normalised space."""
    decoder_biases: tuple[Floats, ...]
    """V arrays (D_v,)."""
    normalisers: tuple[Normaliser, ...]
    threshold: float
    """θ on f·w; 0 keeps every positive code."""
    k: int
    """Target mean number of active latents a token."""
    n_train_tokens: int
    n_steps: int
    loss_history: dict[str, list[float]]
    """Logged terms by name, one value a logging interval, `step` among them."""
    learner_config: dict[str, Any]
    seconds: float

    @property
    def n_latents(self) -> int:
        """Number of latents L."""
        return int(self.encoder_bias_L.shape[0])

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models in canonical order, once each."""
        return tuple(dict.fromkeys(view.model for view in self.views))
