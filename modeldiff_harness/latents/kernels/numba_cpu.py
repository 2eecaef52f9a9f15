"""The step's pieces as compiled loops for the CPU; float32 or float64 throughout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modeldiff_harness.latents.kernels import (
    AdamFactors,
    Candidates,
    Decoded,
    ExtraRows,
    LossLayout,
    Moments,
    Parameters,
    Support,
    numba_loops,
)

__all__ = [
    "NAME",
    "above",
    "decode_and_pull",
    "gradient_norm",
    "latent_sums",
    "pair_products",
    "update",
]

NAME = "numba"

Array = NDArray[Any]


def above(pre_TJ: Tensor, weight_J: Tensor, bound: float, *, token: int, latent: int) -> Candidates:
    """Return the entries with h·w ≥ bound > 0; see `StepKernels`."""
    pre, weight = pre_TJ.numpy(), weight_J.numpy()
    limit = pre.dtype.type(bound)
    ends = np.cumsum(numba_loops.count(pre, weight, limit))
    n = int(ends[-1]) if len(ends) else 0
    tokens, latents = np.empty(n, np.int64), np.empty(n, np.int64)
    codes, values = np.empty(n, pre.dtype), np.empty(n, pre.dtype)
    numba_loops.gather(pre, weight, limit, ends, token, latent, tokens, latents, codes, values)
    return Candidates(*(torch.from_numpy(a) for a in (tokens, latents, codes, values)))


def pair_products(left_N: Tensor, right_N: Tensor, left_TC: Tensor, right_LC: Tensor) -> Tensor:
    """Return ⟨left[left_N], right[right_N]⟩ of every listed pair, (N,)."""
    out_N = left_TC.new_empty(left_N.shape[0])
    numba_loops.products(
        left_N.numpy(), right_N.numpy(), left_TC.numpy(), right_LC.numpy(), out_N.numpy()
    )
    return out_N


def decode_and_pull(
    support: Support,
    decoder_LC: Tensor,
    bias_C: Tensor,
    target_TC: Tensor,
    layout: LossLayout,
) -> Decoded:
    """Decode, compare, pull back: one visit to the decoder rows of each token."""
    residual_TC, towards_TC = torch.empty_like(target_TC), torch.empty_like(target_TC)
    code_gradient_N = torch.empty_like(support.code_N)
    square_T = np.empty(support.n_tokens, np.float64)
    gap_T = np.zeros(support.n_tokens, np.float64)
    numba_loops.decode_and_pull(
        support.token_starts.numpy(),
        support.latent_N.numpy(),
        support.code_N.numpy(),
        decoder_LC.numpy(),
        bias_C.numpy(),
        target_TC.numpy(),
        layout.inverse_width_C.numpy(),
        layout.towards_scale_C.numpy(),
        np.array(layout.pairs, dtype=np.int64).reshape(-1, 3),
        residual_TC.numpy().dtype.type(layout.pair_scale),
        residual_TC.numpy(),
        towards_TC.numpy(),
        code_gradient_N.numpy(),
        square_T,
        gap_T,
    )
    return Decoded(
        residual_TC=residual_TC,
        towards_TC=towards_TC,
        code_gradient_N=code_gradient_N,
        square_sum=float(square_T.sum()),
        gap_square_sum=float(gap_T.sum()),
    )


def latent_sums(support: Support, coefficient_N: Tensor, rows_TC: Tensor, out_LC: Tensor) -> Tensor:
    """Return Σ_{entries of j} coefficient·rows[token] for every latent j, in `out_LC`."""
    order_N = support.by_latent
    numba_loops.latent_sums(
        support.latent_starts.numpy(),
        support.token_N[order_N].numpy(),
        coefficient_N[order_N].numpy(),
        rows_TC.numpy(),
        out_LC.numpy(),
    )
    return out_LC


def gradient_norm(
    support: Support, decoded: Decoded, acts_TC: Tensor, extra: ExtraRows | None
) -> float:
    """Return the joint norm of all four gradients, which are formed row by row and let go."""
    squares_L = np.empty(support.n_latents, np.float64)
    numba_loops.row_squares(
        *_entries(support, decoded, acts_TC), *_extra(extra, support, acts_TC), squares_L
    )
    bias = decoded.towards_TC.sum(dim=0)
    return math.sqrt(float(squares_L.sum()) + float(bias.double().square().sum()))


def update(
    support: Support,
    decoded: Decoded,
    acts_TC: Tensor,
    extra: ExtraRows | None,
    parameters: Parameters,
    moments: Moments,
    adam: AdamFactors,
    widths: Sequence[int],
    weight_L: Tensor,
) -> float:
    """Gradient, clip scale, Adam and decoder norms of each latent while its rows are at hand."""
    squares_L = np.empty(support.n_latents, np.float64)
    number = acts_TC.numpy().dtype.type
    factors = np.array(
        [
            adam.gradient_scale,
            adam.beta1,
            adam.beta2,
            adam.learning_rate * adam.first_correction,
            adam.second_correction,
            adam.epsilon,
            1.0 - adam.beta1,
            1.0 - adam.beta2,
        ],
        dtype=number,
    )
    bias_gradient_C = decoded.towards_TC.sum(dim=0)
    numba_loops.update_rows(
        *_entries(support, decoded, acts_TC),
        *_extra(extra, support, acts_TC),
        parameters.encoder_LC.numpy(),
        moments.first.encoder_LC.numpy(),
        moments.second.encoder_LC.numpy(),
        parameters.encoder_bias_L.numpy(),
        moments.first.encoder_bias_L.numpy(),
        moments.second.encoder_bias_L.numpy(),
        parameters.decoder_LC.numpy(),
        moments.first.decoder_LC.numpy(),
        moments.second.decoder_LC.numpy(),
        factors,
        np.cumsum([0, *widths]),
        weight_L.numpy(),
        squares_L,
    )
    numba_loops.adam_row(
        parameters.decoder_bias_C.numpy(),
        moments.first.decoder_bias_C.numpy(),
        moments.second.decoder_bias_C.numpy(),
        bias_gradient_C.numpy(),
        factors,
    )
    return math.sqrt(float(squares_L.sum()) + float(bias_gradient_C.double().square().sum()))


def _entries(support: Support, decoded: Decoded, acts_TC: Tensor) -> tuple[Array, ...]:
    order_N = support.by_latent
    return (
        support.latent_starts.numpy(),
        support.token_N[order_N].numpy(),
        support.code_N[order_N].numpy(),
        decoded.code_gradient_N[order_N].numpy(),
        decoded.towards_TC.numpy(),
        acts_TC.numpy(),
    )


def _extra(extra: ExtraRows | None, support: Support, like: Tensor) -> tuple[Array, ...]:
    """Return (place of each latent among the extra rows or −1, the rows)."""
    place_L = np.full(support.n_latents, -1, np.int64)
    if extra is None:
        nothing = np.empty((0, like.shape[1]), like.numpy().dtype)
        return place_L, nothing, nothing[:, 0].copy(), nothing
    place_L[extra.latent_A.numpy()] = np.arange(extra.latent_A.shape[0])
    return (
        place_L,
        extra.encoder_AC.numpy(),
        extra.encoder_bias_A.numpy(),
        extra.decoder_AC.numpy(),
    )
