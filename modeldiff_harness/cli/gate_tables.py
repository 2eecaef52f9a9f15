"""Rows of `mdh gate simulate`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modeldiff_harness.errors import UsageError

if TYPE_CHECKING:
    from modeldiff_harness.artifacts import OperatingPoint, Verdict

__all__ = ["HEADS", "PLANNED_COLUMNS", "VERDICT_COLUMNS", "cell", "planned_rows", "verdict_rows"]

_LOSSES = ("equal", "half", "margin_lost", "double")
PLANNED_COLUMNS = ("size", "discordance", "margin", "detectable", *_LOSSES, "whole")
VERDICT_COLUMNS = ("criterion", "size", "margin", "detectable", *_LOSSES)
HEADS = {
    "equal": "equal",
    "half": "−½ margin",
    "margin_lost": "−1 margin",
    "double": "−2 margins",
    "whole": "whole gate, all equal",
}
_POWER = 0.80


def planned_rows(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row a size and margin of benchmarks (--items) and of preferences (--prompts)."""
    rows = list(_benchmarks(given)) if given["items"] else []
    if given["prompts"]:
        rows += _preferences(given)
    return rows


def _benchmarks(given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    from modeldiff_harness.stats.gate_rates import LOSSES_IN_MARGINS, simulate_binary_gate
    from modeldiff_harness.stats.power import mde

    k, n_runs, seed = given["criteria"], given["simulations"], given["seed"]
    for n in _numbers(given["items"], "--items", whole=True):
        for w in _numbers(given["discordance"], "--discordance", most=1.0):
            for margin in _numbers(given["margin"], "--margin", most=1.0):
                rates = [
                    simulate_binary_gate(
                        [int(n)] * k, [w] * k, [margin] * k, [-losses * margin] + [0.0] * (k - 1),
                        n_runs, seed=seed,
                    )
                    for losses in LOSSES_IN_MARGINS
                ]  # fmt: skip
                yield {
                    "size": int(n),
                    "size_unit": "items",
                    "discordance": w,
                    "unit": "share",
                    "margin": margin,
                    "detectable": mde(int(n), w, 0.90, _POWER),
                    **{
                        key: _pair(r.criteria[0]["PASS"], r.criteria[0]["FAIL"])
                        for key, r in zip(_LOSSES, rates, strict=True)
                    },
                    "whole": _pair(rates[0].verdicts["PASS"], rates[0].verdicts["FAIL"]),
                }


def _preferences(given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    from modeldiff_harness.stats.gate_rates import LOSSES_IN_MARGINS, simulate_gate
    from modeldiff_harness.stats.power import elo_variance, mde

    k, n_runs, seed = given["criteria"], given["simulations"], given["seed"]
    for n in _numbers(given["prompts"], "--prompts", whole=True):
        se = math.sqrt(elo_variance() / n)
        for margin in _numbers(given["margin_elo"], "--margin_elo"):
            rates = [
                simulate_gate(
                    [se] * k, [margin] * k, [-losses * margin] + [0.0] * (k - 1), n_runs, seed=seed
                )
                for losses in LOSSES_IN_MARGINS
            ]
            yield {
                "size": int(n),
                "size_unit": "prompts",
                "discordance": None,
                "unit": "Elo",
                "margin": margin,
                "detectable": mde(1, se**2, 0.90, _POWER),
                **{
                    key: _pair(r.criteria[0]["PASS"], r.criteria[0]["FAIL"])
                    for key, r in zip(_LOSSES, rates, strict=True)
                },
                "whole": _pair(rates[0].verdicts["PASS"], rates[0].verdicts["FAIL"]),
            }


def verdict_rows(verdict: Verdict) -> list[dict[str, Any]]:
    """Return one row a measured criterion, and the whole gate's when all criteria are alike."""
    rows: list[dict[str, Any]] = [
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


def _points(points: tuple[OperatingPoint, ...]) -> dict[str, dict[str, float]]:
    return {
        key: _pair(point.p_pass, point.p_fail) for key, point in zip(_LOSSES, points, strict=True)
    }


def cell(row: Mapping[str, Any], column: str) -> str:
    """Return a row's cell as text; rates as "92 % / <1 %"."""
    from modeldiff_harness.gate.words import amount, rate

    found = row[column]
    if isinstance(found, dict):
        return f"{rate(found['pass'])} / {rate(found['fail'])}"
    if found is None:
        return ""
    if column == "size":
        return f"{found:,} {row['size_unit']}"
    if column == "discordance":
        return f"{100 * found:g} %"
    if column in ("margin", "detectable"):
        return amount(found, row["unit"], sign=False)
    return str(found)


def _pair(p_pass: float, p_fail: float) -> dict[str, float]:
    return {"pass": round(p_pass, 4), "fail": round(p_fail, 4)}


def _numbers(
    text: str, flag: str, *, whole: bool = False, most: float | None = None
) -> list[float]:
    found = []
    for part in str(text).split(","):
        try:
            value = float(int(part.replace("_", ""))) if whole else float(part)
        except ValueError:
            kind = "whole numbers" if whole else "numbers"
            raise UsageError(f"{flag} takes {kind} by comma, not {part.strip()!r}.") from None
        if not value > 0 or value == float("inf") or (most is not None and value > most):
            limit = f", at most {most:g}" if most is not None else ""
            raise UsageError(f"{flag} takes positive numbers{limit}, not {part.strip()!r}.")
        found.append(value)
    return found
