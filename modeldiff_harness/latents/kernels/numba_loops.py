"""The loops of the numba backend: what one thread does with one token or one latent.

Every loop runs over tokens or over latents with one owner a row, so a result does not depend on
the number of threads.  Sums may be reassociated; NaN and infinity behave as IEEE says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

__all__ = [
    "adam_row",
    "count",
    "decode_and_pull",
    "gather",
    "latent_sums",
    "products",
    "row_squares",
    "update_rows",
]

_FAST = {"contract", "reassoc", "nsz", "arcp"}
_BLOCK = 16
"""Columns looked at together; most blocks hold nothing that reaches the bound."""
_ROWS_AT_ONCE = 32
"""Latents a thread takes at a time."""

Array = NDArray[Any]


@njit(parallel=True, fastmath=_FAST, cache=True)
def count(pre: Array, weight: Array, bound: Any) -> Array:
    """Return how many entries of each row have h·w ≥ bound, (T,)."""
    n_rows, n_columns = pre.shape
    counts = np.empty(n_rows, np.int64)
    for t in prange(n_rows):
        row = pre[t]
        found = np.int32(0)
        for j in range(n_columns):
            found += np.int32(row[j] * weight[j] >= bound)
        counts[t] = found
    return counts


@njit(parallel=True, fastmath=_FAST, cache=True)
def gather(
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
    """List those entries; `ends` is the running sum of their counts."""
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
def _copy(source: Array, out: Array) -> None:
    """Copy one row; assigning the slice would compile two seconds of shape messages."""
    for c in range(out.shape[0]):
        out[c] = source[c]


@njit(fastmath=_FAST, cache=True)
def _dot(left: Array, right: Array) -> Any:
    total = left[0] * right[0]
    for c in range(1, left.shape[0]):
        total += left[c] * right[c]
    return total


@njit(parallel=True, fastmath=_FAST, cache=True)
def products(left_N: Array, right_N: Array, left: Array, right: Array, out: Array) -> None:
    """Write ⟨left[left_N], right[right_N]⟩ of every pair to `out`."""
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
def decode_and_pull(
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
    """Decode each token, take its errors and their gradient, and pull that back to its codes."""
    n_tokens, width = target.shape
    for t in prange(n_tokens):
        start, end = starts[t], starts[t + 1]
        error, pull, wanted = residual[t], towards[t], target[t]
        _copy(bias, error)
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
def latent_sums(starts: Array, token: Array, coefficient: Array, rows: Array, out: Array) -> None:
    """Write Σ coefficient·rows[token] over the entries of each latent to its row of `out`."""
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
        _copy(extra_encoder[place], encoder_row)
        _copy(extra_decoder[place], decoder_row)
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
def row_squares(
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
    """Write the squared norm of each latent's gradients, which are let go."""
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
def adam_row(
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
def update_rows(
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
    """Move each latent's rows while its gradient is at hand, and take its decoder norms."""
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
            adam_row(encoder[j], encoder_first[j], encoder_second[j], encoder_row, factors)
            adam_row(decoder[j], decoder_first[j], decoder_second[j], decoder_row, factors)
            span = slice(j, j + 1)
            adam_row(bias_L[span], bias_first[span], bias_second[span], bias_row, factors)
            weight = factors[0] * 0
            for v in range(edges.shape[0] - 1):
                view = decoder[j, edges[v] : edges[v + 1]]
                weight += np.sqrt(_dot(view, view))
            weight_L[j] = weight
