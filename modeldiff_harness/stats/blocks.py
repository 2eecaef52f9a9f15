"""Block jackknife for ratios of sums, many columns at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import Bools, Floats, critical_value


@dataclass(frozen=True, eq=False)
class RatioColumns:
    """Ratios of sums per column (L) with jackknife intervals.

    Where a mask is False the numbers beside it are NaN and mean nothing: read the mask first.
    """

    estimate_L: Floats
    """Σnumerator/Σdenominator over blocks."""
    se_L: Floats
    """Jackknife standard error."""
    lower_L: Floats
    """Lower end of the t interval with blocks - 1 degrees of freedom."""
    upper_L: Floats
    """Upper end."""
    has_estimate_L: Bools
    """The denominators sum to more than zero."""
    has_interval_L: Bools
    """They still do when any one block is left out."""
    n_blocks: int
    """Blocks (B)."""


def block_jackknife_ratio(
    numerator_BL: npt.ArrayLike, denominator_BL: npt.ArrayLike, confidence: float = 0.95
) -> RatioColumns:
    """Σ_b numerator / Σ_b denominator for every column, with delete-one-block intervals.

    `numerator_BL`, `denominator_BL`: (blocks, latents) sums of disjoint blocks, such as groups of
    documents; (B,) counts as one column. SE² = (B-1)/B Σ_b (θ_(b) - mean θ_(.))² (Quenouille,
    Tukey; Künsch 1989 for dependent data). Raises `UsageError` for shapes that differ, fewer than 2
    blocks, or sums that are not finite.
    """
    top, bottom = np.asarray(numerator_BL, np.float64), np.asarray(denominator_BL, np.float64)
    if top.ndim == 1:
        top, bottom = top[:, None], bottom.reshape(len(bottom), -1)
    if top.ndim != 2 or top.shape != bottom.shape:
        raise UsageError(f"numerators {top.shape} and denominators {bottom.shape} do not match")
    n_blocks = len(top)
    if n_blocks < 2:
        raise UsageError(f"{n_blocks} block; a jackknife needs at least 2")
    if not (np.isfinite(top).all() and np.isfinite(bottom).all()):
        raise UsageError("block sums hold NaN or infinite values")
    top_sum, bottom_sum = top.sum(axis=0), bottom.sum(axis=0)
    # Rounding in the subtraction must not pass for a remainder.
    floor = 1e-12 * np.abs(bottom).sum(axis=0)
    rest = bottom_sum - bottom
    has_estimate = bottom_sum > floor
    has_interval = has_estimate & (rest > floor).all(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = np.where(has_estimate, top_sum / bottom_sum, np.nan)
        left_out = np.where(has_interval, (top_sum - top) / rest, np.nan)
    spread = ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0)
    se = np.sqrt(spread * (n_blocks - 1.0) / n_blocks)
    half = critical_value(confidence, n_blocks - 1) * se
    return RatioColumns(
        estimate, se, estimate - half, estimate + half, has_estimate, has_interval, n_blocks
    )
