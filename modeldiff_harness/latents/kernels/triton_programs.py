"""Device code of the triton backend: what one program of each launch does.

Letters beyond those of the package: E entries read at a time, W columns of one tile, G views of a
difference term side by side, R rows and S columns of one block of scores.  Every output element
has one owner, and entries are added in their listed order: no result depends on scheduling.
Rows are counted in 64 bits: L × C exceeds 2³¹ at the paper's size.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = [
    "compact",
    "decode_strip",
    "products",
    "round_row",
    "row_squares",
    "sum_rows",
    "update_rows",
]


@triton.jit(do_not_specialize=["token", "latent", "capacity"])
def compact(
    score_TJ, weight_J, bias_J, slack_T, norm_J, limit_1, counter_1,
    token_N, latent_N, code_N, value_N,
    n_rows, n_columns, token, latent, capacity,
    ROUNDED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Append the entries of one block that reach the limit; count them even without room.

    With ROUNDED the score lacks the bias, and up to slack·norm may be missing from it.
    """
    row_R = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column_S = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    is_row_R, is_column_S = row_R < n_rows, column_S < n_columns
    inside_RS = is_row_R[:, None] & is_column_S[None, :]
    place_RS = row_R[:, None] * n_columns + column_S[None, :]
    weight_S = tl.load(weight_J + column_S, mask=is_column_S, other=0.0)
    score_RS = tl.load(
        score_TJ + place_RS, mask=inside_RS, other=0.0, eviction_policy="evict_first"
    ).to(weight_J.dtype.element_ty)
    if ROUNDED:
        bias_S = tl.load(bias_J + column_S, mask=is_column_S, other=0.0)
        norm_S = tl.load(norm_J + column_S, mask=is_column_S, other=0.0)
        slack_R = tl.load(slack_T + row_R, mask=is_row_R, other=0.0)
        score_RS += bias_S[None, :] + slack_R[:, None] * norm_S[None, :]
    value_RS = score_RS * weight_S[None, :]
    reached_RS = (value_RS >= tl.load(limit_1)) & inside_RS
    n_reached = tl.sum(reached_RS.to(tl.int32))
    if n_reached > 0:
        first = tl.atomic_add(counter_1, n_reached.to(tl.int64))
        reached_N = tl.reshape(reached_RS, [ROWS * COLUMNS])
        # 32-bit places within the block: 64-bit ones would not fit into the registers
        place_N = tl.cumsum(reached_N.to(tl.int32), 0) - 1
        keep_N = reached_N & (place_N < capacity - first)
        flat_N = tl.arange(0, ROWS * COLUMNS)
        found_token_N = (flat_N // COLUMNS).to(tl.int64) + (token + tl.program_id(1) * ROWS)
        found_latent_N = (flat_N % COLUMNS).to(tl.int64) + (latent + tl.program_id(0) * COLUMNS)
        tl.store(token_N + first + place_N, found_token_N, mask=keep_N)
        tl.store(latent_N + first + place_N, found_latent_N, mask=keep_N)
        if not ROUNDED:
            tl.store(code_N + first + place_N, tl.reshape(score_RS, [ROWS * COLUMNS]), mask=keep_N)
            tl.store(value_N + first + place_N, tl.reshape(value_RS, [ROWS * COLUMNS]), mask=keep_N)


@triton.jit
def round_row(rows_JC, bias_J, low_JC, norm_J, n_columns, WIDTH: tl.constexpr):
    """Round one row to the type of `low_JC`, and give the norm of the row with its bias."""
    j = tl.program_id(0).to(tl.int64)
    squares_W = tl.zeros([WIDTH], norm_J.dtype.element_ty)
    for start in range(0, n_columns, WIDTH):
        column_W = start + tl.arange(0, WIDTH)
        inside_W = column_W < n_columns
        at_W = j * n_columns + column_W
        row_W = tl.load(rows_JC + at_W, mask=inside_W, other=0.0, eviction_policy="evict_first")
        tl.store(low_JC + at_W, row_W.to(low_JC.dtype.element_ty), mask=inside_W)
        squares_W += row_W * row_W
    bias = tl.load(bias_J + j)
    tl.store(norm_J + j, tl.sqrt(tl.sum(squares_W) + bias * bias))


@triton.jit
def products(left_N, right_N, left_TC, right_LC, out_N, n_columns, WIDTH: tl.constexpr):
    """One inner product of two rows."""
    n = tl.program_id(0).to(tl.int64)
    left = tl.load(left_N + n) * n_columns
    right = tl.load(right_N + n) * n_columns
    sums_W = tl.zeros([WIDTH], out_N.dtype.element_ty)
    for start in range(0, n_columns, WIDTH):
        column_W = start + tl.arange(0, WIDTH)
        inside_W = column_W < n_columns
        left_W = tl.load(left_TC + left + column_W, mask=inside_W, other=0.0)
        right_W = tl.load(right_LC + right + column_W, mask=inside_W, other=0.0)
        sums_W += left_W * right_W
    tl.store(out_N + n, tl.sum(sums_W))


@triton.jit
def decode_strip(
    starts, latent_N, code_N, decoder_LC, bias_C, target_TC, inverse_width_C, scale_C,
    first_G, near_GG, pair_scale_1,
    residual_TC, towards_TC, pulled_KN, square_KT, gap_KT,
    n_tokens, n_entries, n_columns, first_column, width, first_strip,
    VIEWS: tl.constexpr, ALIGNED: tl.constexpr, WIDTH: tl.constexpr, ENTRIES: tl.constexpr,
):  # fmt: skip
    """Decode one token's strip, form residual and gradient there, pull it back to the codes.

    A strip is WIDTH columns of each of VIEWS views whose differences enter the loss (first columns
    in `first_G`, multiples of ALIGNED, negative for padding), or of one stretch that begins at
    `first_column`; `width` is that of a view or of the stretch.  It holds all columns that its
    gradient needs, so the decoder rows are read again while they are in a cache.  Partial sums of
    strip K are added up by the caller.
    """
    token = tl.program_id(0).to(tl.int64)
    strip = tl.program_id(1)
    lane_W = tl.arange(0, VIEWS * WIDTH)
    place_W = strip * WIDTH + lane_W % WIDTH
    if VIEWS > 1:
        view_first_W = tl.load(first_G + lane_W // WIDTH)
        # said aloud, or loads would not be vectorised
        view_first_W = tl.max_constancy(tl.multiple_of(view_first_W, ALIGNED), WIDTH)
        column_W = view_first_W + place_W
        inside_W = (place_W < width) & (view_first_W >= 0)
    else:
        column_W = first_column + place_W
        inside_W = place_W < width
    start, end = tl.load(starts + token), tl.load(starts + token + 1)
    entry_E = tl.arange(0, ENTRIES)
    sums_EW = tl.zeros([ENTRIES, VIEWS * WIDTH], code_N.dtype.element_ty)
    for first in range(start, end, ENTRIES):
        n_E = first + entry_E
        code_E = tl.load(code_N + n_E, mask=n_E < end, other=0.0)
        latent_E = tl.load(latent_N + n_E, mask=n_E < end, other=0)
        live_EW = (n_E < end)[:, None] & inside_W[None, :]
        at_EW = latent_E[:, None] * n_columns + column_W[None, :]
        sums_EW += code_E[:, None] * tl.load(decoder_LC + at_EW, mask=live_EW, other=0.0)
    decoded_W = tl.sum(sums_EW, 0) + tl.load(bias_C + column_W, mask=inside_W, other=0.0)
    at_W = token * n_columns + column_W
    error_W = tl.load(target_TC + at_W, mask=inside_W, other=0.0) - decoded_W
    inverse_W = tl.load(inverse_width_C + column_W, mask=inside_W, other=0.0)
    towards_W = error_W * tl.load(scale_C + column_W, mask=inside_W, other=0.0)
    out = (first_strip + strip).to(tl.int64)
    tl.store(square_KT + out * n_tokens + token, tl.sum(error_W * error_W * inverse_W))
    if VIEWS > 1:
        error_GW = tl.reshape(error_W, [VIEWS, WIDTH])
        view_G = tl.arange(0, VIEWS)
        near_GG1 = tl.load(near_GG + view_G[:, None] * VIEWS + view_G[None, :])[:, :, None]
        gap_GGW = error_GW[:, None, :] - error_GW[None, :, :]
        away_GW = tl.sum(near_GG1 * gap_GGW, axis=1)
        towards_W -= tl.load(pair_scale_1) * tl.reshape(away_GW, [VIEWS * WIDTH])
        # every pair stands in the square array twice
        gaps = 0.5 * tl.sum(near_GG1 * gap_GGW * gap_GGW)
        tl.store(gap_KT + out * n_tokens + token, gaps)
    tl.store(residual_TC + at_W, error_W, mask=inside_W)
    tl.store(towards_TC + at_W, towards_W, mask=inside_W)
    for first in range(start, end, ENTRIES):
        n_E = first + entry_E
        latent_E = tl.load(latent_N + n_E, mask=n_E < end, other=0)
        live_EW = (n_E < end)[:, None] & inside_W[None, :]
        at_EW = latent_E[:, None] * n_columns + column_W[None, :]
        rows_EW = tl.load(decoder_LC + at_EW, mask=live_EW, other=0.0)
        pulled_E = tl.sum(rows_EW * towards_W[None, :], 1)
        tl.store(pulled_KN + out * n_entries + n_E, pulled_E, mask=n_E < end)


@triton.jit
def _gathered(
    start, end, token_N, coefficient_N, rows_TC, n_columns, column_W, inside_W,
    WIDTH: tl.constexpr, ENTRIES: tl.constexpr,
):  # fmt: skip
    """Return Σ coefficient·rows[token] over entries [start, end), a tile of columns."""
    sum_W = tl.zeros([WIDTH], coefficient_N.dtype.element_ty)
    for first in range(start, end, ENTRIES):
        n_E = first + tl.arange(0, ENTRIES)
        coefficient_E = tl.load(coefficient_N + n_E, mask=n_E < end, other=0.0)
        token_E = tl.load(token_N + n_E, mask=n_E < end, other=0)
        live_EW = (n_E < end)[:, None] & inside_W[None, :]
        at_EW = token_E[:, None] * n_columns + column_W[None, :]
        rows_EW = tl.load(rows_TC + at_EW, mask=live_EW, other=0.0)
        sum_W += tl.sum(coefficient_E[:, None] * rows_EW, 0)
    return sum_W


@triton.jit
def _total(start, end, coefficient_N, ENTRIES: tl.constexpr):
    """Return Σ coefficient over entries [start, end)."""
    sum_E = tl.zeros([ENTRIES], coefficient_N.dtype.element_ty)
    for first in range(start, end, ENTRIES):
        n_E = first + tl.arange(0, ENTRIES)
        sum_E += tl.load(coefficient_N + n_E, mask=n_E < end, other=0.0)
    return tl.sum(sum_E)


@triton.jit
def _extra_row(place, extra_AC, n_columns, column_W, inside_W):
    """Return a tile of the extra row at `place`, zeros where there is none (−1)."""
    return tl.load(extra_AC + place * n_columns + column_W, mask=inside_W & (place >= 0), other=0.0)


@triton.jit
def _moved(parameter, first, second, at, inside, gradient, factors_8):
    """Move parameter and moments along `gradient`; return the new parameter.

    `factors` = clip scale, β₁, β₂, η/(1 − β₁ᵗ), 1/(1 − β₂ᵗ), ε, 1 − β₁, 1 − β₂.
    """
    scaled = gradient * tl.load(factors_8)
    m = tl.load(first + at, mask=inside, other=0.0, eviction_policy="evict_first")
    v = tl.load(second + at, mask=inside, other=0.0, eviction_policy="evict_first")
    p = tl.load(parameter + at, mask=inside, other=0.0, eviction_policy="evict_first")
    m = tl.load(factors_8 + 1) * m + tl.load(factors_8 + 6) * scaled
    v = tl.load(factors_8 + 2) * v + tl.load(factors_8 + 7) * scaled * scaled
    size = tl.sqrt(v * tl.load(factors_8 + 4)) + tl.load(factors_8 + 5)
    p -= tl.load(factors_8 + 3) * m / size
    tl.store(first + at, m, mask=inside, eviction_policy="evict_first")
    tl.store(second + at, v, mask=inside, eviction_policy="evict_first")
    tl.store(parameter + at, p, mask=inside, eviction_policy="evict_first")
    return p


@triton.jit
def sum_rows(
    starts, token_N, coefficient_N, rows_TC, out_LC, n_columns,
    WIDTH: tl.constexpr, ENTRIES: tl.constexpr,
):  # fmt: skip
    """Write one tile of one latent's sum."""
    j = tl.program_id(0).to(tl.int64)
    column_W = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside_W = column_W < n_columns
    start, end = tl.load(starts + j), tl.load(starts + j + 1)
    sum_W = _gathered(
        start, end, token_N, coefficient_N, rows_TC, n_columns, column_W, inside_W, WIDTH, ENTRIES
    )
    tl.store(out_LC + j * n_columns + column_W, sum_W, mask=inside_W)


@triton.jit
def row_squares(
    starts, token_N, code_N, pulled_N, towards_TC, acts_TC,
    place_L, extra_encoder_AC, extra_bias_A, extra_decoder_AC,
    square_KL, n_latents, n_columns,
    EXTRA: tl.constexpr, WIDTH: tl.constexpr, ENTRIES: tl.constexpr,
):  # fmt: skip
    """Write the squared norm of one tile of one latent's gradient rows, tile 0 with the bias."""
    j = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1)
    column_W = tile * WIDTH + tl.arange(0, WIDTH)
    inside_W = column_W < n_columns
    start, end = tl.load(starts + j), tl.load(starts + j + 1)
    encoder_W = _gathered(
        start, end, token_N, pulled_N, acts_TC, n_columns, column_W, inside_W, WIDTH, ENTRIES
    )
    decoder_W = _gathered(
        start, end, token_N, code_N, towards_TC, n_columns, column_W, inside_W, WIDTH, ENTRIES
    )
    if EXTRA:
        place = tl.load(place_L + j)
        encoder_W += _extra_row(place, extra_encoder_AC, n_columns, column_W, inside_W)
        decoder_W += _extra_row(place, extra_decoder_AC, n_columns, column_W, inside_W)
    squares = tl.sum(encoder_W * encoder_W) + tl.sum(decoder_W * decoder_W)
    if tile == 0:
        bias = _total(start, end, pulled_N, ENTRIES)
        if EXTRA:
            place = tl.load(place_L + j)
            bias += tl.load(extra_bias_A + place, mask=place >= 0, other=0.0)
        squares += bias * bias
    tl.store(square_KL + tile.to(tl.int64) * n_latents + j, squares)


@triton.jit
def update_rows(
    starts, token_N, code_N, pulled_N, towards_TC, acts_TC,
    place_L, extra_encoder_AC, extra_bias_A, extra_decoder_AC,
    encoder_LC, encoder_first_LC, encoder_second_LC,
    bias_L, bias_first_L, bias_second_L,
    decoder_LC, decoder_first_LC, decoder_second_LC,
    factors_8, square_KL, norm_KL,
    n_latents, n_columns, first_column, width, first_tile,
    EXTRA: tl.constexpr, BIAS: tl.constexpr, WIDTH: tl.constexpr, ENTRIES: tl.constexpr,
):  # fmt: skip
    """Gradient, clip scale and Adam of one tile of one latent's rows, within one view.

    Gives the tile's squared gradient norm and the squared norm of its new decoder.  With BIAS the
    first tile moves the encoder bias too.
    """
    j = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1)
    place_W = tile * WIDTH + tl.arange(0, WIDTH)
    column_W, inside_W = first_column + place_W, place_W < width
    at_W = j * n_columns + column_W
    start, end = tl.load(starts + j), tl.load(starts + j + 1)
    gradient_W = _gathered(
        start, end, token_N, pulled_N, acts_TC, n_columns, column_W, inside_W, WIDTH, ENTRIES
    )
    if EXTRA:
        place = tl.load(place_L + j)
        gradient_W += _extra_row(place, extra_encoder_AC, n_columns, column_W, inside_W)
    squares = tl.sum(gradient_W * gradient_W)
    _moved(encoder_LC, encoder_first_LC, encoder_second_LC, at_W, inside_W, gradient_W, factors_8)
    gradient_W = _gathered(
        start, end, token_N, code_N, towards_TC, n_columns, column_W, inside_W, WIDTH, ENTRIES
    )
    if EXTRA:
        place = tl.load(place_L + j)
        gradient_W += _extra_row(place, extra_decoder_AC, n_columns, column_W, inside_W)
    squares += tl.sum(gradient_W * gradient_W)
    decoder_W = _moved(
        decoder_LC, decoder_first_LC, decoder_second_LC, at_W, inside_W, gradient_W, factors_8
    )
    out = (first_tile + tile).to(tl.int64) * n_latents + j
    tl.store(norm_KL + out, tl.sum(decoder_W * decoder_W))
    if BIAS:  # noqa: SIM102  (one condition is the compiler's, the other the program's)
        if tile == 0:
            bias = _total(start, end, pulled_N, ENTRIES)
            if EXTRA:
                place = tl.load(place_L + j)
                bias += tl.load(extra_bias_A + place, mask=place >= 0, other=0.0)
            squares += bias * bias
            _moved(bias_L, bias_first_L, bias_second_L, j, True, bias, factors_8)
    tl.store(square_KL + out, squares)
