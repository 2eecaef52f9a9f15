"""When a pair fit must not be read as substance and style."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modeldiff_harness.stats.estimates import Floats

LEAST_CLUSTERS = 30
"""Prompts or conversations that style effects are learnt from; below, sandwich errors are too
small and raw is all that is told."""
LARGEST_COEFFICIENT = 5.0
"""Log-odds per RMS of a feature beyond which the judge is close to a rule."""
LARGEST_CONDITION = 1e8
"""Condition number of the information beyond which coefficients are noise."""
EXTREME_PROBABILITY = 1e-4
"""Fitted probabilities this close to 0 or 1 are extreme …"""
MOST_EXTREME_SHARE = 0.20
"""… and this share of them is separation."""
LEAST_OVERLAP = 0.10
"""Share of battles that must lie on each side of equal style (or on it)."""
LARGEST_VIF = 5.0
"""Variance inflation beyond which one feature's effect is not its own."""


@dataclass(frozen=True)
class FeatureDiagnostics:
    """What the style differences alone say about one feature."""

    overlap: float
    """Smaller share of battles with z ≤ 0 or z ≥ 0."""
    vif: float | None
    """Variance inflation 1/(1-R²) on the other features; None when they determine it."""

    @property
    def collinear(self) -> bool:
        """Whether only the joint style effect can be told."""
        return self.vif is None or self.vif > LARGEST_VIF

    @property
    def extrapolates(self) -> bool:
        """Whether equal style lies outside what was seen, so that substance is an extrapolation."""
        return self.overlap < LEAST_OVERLAP


def feature_diagnostics(z_NK: Floats, weight_N: Floats) -> tuple[FeatureDiagnostics, ...]:
    """Overlap and variance inflation of every style difference (N, K)."""
    share_N = weight_N / weight_N.sum()
    below, above = share_N @ (z_NK <= 0.0), share_N @ (z_NK >= 0.0)
    centred = (z_NK - share_N @ z_NK) * np.sqrt(share_N)[:, None]
    return tuple(
        FeatureDiagnostics(float(min(below[k], above[k])), _vif(centred, k))
        for k in range(z_NK.shape[1])
    )


def condition_number(x_NK: Floats, information_N: Floats) -> float:
    """Condition number of the unpenalised information of intercept and columns scaled to RMS 1."""
    design = np.column_stack([np.ones(len(x_NK)), x_NK])
    rms = np.sqrt((design**2).mean(axis=0))
    if (rms == 0.0).any():
        return float("inf")
    scaled = design / rms
    return float(np.linalg.cond(scaled.T @ (information_N[:, None] * scaled)))


def separation_flags(
    coefficient_K: Floats,
    probability_N: Floats,
    weight_N: Floats,
    condition: float,
    converged: bool,
) -> tuple[str, ...]:
    """Why raw is all that can be reported: `separation`, `ill_conditioned`, or nothing."""
    extreme = np.abs(probability_N - 0.5) > 0.5 - EXTREME_PROBABILITY
    share = float(weight_N @ extreme / weight_N.sum())
    largest = float(np.abs(coefficient_K).max(initial=0.0))
    flags = []
    if largest > LARGEST_COEFFICIENT or share > MOST_EXTREME_SHARE or not converged:
        flags.append("separation")
    if condition > LARGEST_CONDITION:
        flags.append("ill_conditioned")
    return tuple(flags)


def _vif(centred_NK: Floats, k: int) -> float | None:
    column = centred_NK[:, k]
    total = float(column @ column)
    if total <= 1e-24:
        return None
    others = np.delete(centred_NK, k, axis=1)
    if others.shape[1] == 0:
        return 1.0
    coefficients = np.linalg.lstsq(others.T @ others, others.T @ column, rcond=None)[0]
    remainder = column - others @ coefficients
    unexplained = float(remainder @ remainder) / total
    return 1.0 / unexplained if unexplained > 1e-10 else None
