"""The step's pieces as Triton programs for a GPU; float32 and float64.

Under TRITON_INTERPRET=1, set before the first import of triton, the same programs run on a CPU,
statement by statement: slow, and what the tests use where there is no GPU.

The constants below are chosen for an H100 (50 MB L2, 228 KB of L1 and shared memory a
multiprocessor); docs/explanation/performance.md counts bytes, registers and expected times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import accumulate
from typing import Any

import torch
import triton
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
    triton_programs,
)
from modeldiff_harness.latents.kernels.reference import adam_

__all__ = [
    "NAME",
    "above",
    "above_rounded",
    "decode_and_pull",
    "gradient_norm",
    "latent_sums",
    "pair_products",
    "rounded_rows",
    "update",
]

NAME = "triton"

_BLOCK_ROWS, _BLOCK_COLUMNS = 8, 512
"""Scores that one program of `above` reads."""
_ROOM_SHARE = 16
"""`above` first makes room for this share of a chunk; more costs it a second reading."""
_LEAST_ROOM = 1 << 14
_STRIP = 64
"""Columns of one decoding strip: those of all latents stay in L2 while every token visits them,
and the rows of one token stay in L1 for their second visit."""
_STRIP_ENTRIES = 32
_ALIGNED = 16
"""Columns that views must begin at multiples of for vector loads."""
_TILE = 1024
"""Columns of one tile of a latent's rows: acts and towards of a batch, so wide, stay in L2."""
_TILE_ENTRIES = 4
_MOST_VIEWS = 8
"""Views of one difference term that fit into one strip."""


def above(pre_TJ: Tensor, weight_J: Tensor, bound: float, *, token: int, latent: int) -> Candidates:
    """Return the entries with h·w ≥ bound > 0; see `StepKernels`."""
    like = weight_J
    found = _compact(pre_TJ, weight_J, like, like, like, bound, token, latent, rounded=False)
    return Candidates(*found)


def above_rounded(
    score_TJ: Tensor,
    bias_J: Tensor,
    slack_T: Tensor,
    norm_J: Tensor,
    weight_J: Tensor,
    bound: float,
    *,
    token: int,
    latent: int,
) -> tuple[Tensor, Tensor]:
    """Return token and latent of the entries with (score + b_j + slack_t·norm_j)·w_j ≥ bound.

    One reading of rounded scores, which no float32 copy follows; see `low_precision`.
    """
    found = _compact(
        score_TJ, weight_J, bias_J, slack_T, norm_J, bound, token, latent, rounded=True
    )
    return found[0], found[1]


