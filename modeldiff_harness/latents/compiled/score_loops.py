"""Compiled loops of the score pass: threshold scan, decoding, products, sums.  Import when needed.

Products may be summed in any order (`reassoc`, `contract`): that is what makes them vector code,
and rounds no worse than summing left to right.  Comparisons and counts are exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "count_firings",
    "add_products",
    "add_prompts",
    "add_spreads",
    "decode",
    "level_of",
    "pair_products",
    "scan",
]

Array = NDArray[Any]
_EXACT = {"cache": True, "nogil": True}
_SUMS = {**_EXACT, "fastmath": {"reassoc", "contract", "nsz"}}
_STRIP = 64
"""Entries looked at together; most strips hold nothing active and are passed over."""


@njit(**_EXACT)
def scan(
    pre_TL: Array,
    weight_L: Array,
    bound: Any,
    start: int,
    stop: int,
    active_T: Array,
    latent_N: Array,
    code_N: Array,
    activation_N: Array,
) -> tuple[int, int]:
    """Write the entries of the rows start … stop with h·w > `bound` ≥ 0, row after row.

    `bound` is of the arrays' type.  Returns how many entries there are and how many h > 0.
    """
    n, n_positive, n_latents = 0, 0, pre_TL.shape[1]
    for t in range(start, stop):
        first = n
        for begin in range(0, n_latents, _STRIP):
            # slices that start at 0 need no check for negative indices: this loop is vector code
            h_S, w_S = pre_TL[t, begin : begin + _STRIP], weight_L[begin : begin + _STRIP]
            n_active = 0
            for s in range(h_S.shape[0]):
                n_active += h_S[s] * w_S[s] > bound
                n_positive += h_S[s] > 0
            if n_active == 0:
                continue
            for s in range(h_S.shape[0]):
                activation = h_S[s] * w_S[s]
                if activation > bound:
                    latent_N[n], code_N[n], activation_N[n] = begin + s, h_S[s], activation
                    n += 1
        active_T[t] = n - first
    return n, n_positive


@njit(**_SUMS)
def decode(
    first_T1: Array,
    latent_N: Array,
    code_N: Array,
    decoder_LC: Array,
    bias_C: Array,
    acts_TC: Array,
    start: int,
    stop: int,
    reconstruction_TC: Array,
    error_TC: Array,
) -> None:
    """Write x̂ = Σ_j f_j d_j + b and e = x − x̂ of the tokens start … stop."""
    width = decoder_LC.shape[1]
    for t in range(start, stop):
        row = reconstruction_TC[t]
        for c in range(width):
            row[c] = bias_C[c]
        for n in range(first_T1[t], first_T1[t + 1]):
            f = code_N[n]
            direction = decoder_LC[latent_N[n]]
            for c in range(width):
                row[c] += f * direction[c]
        for c in range(width):
            error_TC[t, c] = acts_TC[t, c] - row[c]


@njit(**_SUMS)
def pair_products(
    first_T1: Array,
    latent_N: Array,
    decoder_LC: Array,
    left_TC: Array,
    right_TC: Array,
    own_P: Array,
    target_P: Array,
    width_P: Array,
    start: int,
    stop: int,
    left_NP: Array,
    right_NP: Array,
) -> None:
    """Write ⟨left, v⟩ and ⟨right, v⟩ of every active entry and pair, in float64.

    Pair p takes v from columns own_P[p] … + width_P[p] of the latent's decoder row and the vectors
    from columns target_P[p] … of the token's rows.
    """
    for t in range(start, stop):
        for n in range(first_T1[t], first_T1[t + 1]):
            row = decoder_LC[latent_N[n]]
            for p in range(own_P.shape[0]):
                own, target, width = own_P[p], target_P[p], width_P[p]
                direction = row[own : own + width]
                left, right = left_TC[t, target : target + width], right_TC[t, target:]
                left_dot = right_dot = left_TC.dtype.type(0)
                for c in range(width):
                    left_dot += left[c] * direction[c]
                    right_dot += right[c] * direction[c]
                left_NP[n, p] = left_dot
                right_NP[n, p] = right_dot


@njit(**_EXACT)
def add_products(
    token_N: Array,
    latent_N: Array,
    code_N: Array,
    block_T: Array,
    left_NP: Array,
    right_NP: Array,
    s1_BL: Array,
    s2_BL: Array,
    p_BLP: Array,
    q_BLP: Array,
) -> None:
    """Add f, f², f⟨left, v⟩ and f⟨right, v⟩ to the sums of each entry's block and latent."""
    for n in range(token_N.shape[0]):
        b, j, f = block_T[token_N[n]], latent_N[n], np.float64(code_N[n])
        s1_BL[b, j] += f
        s2_BL[b, j] += f * f
        for p in range(left_NP.shape[1]):
            p_BLP[b, j, p] += f * left_NP[n, p]
            q_BLP[b, j, p] += f * right_NP[n, p]


