"""The step's pieces as compiled loops for the CPU; float32 or float64 throughout.

Every loop runs over tokens or over latents with one owner a row, so a result does not depend on
the number of threads.  Sums may be reassociated; NaN and infinity behave as IEEE says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numba import njit, prange
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
_FAST = {"contract", "reassoc", "nsz", "arcp"}
_ROWS_AT_ONCE = 32
"""Latents a thread takes at a time."""

Array = NDArray[Any]


def above(pre_TJ: Tensor, weight_J: Tensor, bound: float, *, token: int, latent: int) -> Candidates:
    """Return the entries with h·w ≥ bound > 0; see `StepKernels`."""
    pre, weight = pre_TJ.numpy(), weight_J.numpy()
    limit = pre.dtype.type(bound)
    ends = np.cumsum(_count(pre, weight, limit))
    n = int(ends[-1]) if len(ends) else 0
    tokens, latents = np.empty(n, np.int64), np.empty(n, np.int64)
    codes, values = np.empty(n, pre.dtype), np.empty(n, pre.dtype)
    _gather(pre, weight, limit, ends, token, latent, tokens, latents, codes, values)
    return Candidates(*(torch.from_numpy(a) for a in (tokens, latents, codes, values)))


def pair_products(left_N: Tensor, right_N: Tensor, left_TC: Tensor, right_LC: Tensor) -> Tensor:
    """Return ⟨left[left_N], right[right_N]⟩ of every listed pair, (N,)."""
    out_N = left_TC.new_empty(left_N.shape[0])
    _products(left_N.numpy(), right_N.numpy(), left_TC.numpy(), right_LC.numpy(), out_N.numpy())
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
    _decode_and_pull(
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
    _latent_sums(
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
    _row_squares(*_entries(support, decoded, acts_TC), *_extra(extra, support, acts_TC), squares_L)
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
    _update_rows(
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
    _adam_row(
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


# ── compiled ─────────────────────────────────────────────────────────────────────────────────


@njit(parallel=True, fastmath=_FAST, cache=True)
def _count(pre: Array, weight: Array, bound: Any) -> Array:
    n_rows, n_columns = pre.shape
    counts = np.empty(n_rows, np.int64)
    for t in prange(n_rows):
        row = pre[t]
        found = np.int32(0)
        for j in range(n_columns):
            found += np.int32(row[j] * weight[j] >= bound)
        counts[t] = found
    return counts


_BLOCK = 16


@njit(parallel=True, fastmath=_FAST, cache=True)
def _gather(
    pre: Array,
    weight: Array,
    bound: Any,
    ends: Array,
    token: int,
    latent: int,
    tokens: Array,
    latents: Array,
    codes: Array,
    values: Array,
) -> None:
    n_rows, n_columns = pre.shape
    for t in prange(n_rows):
        row = pre[t]
        place = ends[t - 1] if t else 0
        end = ends[t]
        for start in range(0, n_columns, _BLOCK):
            if place == end:
                break
            stop = min(start + _BLOCK, n_columns)
            hits = np.int32(0)
            for j in range(start, stop):
                hits += np.int32(row[j] * weight[j] >= bound)
            if hits:
                for j in range(start, stop):
                    value = row[j] * weight[j]
                    if value >= bound:
                        tokens[place] = token + t
                        latents[place] = latent + j
                        codes[place] = row[j]
                        values[place] = value
                        place += 1


@njit(fastmath=_FAST, cache=True)
def _dot(left: Array, right: Array) -> Any:
    total = left[0] * right[0]
    for c in range(1, left.shape[0]):
        total += left[c] * right[c]
    return total


@njit(parallel=True, fastmath=_FAST, cache=True)
def _products(left_N: Array, right_N: Array, left: Array, right: Array, out: Array) -> None:
    for n in prange(out.shape[0]):
        out[n] = _dot(left[left_N[n]], right[right_N[n]])


@njit(fastmath=_FAST, cache=True)
def _add_rows(
    out: Array, start: int, end: int, index: Array, coefficient: Array, rows: Array
) -> None:
    """Add Σ coefficient[n]·rows[index[n]] for n in [start, end) to `out`, four rows at a time."""
    n = start
    while n + 4 <= end:
        f0, f1, f2, f3 = (
            coefficient[n],
            coefficient[n + 1],
            coefficient[n + 2],
            coefficient[n + 3],
        )
        r0, r1, r2, r3 = (
            rows[index[n]],
            rows[index[n + 1]],
            rows[index[n + 2]],
            rows[index[n + 3]],
        )
        for c in range(out.shape[0]):
            out[c] += (f0 * r0[c] + f1 * r1[c]) + (f2 * r2[c] + f3 * r3[c])
        n += 4
    while n < end:
        f0, r0 = coefficient[n], rows[index[n]]
        for c in range(out.shape[0]):
            out[c] += f0 * r0[c]
        n += 1


@njit(parallel=True, fastmath=_FAST, cache=True)
def _decode_and_pull(
    starts: Array,
    latent: Array,
    code: Array,
    decoder: Array,
    bias: Array,
    target: Array,
    inverse_width: Array,
    scale: Array,
    pairs: Array,
    pair_scale: Any,
    residual: Array,
    towards: Array,
    code_gradient: Array,
    square_T: Array,
    gap_T: Array,
) -> None:
    n_tokens, width = target.shape
    for t in prange(n_tokens):
        start, end = starts[t], starts[t + 1]
        error, pull, wanted = residual[t], towards[t], target[t]
        error[:] = bias
        _add_rows(error, start, end, latent, code, decoder)
        square = inverse_width[0] * 0
        for c in range(width):
            missing = wanted[c] - error[c]
            error[c] = missing
            pull[c] = missing * scale[c]
            square += missing * missing * inverse_width[c]
        square_T[t] = square
        for p in range(pairs.shape[0]):
            a, b = pairs[p, 0], pairs[p, 1]
            gaps = inverse_width[0] * 0
            for d in range(pairs[p, 2]):
                gap = error[a + d] - error[b + d]
                gaps += gap * gap
                pull[a + d] -= pair_scale * gap
                pull[b + d] += pair_scale * gap
            gap_T[t] += gaps
        for n in range(start, end):
            code_gradient[n] = _dot(pull, decoder[latent[n]])


@njit(parallel=True, fastmath=_FAST, cache=True)
def _latent_sums(starts: Array, token: Array, coefficient: Array, rows: Array, out: Array) -> None:
    for j in prange(out.shape[0]):
        out[j] = 0
        _add_rows(out[j], starts[j], starts[j + 1], token, coefficient, rows)


@njit(fastmath=_FAST, cache=True)
def _row_gradient(
    j: int,
    starts: Array,
    token: Array,
    code: Array,
    code_gradient: Array,
    towards: Array,
    acts: Array,
    place: int,
    extra_encoder: Array,
    extra_bias: Array,
    extra_decoder: Array,
    encoder_row: Array,
    decoder_row: Array,
) -> Any:
    """Write one latent's gradient rows; return that of its encoder bias."""
    start, end = starts[j], starts[j + 1]
    bias = towards[0, 0] * 0
    if place >= 0:
        encoder_row[:] = extra_encoder[place]
        decoder_row[:] = extra_decoder[place]
        bias += extra_bias[place]
    else:
        encoder_row[:] = 0
        decoder_row[:] = 0
    _add_rows(encoder_row, start, end, token, code_gradient, acts)
    _add_rows(decoder_row, start, end, token, code, towards)
    for n in range(start, end):
        bias += code_gradient[n]
    return bias


