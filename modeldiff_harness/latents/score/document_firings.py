"""Firings of whole documents, grouped by document and latent, once a batch for all readers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.contracts import Codes, DocumentFirings

__all__ = ["document_firings"]


def document_firings(
    codes: Codes, rows_T: NDArray[np.int64], document_T: NDArray[np.int64]
) -> DocumentFirings:
    """Group `codes` of tokens that are corpus tokens `rows_T` in documents `document_T`.

    Tokens of a document must stand together; raises ValueError when they do not.
    """
    from modeldiff_harness.latents.compiled import example_loops as loops

    if document_T.shape[0] and (np.diff(document_T) < 0).any():
        raise ValueError("tokens are not in corpus order")
    token_N = codes.token_N.cpu().numpy()
    latent_N = codes.latent_N.cpu().numpy()
    activation_N = codes.activation_N.cpu().numpy()
    n = token_N.shape[0]
    pair_N = np.empty(n, np.int64)
    document_P, latent_P = np.empty(n, np.int64), np.empty(n, np.int64)
    n_pairs = loops.number_pairs(
        token_N, latent_N, document_T, codes.n_latents, pair_N, document_P, latent_P
    )
    start_P1 = np.zeros(n_pairs + 1, np.int64)
    np.cumsum(np.bincount(pair_N, minlength=n_pairs), out=start_P1[1:])
    row_N, sorted_N = np.empty(n, np.int64), np.empty_like(activation_N)
    mass_P = np.zeros(n_pairs)
    peak_P: NDArray[Any] = np.zeros(n_pairs, activation_N.dtype)
    peak_row_P = np.zeros(n_pairs, np.int64)
    loops.fill_pairs(
        token_N,
        pair_N,
        activation_N,
        rows_T,
        start_P1[:-1].copy(),
        row_N,
        sorted_N,
        mass_P,
        peak_P,
        peak_row_P,
    )
    return DocumentFirings(
        document_P=document_P[:n_pairs].copy(),
        latent_P=latent_P[:n_pairs].copy(),
        start_P1=start_P1,
        row_N=row_N,
        activation_N=sorted_N,
        mass_P=mass_P,
        peak_P=peak_P,
        peak_row_P=peak_row_P,
    )
