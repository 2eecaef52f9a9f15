"""Resampling for ratios of sums over units, and the sign-flip permutation test."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import Floats, check_confidence, critical_value

_CHUNK_CELLS = 4_000_000
_EXACT_FLIP_LIMIT = 14


def _resample_ratios(
    numerator_U: Floats, denominator_U: Floats, n_resamples: int, seed: int
) -> Floats:
    """Σnumerator/Σdenominator over `n_resamples` draws of units with replacement: (R,)."""
    rng = np.random.default_rng(seed)
    n_units = len(numerator_U)
    step = max(1, _CHUNK_CELLS // n_units)
    ratios = np.empty(n_resamples)
    for start in range(0, n_resamples, step):
        stop = min(start + step, n_resamples)
        picks = rng.integers(0, n_units, size=(stop - start, n_units))
        ratios[start:stop] = numerator_U[picks].sum(axis=1) / denominator_U[picks].sum(axis=1)
    return ratios


def bca_interval(
    numerator_U: npt.ArrayLike,
    denominator_U: npt.ArrayLike | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    n_resamples: int = 9_999,
    expand: bool = True,
) -> tuple[float, float]:
    """Bias-corrected and accelerated interval for Σnumerator/Σdenominator (Efron 1987).

    Units (U) are items, or clusters with their sums and sizes; the denominator defaults to ones
    (a mean). `expand` widens the nominal level to t quantiles x √(U/(U-1)), which removes most of
    the bootstrap's under-coverage in small samples (Hesterberg 2015). Raises `UsageError` for
    fewer than 2 units, non-positive denominators or a statistic that never varies.
    """
    check_confidence(confidence)
    top = np.asarray(numerator_U, dtype=np.float64)
    bottom = np.ones_like(top) if denominator_U is None else np.asarray(denominator_U, float)
    n_units = len(top)
    if n_units < 2 or bottom.shape != top.shape or not (bottom > 0).all():
        raise UsageError("a bootstrap needs at least 2 units, each with a positive denominator")
    estimate = top.sum() / bottom.sum()
    jackknife = (top.sum() - top) / (bottom.sum() - bottom)
    pull = jackknife.mean() - jackknife
    if math.isclose(float(np.abs(pull).max()), 0.0, abs_tol=1e-15 * (1.0 + abs(estimate))):
        raise UsageError("the statistic does not vary over units; there is nothing to resample")
    acceleration = float((pull**3).sum() / (6.0 * (pull**2).sum() ** 1.5))
    draws = _resample_ratios(top, bottom, n_resamples, seed)
    below = float((draws < estimate).sum() + 0.5 * (draws == estimate).sum()) / n_resamples
    below = min(max(below, 1.0 / n_resamples), 1.0 - 1.0 / n_resamples)
    bias = float(ndtri(below))
    reach = critical_value(confidence)
    if expand:
        reach = critical_value(confidence, n_units - 1) * math.sqrt(n_units / (n_units - 1.0))
    ends = []
    for z in (bias - reach, bias + reach):
        shrink = 1.0 - acceleration * z
        # Beyond the pole of the acceleration the level is the end of the distribution.
        level = float(ndtr(bias + z / shrink)) if shrink > 0 else float(z > 0)
        ends.append(float(np.quantile(draws, level)))
    return ends[0], ends[1]


def sign_flip_p(differences: npt.ArrayLike, seed: int = 0, n_flips: int = 9_999) -> float:
    """Two-sided permutation p of mean(differences) = 0 under random signs.

    All 2ⁿ signs are enumerated for up to 14 non-zero differences; otherwise `n_flips` seeded
    draws give (1 + hits) / (1 + draws) (Phipson and Smyth 2010). No non-zero difference gives 1.
    """
    d = np.asarray(differences, dtype=np.float64)
    d = d[d != 0.0]
    if len(d) == 0:
        return 1.0
    # Rounding must not decide whether a rearrangement ties with the observed sum.
    observed = abs(float(d.sum())) - 1e-12 * float(np.abs(d).sum())
    if len(d) <= _EXACT_FLIP_LIMIT:
        bits = (np.arange(2 ** len(d))[:, None] >> np.arange(len(d))) & 1
        return float((np.abs((2.0 * bits - 1.0) @ d) >= observed).mean())
    rng = np.random.default_rng(seed)
    total, hits = float(d.sum()), 0
    step = max(1, _CHUNK_CELLS // len(d))
    for start in range(0, n_flips, step):
        rows = min(step, n_flips - start)
        n_bytes = -(-len(d) // 8)
        packed = np.frombuffer(rng.bytes(rows * n_bytes), np.uint8).reshape(rows, n_bytes)
        kept = np.unpackbits(packed, axis=1, count=len(d)).astype(np.float64) @ d
        hits += int((np.abs(2.0 * kept - total) >= observed).sum())
    return (1.0 + hits) / (1.0 + n_flips)