@njit(**_SUMS)
def add_spreads(
    acts_TC: Array,
    error_TC: Array,
    first_S: Array,
    second_S: Array,
    width_S: Array,
    start: int,
    stop: int,
    sum_SC: Array,
    square_S: Array,
    error_S: Array,
) -> None:
    """Add Σx, Σ‖x‖² and Σ‖e‖² of the tokens start … stop, in float64, for every span s.

    A span is the columns first_S[s] … + width_S[s]; where second_S[s] ≥ 0 it is those columns less
    the ones from second_S[s] on: the difference between two models.
    """
    for s in range(first_S.shape[0]):
        first, second, width = first_S[s], second_S[s], width_S[s]
        square, missed = 0.0, 0.0
        for t in range(start, stop):
            total = sum_SC[s]
            if second < 0:
                for c in range(width):
                    x = np.float64(acts_TC[t, first + c])
                    e = np.float64(error_TC[t, first + c])
                    total[c] += x
                    square += x * x
                    missed += e * e
            else:
                for c in range(width):
                    x = np.float64(acts_TC[t, first + c]) - np.float64(acts_TC[t, second + c])
                    e = np.float64(error_TC[t, first + c]) - np.float64(error_TC[t, second + c])
                    total[c] += x
                    square += x * x
                    missed += e * e
        square_S[s] += square
        error_S[s] += missed


@njit(**_EXACT)
def level_of(mean: float, unit: float, n_levels: int) -> int:
    """Return 1 below 2·unit, then one more every doubling, at most n_levels − 1."""
    level = 1 + int(np.floor(np.log2(max(mean / unit, 1.0))))
    return min(level, n_levels - 1)


@njit(**_EXACT)
def count_firings(
    latent_P: Array,
    document_P: Array,
    start_P1: Array,
    mass_P: Array,
    group_N: Array,
    n_tokens_N: Array,
    is_prompt_N: Array,
    unit: float,
    tokens_LG: Array,
    documents_LG: Array,
    mass_LG: Array,
    prompts_LG: Array,
    levels_LGH: Array,
) -> None:
    """Count every pair in its latent's and group's cell; prompts where the document is one alone.

    The level of a prompt is that of its mean activation Σ f·w / tokens, see `level_of`.
    """
    for p in range(latent_P.shape[0]):
        j, document = latent_P[p], document_P[p]
        g = group_N[document]
        tokens_LG[j, g] += start_P1[p + 1] - start_P1[p]
        documents_LG[j, g] += 1
        mass_LG[j, g] += mass_P[p]
        if is_prompt_N[document]:
            prompts_LG[j, g] += 1
            level = level_of(mass_P[p] / n_tokens_N[document], unit, levels_LGH.shape[2])
            levels_LGH[j, g, level] += 1


@njit(**_EXACT)
def add_prompts(
    latent_P: Array,
    group_P: Array,
    mean_P: Array,
    unit: float,
    prompts_LG: Array,
    levels_LGH: Array,
) -> None:
    """Count prompts that several documents make up, by the mean activation over all of them."""
    for p in range(latent_P.shape[0]):
        j, g = latent_P[p], group_P[p]
        prompts_LG[j, g] += 1
        levels_LGH[j, g, level_of(mean_P[p], unit, levels_LGH.shape[2])] += 1
