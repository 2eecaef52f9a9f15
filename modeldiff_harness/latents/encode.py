"""A trained dictionary at work: codes, reconstructions and latent weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modeldiff_harness.artifacts import TrainedDictionary
from modeldiff_harness.contracts import Codes
from modeldiff_harness.errors import UsageError
from modeldiff_harness.latents.kernels import Support, reference

__all__ = [
    "InferenceWeights",
    "encode",
    "encode_topk",
    "latent_weights",
    "pre_activations",
    "reconstruct",
    "support_of",
]


@dataclass(frozen=True, eq=False)
class InferenceWeights:
    """A dictionary's arrays as tensors of one type on one device; build it once a stage."""

    encoders: tuple[Tensor, ...]
    """V tensors (D_v, L)."""
    encoder_bias_L: Tensor
    decoders: tuple[Tensor, ...]
    """V tensors (L, D_v)."""
    decoder_biases: tuple[Tensor, ...]
    weight_L: Tensor
    """Latent weight w, see `latent_weights`."""
    threshold: float
    k: int

    @classmethod
    def of(
        cls,
        dictionary: TrainedDictionary,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> InferenceWeights:
        """Copy the arrays of `dictionary` to `device` as `dtype`."""

        def tensor(array: NDArray[np.floating]) -> Tensor:
            return torch.tensor(array, dtype=dtype, device=device)

        return cls(
            encoders=tuple(tensor(a) for a in dictionary.encoders),
            encoder_bias_L=tensor(dictionary.encoder_bias_L),
            decoders=tuple(tensor(a) for a in dictionary.decoders),
            decoder_biases=tuple(tensor(a) for a in dictionary.decoder_biases),
            weight_L=tensor(latent_weights(dictionary)),
            threshold=dictionary.threshold,
            k=dictionary.k,
        )


def latent_weights(dictionary: TrainedDictionary) -> NDArray[np.float64]:
    """Return w_j = Σ_v ‖d_j^v‖ (L,), in float64: what turns a code f into its activation f·w."""
    norms = [np.linalg.norm(d.astype(np.float64), axis=1) for d in dictionary.decoders]
    weight_L: NDArray[np.float64] = np.sum(norms, axis=0)
    return weight_L


def pre_activations(weights: InferenceWeights, acts: Sequence[Tensor]) -> Tensor:
    """Return h = Σ_v x^v W_enc^v + b (T, L) of normalised activations, one (T, D_v) tensor a view.

    Raises UsageError when the widths are not the dictionary's.
    """
    widths = [int(e.shape[0]) for e in weights.encoders]
    if [int(a.shape[1]) for a in acts] != widths:
        raise UsageError(
            f"activations of widths {[int(a.shape[1]) for a in acts]} do not fit a dictionary of "
            f"widths {widths}."
        )
    pre_TL = torch.addmm(weights.encoder_bias_L, acts[0], weights.encoders[0])
    for act_TD, encoder_DL in zip(acts[1:], weights.encoders[1:], strict=True):
        pre_TL.addmm_(act_TD, encoder_DL)
    return pre_TL


def encode(dictionary: TrainedDictionary | InferenceWeights, acts: Sequence[Tensor]) -> Codes:
    """Return the codes of normalised activations: active where ReLU(h)·w > θ."""
    weights = _weights(dictionary, acts)
    return threshold_codes(weights, pre_activations(weights, acts))


def threshold_codes(weights: InferenceWeights, pre_TL: Tensor) -> Codes:
    """Return the codes of pre-activations h (T, L) under the dictionary's threshold."""
    activation_TL = pre_TL.clamp_min(0) * weights.weight_L
    flat_N = (activation_TL > max(weights.threshold, 0.0)).reshape(-1).nonzero().squeeze(1)
    return _codes(pre_TL, flat_N, activation_TL.reshape(-1)[flat_N])


def encode_topk(dictionary: TrainedDictionary | InferenceWeights, acts: Sequence[Tensor]) -> Codes:
    """Return the codes when exactly k·T entries of the batch are kept, as in training."""
    weights = _weights(dictionary, acts)
    pre_TL = pre_activations(weights, acts)
    support = reference.select(pre_TL, weights.weight_L, weights.k * int(pre_TL.shape[0]))
    flat_N = support.token_N * support.n_latents + support.latent_N
    return _codes(pre_TL, flat_N, support.code_N * weights.weight_L[support.latent_N])


def reconstruct(
    dictionary: TrainedDictionary | InferenceWeights, codes: Codes
) -> tuple[Tensor, ...]:
    """Return x̂^v = f W_dec^v + b^v, one (T, D_v) tensor a view, in normalised space."""
    weights = _weights(dictionary, (codes.code_N,))
    support = support_of(codes)
    return tuple(
        reference.decode(support, decoder_LD, bias_D)
        for decoder_LD, bias_D in zip(weights.decoders, weights.decoder_biases, strict=True)
    )


def support_of(codes: Codes) -> Support:
    """Return `codes` in the form that the kernels take."""
    return Support(
        n_tokens=codes.n_tokens,
        n_latents=codes.n_latents,
        token_N=codes.token_N,
        latent_N=codes.latent_N,
        code_N=codes.code_N,
        smallest=0.0,
    )


def _weights(
    dictionary: TrainedDictionary | InferenceWeights, like: Sequence[Tensor]
) -> InferenceWeights:
    if isinstance(dictionary, InferenceWeights):
        return dictionary
    return InferenceWeights.of(dictionary, device=str(like[0].device), dtype=like[0].dtype)


def _codes(pre_TL: Tensor, flat_N: Tensor, activation_N: Tensor) -> Codes:
    n_tokens, n_latents = int(pre_TL.shape[0]), int(pre_TL.shape[1])
    token_N = torch.div(flat_N, n_latents, rounding_mode="floor")
    return Codes(
        n_tokens=n_tokens,
        n_latents=n_latents,
        token_N=token_N,
        latent_N=flat_N - token_N * n_latents,
        code_N=pre_TL.reshape(-1)[flat_N],
        activation_N=activation_N,
    )
