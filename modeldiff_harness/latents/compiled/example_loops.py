"""Compiled loops over firings: grouping by document, shelves of windows, choosing among them.

Import when needed.  Everything is exact and in a fixed order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["add_mass", "choose_windows", "fill_pairs", "number_pairs", "offer", "pseudo_random"]

Array = NDArray[Any]
_EXACT = {"cache": True, "nogil": True}


@njit(**_EXACT)
def number_pairs(
    token_N: Array,
    latent_N: Array,
    document_T: Array,
    n_latents: int,
    pair_N: Array,
    document_P: Array,
    latent_P: Array,
) -> int:
    """Number the distinct (document, latent) pairs in order of first firing; return how many."""
    pair_L = np.full(n_latents, -1, np.int64)
    n_pairs, first = 0, 0
    document = -1
    for n in range(token_N.shape[0]):
        if document_T[token_N[n]] != document:
            document = document_T[token_N[n]]
            first = n_pairs
        j = latent_N[n]
        if pair_L[j] < first:  # its last pair belongs to an earlier document
            pair_L[j] = n_pairs
            document_P[n_pairs] = document
            latent_P[n_pairs] = j
            n_pairs += 1
        pair_N[n] = pair_L[j]
    return n_pairs


@njit(**_EXACT)
def fill_pairs(
    token_N: Array,
    pair_N: Array,
    activation_N: Array,
    rows_T: Array,
    place_P: Array,
    row_N: Array,
    sorted_N: Array,
    mass_P: Array,
    peak_P: Array,
    peak_row_P: Array,
) -> None:
    """Sort the firings by pair; sum each pair and find its first peak.  `place_P` is used up."""
    for n in range(token_N.shape[0]):
        p, activation, row = pair_N[n], activation_N[n], rows_T[token_N[n]]
        place = place_P[p]
        place_P[p] = place + 1
        row_N[place] = row
        sorted_N[place] = activation
        mass_P[p] += activation
        if activation > peak_P[p]:
            peak_P[p] = activation
            peak_row_P[p] = row


@njit(**_EXACT)
def add_mass(
    latent_P: Array,
    start_P1: Array,
    row_N: Array,
    activation_N: Array,
    mass_P: Array,
    is_special_T: Array,
    mass_L: Array,
    special_mass_L: Array,
) -> None:
    """Add each pair's Σ f·w to its latent, in all and over the special tokens alone."""
    for p in range(latent_P.shape[0]):
        special = 0.0
        for n in range(start_P1[p], start_P1[p + 1]):
            if is_special_T[row_N[n]]:
                special += activation_N[n]
        mass_L[latent_P[p]] += mass_P[p]
        special_mass_L[latent_P[p]] += special


@njit(**_EXACT)
def pseudo_random(latent: int, document: int) -> float:
    """Return a number in [0, 1) that depends on (latent, document) only (SplitMix64's finaliser).

    Keeping the largest few is a uniform sample of a latent's documents in any order of arrival.
    """
    z = np.uint64(latent) * np.uint64(0x9E3779B97F4A7C15)
    z += (np.uint64(document) + np.uint64(1)) * np.uint64(0xD1B54A32D192ED03)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return np.float64(z >> np.uint64(11)) / 9007199254740992.0


@njit(**_EXACT)
def _worse(priority: float, document: int, other_priority: float, other_document: int) -> bool:
    """Say whether a window gives way to another: lower priority; at equal ones, later document."""
    return priority < other_priority or (priority == other_priority and document > other_document)


@njit(**_EXACT)
def _sift_down(priority_K: Array, document_K: Array, slot_K: Array, size: int, place: int) -> None:
    """Restore the heap (worst window first) below `place`."""
    priority, document, slot = priority_K[place], document_K[place], slot_K[place]
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        right = child + 1
        if right < size and _worse(
            priority_K[right], document_K[right], priority_K[child], document_K[child]
        ):
            child = right
        if not _worse(priority_K[child], document_K[child], priority, document):
            break
        priority_K[place] = priority_K[child]
        document_K[place] = document_K[child]
        slot_K[place] = slot_K[child]
        place = child
    priority_K[place], document_K[place], slot_K[place] = priority, document, slot


@njit(**_EXACT)
def _sift_up(priority_K: Array, document_K: Array, slot_K: Array, place: int) -> None:
    """Restore the heap above `place`."""
    priority, document, slot = priority_K[place], document_K[place], slot_K[place]
    while place > 0:
        parent = (place - 1) // 2
        if not _worse(priority, document, priority_K[parent], document_K[parent]):
            break
        priority_K[place] = priority_K[parent]
        document_K[place] = document_K[parent]
        slot_K[place] = slot_K[parent]
        place = parent
    priority_K[place], document_K[place], slot_K[place] = priority, document, slot


