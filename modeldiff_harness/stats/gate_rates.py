"""How often a gate decides rightly: closed form for one criterion, simulation for many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import bdtr, ndtr

from modeldiff_harness.artifacts.gate import OperatingPoint, Outcome
from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import Bools, Floats, critical_value
from modeldiff_harness.stats.paired_binary import BONETT_PRICE_FROM, guarded_interval

__all__ = [
    "LOSSES_IN_MARGINS",
    "GateRates",
    "operating_characteristics",
    "simulate_binary_gate",
    "simulate_gate",
]

LOSSES_IN_MARGINS = (0.0, 0.5, 1.0, 2.0)
"""True losses at which operating characteristics are told, as multiples of the margin."""


@dataclass(frozen=True)
class GateRates:
    """Simulated rates of a gate under given true differences."""

    verdicts: dict[Outcome, float] = field(hash=False)
    """Share of simulated runs by whole verdict."""
    criteria: tuple[dict[Outcome, float], ...] = field(hash=False)
    """The same for each criterion, Holm's adjustment over all of them included."""


def operating_characteristics(
    se: float,
    margin: float,
    n_criteria: int = 1,
    family_alpha: float = 0.05,
    confidence: float = 0.90,
) -> tuple[OperatingPoint, ...]:
    """Chances of PASS and FAIL at true differences 0, -m/2, -m and -2m for a normal estimate.

    FAIL is computed at level family_alpha/n_criteria, Holm's first step: what a criterion gets when
    it is alone in being worse. Raises `UsageError` for sizes that are not positive.
    """
    if se <= 0 or margin <= 0 or n_criteria < 1:
        raise UsageError("operating characteristics need a positive SE, margin and criteria count")
    reach = critical_value(confidence) * se
    strict = critical_value(1.0 - 2.0 * family_alpha / n_criteria) * se
    threshold = min(-margin, -strict)
    return tuple(
        OperatingPoint(
            -losses * margin if losses else 0.0,
            float(ndtr((margin - losses * margin - reach) / se)),
            float(ndtr((threshold + losses * margin) / se)),
        )
        for losses in LOSSES_IN_MARGINS
    )


def simulate_gate(
    ses: Sequence[float],
    margins: Sequence[float],
    true_deltas: Sequence[float],
    n_runs: int = 10_000,
    family_alpha: float = 0.05,
    confidence: float = 0.90,
    seed: int = 0,
) -> GateRates:
    """Rates of the whole verdict for independent normal criteria with the given truths."""
    _check_lengths(ses, margins, true_deltas)
    se, margin = np.asarray(ses, np.float64), np.asarray(margins, np.float64)
    if (se <= 0).any() or (margin <= 0).any():
        raise UsageError("standard errors and margins must be positive")
    rng = np.random.default_rng(seed)
    drawn = np.asarray(true_deltas) + se * rng.standard_normal((n_runs, len(se)))
    passed = drawn - critical_value(confidence) * se > -margin
    return _rates(drawn, ndtr(drawn / se), passed, margin, family_alpha)


def simulate_binary_gate(
    n_items: Sequence[int],
    discordances: Sequence[float],
    margins: Sequence[float],
    true_deltas: Sequence[float],
    n_runs: int = 10_000,
    family_alpha: float = 0.05,
    confidence: float = 0.90,
    seed: int = 0,
) -> GateRates:
    """Rates of the whole verdict for independent benchmarks that are right or wrong by item.

    Items fixed and broken are drawn from a multinomial with `discordances` = p01 + p10 (raised to
    |true delta| where it is smaller) and decided as the gate decides them: `guarded_interval`,
    exact one-sided McNemar, Holm over the criteria. Raises `UsageError` for lengths that differ,
    no items, or shares and margins out of range.
    """
    _check_lengths(n_items, discordances, margins, true_deltas)
    n = np.asarray(n_items, np.int64)
    margin, truth = np.asarray(margins, np.float64), np.asarray(true_deltas, np.float64)
    discordant = np.maximum(np.asarray(discordances, np.float64), np.abs(truth))
    if (n < 1).any() or (margin <= 0).any():
        raise UsageError("give at least one item and a positive margin a criterion")
    if ((np.asarray(discordances) < 0) | (discordant > 1)).any():
        raise UsageError("discordances and true differences are shares of the items")
    rng = np.random.default_rng(seed)
    gain, loss = (discordant + truth) / 2.0, (discordant - truth) / 2.0
    cells = [
        rng.multinomial(items, [up, down, max(0.0, 1.0 - up - down)], size=n_runs)
        for items, up, down in zip(n.tolist(), gain.tolist(), loss.tolist(), strict=True)
    ]
    fixed = np.stack([cell[:, 0] for cell in cells], axis=1)
    broken = np.stack([cell[:, 1] for cell in cells], axis=1)
    centre = (fixed - broken) / (n + 2.0)
    spread = np.sqrt(((fixed + broken + 2.0) / (n + 2.0) - centre**2) / (n + 2.0))
    lower = centre - critical_value(confidence) * spread
    few = np.minimum(fixed, broken) < BONETT_PRICE_FROM
    for k, items in enumerate(n.tolist()):
        tables, at = np.unique(
            np.stack([fixed[few[:, k], k], broken[few[:, k], k]], axis=1),
            axis=0,
            return_inverse=True,
        )
        bounds = [guarded_interval(up, down, items, confidence)[0] for up, down in tables.tolist()]
        lower[few[:, k], k] = np.asarray(bounds, np.float64)[at.ravel()]
    passed = lower > -margin
    p = np.asarray(bdtr(fixed, fixed + broken, 0.5), np.float64)
    return _rates((fixed - broken) / n, p, passed, margin, family_alpha)


def _check_lengths(*columns: Sequence[float]) -> None:
    if len({len(column) for column in columns}) != 1 or not len(columns[0]):
        raise UsageError("give one size, margin and true difference a criterion")


def _rates(
    estimate: Floats, p: Floats, passed: Bools, margin: Floats, family_alpha: float
) -> GateRates:
    """Decide (R, K) simulated criteria; Holm runs along K."""
    order = np.argsort(p, axis=1)
    stepped = np.take_along_axis(p, order, axis=1) * np.arange(p.shape[1], 0, -1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(stepped, axis=1), axis=1)
    failed = (adjusted <= family_alpha) & (estimate <= -margin) & ~passed
    fail, ok = failed.any(axis=1), passed.all(axis=1)
    each = zip(passed.mean(axis=0).tolist(), failed.mean(axis=0).tolist(), strict=True)
    return GateRates(
        _shares(float(ok.mean()), float(fail.mean())),
        tuple(_shares(*shares) for shares in each),
    )


def _shares(p_pass: float, p_fail: float) -> dict[Outcome, float]:
    return {"PASS": p_pass, "FAIL": p_fail, "INCONCLUSIVE": max(0.0, 1.0 - p_pass - p_fail)}
