"""Δnorm from the decoders alone: what a dictionary says before any activation is seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import TrainedDictionary

__all__ = ["relative_norms"]


def relative_norms(
    dictionary: TrainedDictionary, baseline: str, candidate: str
) -> NDArray[np.float64]:
    """Return Δnorm = ½((‖d^c‖ − ‖d^b‖)/max(‖d^c‖, ‖d^b‖) + 1) of every latent with a decoder.

    0: only the baseline's, ½: shared, 1: only the candidate's.  Latents whose decoders are zero in
    both are left out.  `baseline` and `candidate` name views of the dictionary.
    """
    norm_L = {
        view.model: np.linalg.norm(decoder.astype(np.float64), axis=1)
        for view, decoder in zip(dictionary.views, dictionary.decoders, strict=True)
    }
    larger_L = np.maximum(norm_L[baseline], norm_L[candidate])
    alive_L = larger_L > 0
    difference_L = (norm_L[candidate] - norm_L[baseline])[alive_L]
    delta_L: NDArray[np.float64] = 0.5 * (difference_L / larger_L[alive_L] + 1)
    return delta_L