@njit(**_EXACT)
def offer(
    document_P: Array,
    latent_P: Array,
    start_P1: Array,
    row_N: Array,
    activation_N: Array,
    peak_P: Array,
    peak_row_P: Array,
    offsets_N1: Array,
    tokens_before: int,
    at_random: bool,
    size_L: Array,
    priority_LK: Array,
    document_LK: Array,
    slot_LK: Array,
    peak_LK: Array,
    start_LK: Array,
    window_LKW: Array,
) -> None:
    """Offer the window around every pair's peak to its latent's shelf of K windows.

    A shelf is a heap by priority — the peak, or with `at_random` a pseudo-random number — of which
    `slot_LK` tells where peak, start and window lie.  Only windows that enter are cut out.
    """
    capacity, width = window_LKW.shape[1], window_LKW.shape[2]
    if capacity == 0:
        return
    for p in range(document_P.shape[0]):
        j, document = latent_P[p], document_P[p]
        priority = pseudo_random(j, document) if at_random else np.float64(peak_P[p])
        size = size_L[j]
        priority_K, document_K, slot_K = priority_LK[j], document_LK[j], slot_LK[j]
        if size < capacity:
            slot, place = size, size
            size_L[j] = size + 1
        else:
            if not _worse(priority_K[0], document_K[0], priority, document):
                continue
            slot, place = slot_K[0], 0
        priority_K[place], document_K[place], slot_K[place] = priority, document, slot
        if size < capacity:
            _sift_up(priority_K, document_K, slot_K, place)
        else:
            _sift_down(priority_K, document_K, slot_K, capacity, place)
        start = max(peak_row_P[p] - tokens_before, offsets_N1[document])
        peak_LK[j, slot] = peak_P[p]
        start_LK[j, slot] = start
        window_W = window_LKW[j, slot]
        window_W[:] = 0
        for n in range(start_P1[p], start_P1[p + 1]):
            place = row_N[n] - start
            if 0 <= place < width:
                window_W[place] = activation_N[n]


@njit(**_EXACT)
def _ordered(priority_K: Array, document_K: Array, size: int, order_K: Array) -> None:
    """Write the places of the `size` windows, best first."""
    for n in range(size):
        place = n
        while place > 0 and _worse(
            priority_K[order_K[place - 1]],
            document_K[order_K[place - 1]],
            priority_K[n],
            document_K[n],
        ):
            order_K[place] = order_K[place - 1]
            place -= 1
        order_K[place] = n


@njit(**_EXACT)
def choose_windows(
    size_L: Array,
    priority_LK: Array,
    document_LK: Array,
    slot_LK: Array,
    sample_size_L: Array,
    sample_document_LK: Array,
    sample_slot_LK: Array,
    sample_peak_LK: Array,
    prompt_N: Array,
    n_top: int,
    n_quantile: int,
    start: int,
    stop: int,
    n_top_L: Array,
    top_slot_LE: Array,
    n_quantile_L: Array,
    quantile_slot_LE: Array,
) -> None:
    """Write which windows the latents start … stop show.

    Of the first shelf the `n_top` best, those of a prompt not yet shown before the others.  Of the
    second, without documents already chosen, `n_quantile` evenly spaced in the order of peaks.
    """
    capacity, sample_capacity = priority_LK.shape[1], sample_document_LK.shape[1]
    order_K = np.empty(max(capacity, sample_capacity), np.int64)
    chosen_K = np.empty(capacity, np.bool_)
    rest_K = np.empty(sample_capacity, np.int64)
    peak_K = np.empty(sample_capacity, np.float64)
    document_K = np.empty(sample_capacity, np.int64)
    for j in range(start, stop):
        size = size_L[j]
        _ordered(priority_LK[j], document_LK[j], size, order_K)
        n = 0
        for i in range(size):
            prompt = prompt_N[document_LK[j, order_K[i]]]
            fresh = True
            for before in range(i):
                fresh = fresh and prompt_N[document_LK[j, order_K[before]]] != prompt
            chosen_K[i] = fresh and n < n_top
            n += chosen_K[i]
        for i in range(size):
            if not chosen_K[i] and n < n_top:
                chosen_K[i] = True
                n += 1
        n = 0
        for i in range(size):
            if chosen_K[i]:
                top_slot_LE[j, n] = slot_LK[j, order_K[i]]
                n += 1
        n_top_L[j] = n
        left = 0
        for i in range(sample_size_L[j]):
            free = True
            for c in range(size):
                if chosen_K[c]:
                    free = free and document_LK[j, order_K[c]] != sample_document_LK[j, i]
            if free:
                rest_K[left] = sample_slot_LK[j, i]
                peak_K[left] = sample_peak_LK[j, rest_K[left]]
                document_K[left] = sample_document_LK[j, i]
                left += 1
        _ordered(peak_K, document_K, left, order_K)
        wanted = min(left, n_quantile)
        for i in range(wanted):
            place = i if left <= n_quantile else int((i + 0.5) * left / n_quantile)
            quantile_slot_LE[j, i] = rest_K[order_K[place]]
        n_quantile_L[j] = wanted