def rounded_rows(rows_JC: Tensor, bias_J: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows in bfloat16 and ‖(row, bias)‖ of each, in one reading."""
    low_JC = torch.empty_like(rows_JC, dtype=torch.bfloat16)
    norm_J = torch.empty_like(bias_J)
    n_rows, n_columns = rows_JC.shape
    width = _power_of_two(n_columns, _TILE)
    _launch(
        triton_programs.round_row, (n_rows,), rows_JC, bias_J, low_JC, norm_J, n_columns,
        WIDTH=width,
    )  # fmt: skip
    return low_JC, norm_J


def pair_products(left_N: Tensor, right_N: Tensor, left_TC: Tensor, right_LC: Tensor) -> Tensor:
    """Return ⟨left[left_N], right[right_N]⟩ of every listed pair, (N,)."""
    out_N = left_TC.new_empty(left_N.shape[0])
    n_columns = int(left_TC.shape[1])
    width = _power_of_two(n_columns, _TILE)
    _launch(
        triton_programs.products, (out_N.shape[0],),
        left_N, right_N, left_TC, right_LC, out_N, n_columns, WIDTH=width,
    )  # fmt: skip
    return out_N


def decode_and_pull(
    support: Support,
    decoder_LC: Tensor,
    bias_C: Tensor,
    target_TC: Tensor,
    layout: LossLayout,
) -> Decoded:
    """Decode, compare, pull back, strip of columns by strip; see `StepKernels`.

    Raises ValueError when the views of a difference term overlap or differ in width.
    """
    n_tokens, n_columns = (int(n) for n in target_TC.shape)
    n_entries = int(support.code_N.shape[0])
    residual_TC, towards_TC = torch.empty_like(target_TC), torch.empty_like(target_TC)
    groups = list(_groups(layout, n_columns))
    strips = [triton.cdiv(width, _strip_width(firsts, width)) for firsts, width, _ in groups]
    pulled_KN = target_TC.new_empty((sum(strips), n_entries))
    square_KT = target_TC.new_empty((sum(strips), n_tokens))
    gap_KT = target_TC.new_zeros((sum(strips) if layout.pairs else 0, n_tokens))
    pair_scale_1 = target_TC.new_full((1,), layout.pair_scale)
    for i, (firsts, width, near) in enumerate(groups):
        views = triton.next_power_of_2(len(firsts))
        first_G, near_GG = bias_C, bias_C  # not read without neighbours
        if near:
            padding = [-_ALIGNED] * (views - len(firsts))
            first_G = torch.tensor([*firsts, *padding], device=target_TC.device)
            near_GG = target_TC.new_tensor(
                [[near.get((a, b), 0) for b in range(views)] for a in range(views)]
            )
        _launch(
            triton_programs.decode_strip, (n_tokens, strips[i]),
            support.token_starts, support.latent_N, support.code_N, decoder_LC, bias_C, target_TC,
            layout.inverse_width_C, layout.towards_scale_C, first_G, near_GG, pair_scale_1,
            residual_TC, towards_TC, pulled_KN, square_KT, gap_KT,
            n_tokens, n_entries, n_columns, firsts[0], width, sum(strips[:i]),
            VIEWS=views, ALIGNED=1 if any(first % _ALIGNED for first in firsts) else _ALIGNED,
            WIDTH=_strip_width(firsts, width), ENTRIES=_STRIP_ENTRIES,
        )  # fmt: skip
    # both sums in one transfer to the host
    sums = torch.stack([square_KT.double().sum(), gap_KT.double().sum()]).tolist()
    return Decoded(
        residual_TC=residual_TC,
        towards_TC=towards_TC,
        code_gradient_N=pulled_KN.sum(dim=0),
        square_sum=sums[0],
        gap_square_sum=sums[1],
    )


def latent_sums(support: Support, coefficient_N: Tensor, rows_TC: Tensor, out_LC: Tensor) -> Tensor:
    """Return Σ_{entries of j} coefficient·rows[token] for every latent j, in `out_LC`."""
    order_N = support.by_latent
    n_columns = int(rows_TC.shape[1])
    width = _power_of_two(n_columns, _TILE)
    _launch(
        triton_programs.sum_rows, (support.n_latents, triton.cdiv(n_columns, width)),
        support.latent_starts, support.token_N[order_N], coefficient_N[order_N],
        rows_TC, out_LC, n_columns, WIDTH=width, ENTRIES=_TILE_ENTRIES,
    )  # fmt: skip
    return out_LC


def gradient_norm(
    support: Support, decoded: Decoded, acts_TC: Tensor, extra: ExtraRows | None
) -> float:
    """Return the joint norm of all four gradients, which are formed tile by tile and let go."""
    n_columns = int(acts_TC.shape[1])
    width = _power_of_two(n_columns, _TILE)
    n_tiles = triton.cdiv(n_columns, width)
    square_KL = acts_TC.new_empty((n_tiles, support.n_latents))
    _launch(
        triton_programs.row_squares, (support.n_latents, n_tiles),
        *_entries(support, decoded, acts_TC), *_extra(extra, support, acts_TC),
        square_KL, support.n_latents, n_columns,
        EXTRA=extra is not None, WIDTH=width, ENTRIES=_TILE_ENTRIES,
    )  # fmt: skip
    return _joint_norm(square_KL, decoded.towards_TC.sum(dim=0))


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
    """Gradient, clip scale, Adam and decoder norms of each tile while its rows are at hand."""
    n_latents, n_columns = support.n_latents, int(acts_TC.shape[1])
    firsts = [0, *accumulate(widths)][:-1]
    tiles = [triton.cdiv(width, _power_of_two(width, _TILE)) for width in widths]
    square_KL = acts_TC.new_empty((sum(tiles), n_latents))
    norm_KL = torch.empty_like(square_KL)
    factors_8 = acts_TC.new_tensor(
        [
            adam.gradient_scale,
            adam.beta1,
            adam.beta2,
            adam.learning_rate * adam.first_correction,
            adam.second_correction,
            adam.epsilon,
            1.0 - adam.beta1,
            1.0 - adam.beta2,
        ]
    )
    entries, extras = _entries(support, decoded, acts_TC), _extra(extra, support, acts_TC)
    first, second = moments.first, moments.second
    for v, (first_column, width) in enumerate(zip(firsts, widths, strict=True)):
        _launch(
            triton_programs.update_rows, (n_latents, tiles[v]), *entries, *extras,
            parameters.encoder_LC, first.encoder_LC, second.encoder_LC,
            parameters.encoder_bias_L, first.encoder_bias_L, second.encoder_bias_L,
            parameters.decoder_LC, first.decoder_LC, second.decoder_LC,
            factors_8, square_KL, norm_KL,
            n_latents, n_columns, first_column, width, sum(tiles[:v]),
            EXTRA=extra is not None, BIAS=v == 0,
            WIDTH=_power_of_two(width, _TILE), ENTRIES=_TILE_ENTRIES,
        )  # fmt: skip
    norms = [tile_KL.sum(dim=0).sqrt_() for tile_KL in torch.split(norm_KL, tiles)]
    torch.sum(torch.stack(norms), dim=0, out=weight_L)
    bias_gradient_C = decoded.towards_TC.sum(dim=0)
    norm = _joint_norm(square_KL, bias_gradient_C)
    adam_(
        parameters.decoder_bias_C,
        bias_gradient_C.mul_(adam.gradient_scale),
        first.decoder_bias_C,
        second.decoder_bias_C,
        adam,
    )
    return norm


def _compact(
    score_TJ: Tensor,
    weight_J: Tensor,
    bias_J: Tensor,
    slack_T: Tensor,
    norm_J: Tensor,
    bound: float,
    token: int,
    latent: int,
    *,
    rounded: bool,
) -> list[Tensor]:
    """Return token, latent, code and value of what reaches the bound; see `compact`."""
    score_TJ = score_TJ.contiguous()
    n_rows, n_columns = (int(n) for n in score_TJ.shape)
    columns = _power_of_two(n_columns, _BLOCK_COLUMNS)
    grid = (triton.cdiv(n_columns, columns), triton.cdiv(n_rows, _BLOCK_ROWS))
    limit_1 = weight_J.new_full((1,), bound)  # a tensor: as an argument it would be float32
    room = max(_LEAST_ROOM, score_TJ.numel() // _ROOM_SHARE)
    while True:
        counter_1 = torch.zeros(1, dtype=torch.int64, device=score_TJ.device)
        numbers = 1 if rounded else room
        outs = [torch.empty(room, dtype=torch.int64, device=score_TJ.device) for _ in range(2)]
        outs += [weight_J.new_empty(numbers) for _ in range(2)]
        _launch(
            triton_programs.compact, grid, score_TJ, weight_J, bias_J, slack_T, norm_J,
            limit_1, counter_1, *outs, n_rows, n_columns, token, latent, room,
            ROUNDED=rounded, ROWS=_BLOCK_ROWS, COLUMNS=columns, num_warps=8,
        )  # fmt: skip
        count = int(counter_1)
        if count <= room:
            return [out[:count].clone() for out in outs]  # the room itself is let go
        room = count


def _groups(
    layout: LossLayout, n_columns: int
) -> Iterator[tuple[list[int], int, dict[tuple[int, int], int]]]:
    """Yield (first columns, width, pairs by place, both ways) of columns that belong together.

    Views joined by pairs form one group; each stretch of the other columns is a group of one.
    """
    joined: list[set[int]] = []
    width_of: dict[int, int] = {}
    for a, b, width in layout.pairs:
        if any(width_of.setdefault(view, width) != width for view in (a, b)):
            raise ValueError("the views of a difference term differ in width")
        touched = [group for group in joined if a in group or b in group]
        joined = [group for group in joined if group not in touched]
        joined.append({a, b}.union(*touched))
    free = 0
    for first in sorted(width_of):
        if first < free:
            raise ValueError("the views of a difference term overlap")
        if first > free:
            yield [free], first - free, {}
        free = first + width_of[first]
    if n_columns > free:
        yield [free], n_columns - free, {}
    for group in joined:
        firsts = sorted(group)
        if len(firsts) > _MOST_VIEWS:
            raise ValueError(f"a difference term joins more than {_MOST_VIEWS} views")
        place = {first: i for i, first in enumerate(firsts)}
        near: dict[tuple[int, int], int] = {}
        for a, b, _ in layout.pairs:
            if a in group:
                for one, other in ((place[a], place[b]), (place[b], place[a])):
                    near[one, other] = near.get((one, other), 0) + 1
        yield firsts, width_of[firsts[0]], near


def _strip_width(firsts: Sequence[int], width: int) -> int:
    return _power_of_two(width, max(1, _STRIP // triton.next_power_of_2(len(firsts))))


def _entries(support: Support, decoded: Decoded, acts_TC: Tensor) -> tuple[Tensor, ...]:
    order_N = support.by_latent
    return (
        support.latent_starts,
        support.token_N[order_N],
        support.code_N[order_N],
        decoded.code_gradient_N[order_N],
        decoded.towards_TC,
        acts_TC,
    )


def _extra(extra: ExtraRows | None, support: Support, acts_TC: Tensor) -> tuple[Tensor, ...]:
    """Return (place of each latent among the extra rows or −1, the rows)."""
    if extra is None:
        return (support.latent_starts, acts_TC, acts_TC, acts_TC)  # not read
    place_L = torch.full_like(support.latent_starts, -1)
    place_L[extra.latent_A] = torch.arange(extra.latent_A.shape[0], device=place_L.device)
    return place_L, extra.encoder_AC, extra.encoder_bias_A, extra.decoder_AC


def _joint_norm(square_KL: Tensor, bias_gradient_C: Tensor) -> float:
    total = square_KL.double().sum() + bias_gradient_C.double().square().sum()
    return math.sqrt(float(total))


def _power_of_two(n: int, most: int) -> int:
    return int(min(most, triton.next_power_of_2(max(1, n))))


def _launch(
    program: Any, grid: tuple[int, ...], first: Tensor, *arguments: Any, **how: Any
) -> None:
    """Run `program` on the device of its first tensor; an empty grid is no work."""
    if 0 in grid:
        return
    with torch.cuda.device(first.device) if first.is_cuda else nullcontext():
        program[grid](first, *arguments, **how)
