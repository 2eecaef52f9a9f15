"""How often a gate is right, as rows: of a gate that does not exist yet, or of a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

from modeldiff_harness.artifacts import OperatingPoint, Verdict
from modeldiff_harness.stats.gate_rates import (
    LOSSES_IN_MARGINS,
    GateRates,
    simulate_binary_gate,
    simulate_gate,
)
from modeldiff_harness.stats.power import elo_variance, mde

__all__ = ["LOSSES", "Simulation", "benchmark_rows", "preference_rows", "verdict_rows"]

LOSSES = ("equal", "half", "margin_lost", "double")
"""Columns with PASS and FAIL rates at true losses of 0, ½, 1 and 2 margins."""
_POWER = 0.80

Row = dict[str, Any]


@dataclass(frozen=True)
class Simulation:
    """How gates are simulated: one criterion is worse, the others are equal."""

    n_criteria: int
    n_gates: int
    seed: int


def benchmark_rows(
    sizes: Sequence[int],
    discordances: Sequence[float],
    margins: Sequence[float],
    simulation: Simulation,
) -> Iterator[Row]:
    """Yield a row an item count, discordance and margin (shares of 1)."""
    k = simulation.n_criteria
    for n, w, margin in product(sizes, discordances, margins):
        yield {
            "size": n,
            "size_unit": "items",
            "discordance": w,
            "unit": "share",
            "margin": margin,
            "detectable": mde(n, w, 0.90, _POWER),
            **_simulated(
                partial(simulate_binary_gate, [n] * k, [w] * k, [margin] * k), margin, simulation
            ),
        }


def preference_rows(
    sizes: Sequence[int], margins_elo: Sequence[float], simulation: Simulation
) -> Iterator[Row]:
    """Yield a row a number of prompts and margin of substance in Elo."""
    k = simulation.n_criteria
    for n, margin in product(sizes, margins_elo):
        se = math.sqrt(elo_variance() / n)
        yield {
            "size": n,
            "size_unit": "prompts",
            "discordance": None,
            "unit": "Elo",
            "margin": margin,
            "detectable": mde(1, se**2, 0.90, _POWER),
            **_simulated(partial(simulate_gate, [se] * k, [margin] * k), margin, simulation),
        }


def _simulated(gates: Callable[..., GateRates], margin: float, simulation: Simulation) -> Row:
    """Return the rates of the worse criterion at each loss, and of the gate with all equal."""
    others = [0.0] * (simulation.n_criteria - 1)
    found = [
        gates([-losses * margin, *others], simulation.n_gates, seed=simulation.seed)
        for losses in LOSSES_IN_MARGINS
    ]
    return {
        **{
            column: _rates(one.criteria[0]["PASS"], one.criteria[0]["FAIL"])
            for column, one in zip(LOSSES, found, strict=True)
        },
        "whole": _rates(found[0].verdicts["PASS"], found[0].verdicts["FAIL"]),
    }


def verdict_rows(verdict: Verdict) -> list[Row]:
    """Return one row a measured criterion, and the whole gate's when all criteria are alike."""
    rows: list[Row] = [
        {
            "criterion": c.name,
            "size": c.n,
            "size_unit": c.n_unit,
            "unit": c.unit,
            "margin": c.margin,
            "detectable": c.detectable,
            **_points(c.operating),
        }
        for c in verdict.criteria
        if c.operating
    ]
    if verdict.operating:
        empty = dict.fromkeys(("size", "margin", "detectable"))
        rows.append({"criterion": "whole gate, all alike", **empty, **_points(verdict.operating)})
    return rows


def _points(points: tuple[OperatingPoint, ...]) -> Row:
    return {
        column: _rates(point.p_pass, point.p_fail)
        for column, point in zip(LOSSES, points, strict=True)
    }


def _rates(p_pass: float, p_fail: float) -> dict[str, float]:
    return {"pass": round(p_pass, 4), "fail": round(p_fail, 4)}
