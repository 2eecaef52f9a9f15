"""Many comparisons at once: false discovery rate, family-wise error, simultaneous intervals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import (
    Floats,
    as_finite_vector,
    check_confidence,
    critical_value,
)


def benjamini_hochberg(p_values: npt.ArrayLike) -> Floats:
    """q-values (M,) that control the false discovery rate (Benjamini and Hochberg 1995).

    Raises `UsageError` for values outside [0, 1]; leave undetermined comparisons out.
    """
    p = _probabilities(p_values)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty_like(p)
    q[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return np.minimum(q, 1.0)


def holm(p_values: npt.ArrayLike) -> Floats:
    """Adjusted p (M,) that control the family-wise error (Holm 1979).

    Raises `UsageError` for values outside [0, 1]; leave undetermined comparisons out.
    """
    p = _probabilities(p_values)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(scaled)
    return np.minimum(adjusted, 1.0)


def simultaneous_multiplier(
    n_comparisons: int,
    confidence: float = 0.95,
    df: float | None = None,
) -> float:
    """How many standard errors make `n_comparisons` intervals cover together with `confidence`.

    Bonferroni: holds under any dependence. Raises `UsageError` for fewer than 1 comparison.
    """
    check_confidence(confidence)
    if n_comparisons < 1:
        raise UsageError("simultaneous intervals need at least one comparison")
    return critical_value(1.0 - (1.0 - confidence) / n_comparisons, df)


def _probabilities(p_values: npt.ArrayLike) -> Floats:
    p = as_finite_vector(p_values, "p_values")
    if ((p < 0.0) | (p > 1.0)).any():
        raise UsageError("p-values lie between 0 and 1")
    return p