@njit(parallel=True, fastmath=_FAST, cache=True)
def _row_squares(
    starts: Array,
    token: Array,
    code: Array,
    code_gradient: Array,
    towards: Array,
    acts: Array,
    place_L: Array,
    extra_encoder: Array,
    extra_bias: Array,
    extra_decoder: Array,
    squares: Array,
) -> None:
    n_latents, width = squares.shape[0], acts.shape[1]
    for block in prange((n_latents + _ROWS_AT_ONCE - 1) // _ROWS_AT_ONCE):
        encoder_row, decoder_row = np.empty(width, acts.dtype), np.empty(width, acts.dtype)
        first = block * _ROWS_AT_ONCE
        for j in range(first, min(first + _ROWS_AT_ONCE, n_latents)):
            if starts[j] == starts[j + 1] and place_L[j] < 0:
                squares[j] = 0.0
                continue
            bias = _row_gradient(
                j, starts, token, code, code_gradient, towards, acts, place_L[j],
                extra_encoder, extra_bias, extra_decoder, encoder_row, decoder_row,
            )  # fmt: skip
            squares[j] = (
                _dot(encoder_row, encoder_row) + _dot(decoder_row, decoder_row) + bias * bias
            )


@njit(fastmath=_FAST, cache=True)
def _adam_row(
    parameter: Array, first: Array, second: Array, gradient: Array, factors: Array
) -> None:
    """Move one row; `factors` = clip scale, β₁, β₂, η/(1 − β₁ᵗ), 1/(1 − β₂ᵗ), ε, 1 − β₁, 1 − β₂."""
    scale, beta1, beta2 = factors[0], factors[1], factors[2]
    rate, correction, epsilon = factors[3], factors[4], factors[5]
    rest1, rest2 = factors[6], factors[7]
    for c in range(parameter.shape[0]):
        g = scale * gradient[c]
        m = beta1 * first[c] + rest1 * g
        v = beta2 * second[c] + rest2 * g * g
        first[c] = m
        second[c] = v
        parameter[c] -= rate * m / (np.sqrt(v * correction) + epsilon)


@njit(parallel=True, fastmath=_FAST, cache=True)
def _update_rows(
    starts: Array,
    token: Array,
    code: Array,
    code_gradient: Array,
    towards: Array,
    acts: Array,
    place_L: Array,
    extra_encoder: Array,
    extra_bias: Array,
    extra_decoder: Array,
    encoder: Array,
    encoder_first: Array,
    encoder_second: Array,
    bias_L: Array,
    bias_first: Array,
    bias_second: Array,
    decoder: Array,
    decoder_first: Array,
    decoder_second: Array,
    factors: Array,
    edges: Array,
    weight_L: Array,
    squares: Array,
) -> None:
    n_latents, width = encoder.shape
    for block in prange((n_latents + _ROWS_AT_ONCE - 1) // _ROWS_AT_ONCE):
        encoder_row, decoder_row = np.empty(width, acts.dtype), np.empty(width, acts.dtype)
        bias_row = np.empty(1, acts.dtype)
        first = block * _ROWS_AT_ONCE
        for j in range(first, min(first + _ROWS_AT_ONCE, n_latents)):
            bias_row[0] = _row_gradient(
                j, starts, token, code, code_gradient, towards, acts, place_L[j],
                extra_encoder, extra_bias, extra_decoder, encoder_row, decoder_row,
            )  # fmt: skip
            squares[j] = (
                _dot(encoder_row, encoder_row)
                + _dot(decoder_row, decoder_row)
                + bias_row[0] * bias_row[0]
            )
            _adam_row(encoder[j], encoder_first[j], encoder_second[j], encoder_row, factors)
            _adam_row(decoder[j], decoder_first[j], decoder_second[j], decoder_row, factors)
            span = slice(j, j + 1)
            _adam_row(bias_L[span], bias_first[span], bias_second[span], bias_row, factors)
            weight = factors[0] * 0
            for v in range(edges.shape[0] - 1):
                view = decoder[j, edges[v] : edges[v + 1]]
                weight += np.sqrt(_dot(view, view))
            weight_L[j] = weight
