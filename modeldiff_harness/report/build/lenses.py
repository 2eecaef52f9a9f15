"""Every capability through three lenses, and the written rule by which they are compared.

Benchmarks and preference substance are evaluative: they say whether the candidate does better, and
their signs are compared where their intervals, corrected for the capabilities of an arm, exclude
zero.  A share of latents is emphasis, not
ability: it is compared with behaviour only where the taxonomy takes emphasis and behaviour to go
the same way, and otherwise shown without a mark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from modeldiff_harness.artifacts import (
    BenchmarkRow,
    BenchmarksReport,
    CapabilityRow,
    LatentsReport,
    Lens,
    PreferencesReport,
)
from modeldiff_harness.report.wording import on_unit_scale
from modeldiff_harness.stats.estimates import critical_value
from modeldiff_harness.stats.missing import worst_case
from modeldiff_harness.stats.multiplicity import simultaneous_multiplier
from modeldiff_harness.stats.stratified import PooledPart, pool_by_items
from modeldiff_harness.taxonomy import Capability, load_taxonomy

__all__ = ["capability_rows", "compare_lenses"]

Agreement = Literal["agree", "conflict", "unclear", "not measured"]
Sign = Literal["up", "down", "unclear"]

_ORDER: dict[str, int] = {"conflict": 0, "agree": 1, "unclear": 2, "not measured": 3}


def capability_rows(
    benchmarks: BenchmarksReport, preferences: PreferencesReport, latents: LatentsReport
) -> tuple[CapabilityRow, ...]:
    """Return one row a capability, conflicts first, then in the taxonomy's order."""
    rows, taxonomy = [], load_taxonomy()
    looks: tuple[Callable[[str], Lens], ...] = (
        lambda key: _benchmark_lens(key, benchmarks),
        lambda key: _preference_lens(key, preferences),
        lambda key: _latent_lens(key, latents),
    )
    arms = [_corrected({c.key: look(c.key) for c in taxonomy}) for look in looks]
    for capability in taxonomy:
        lenses = (arms[0][capability.key], arms[1][capability.key], arms[2][capability.key])
        agreement, reading = compare_lenses(capability, *lenses)
        rows.append(
            CapabilityRow(capability.key, capability.class_key, *lenses, agreement, reading)
        )
    return tuple(sorted(rows, key=lambda row: _ORDER[row.agreement]))


def _corrected(lenses: dict[str, Lens]) -> dict[str, Lens]:
    """Give every measured lens of one arm its sign, corrected for how many of them there are.

    The sign is that of the interval widened by Bonferroni's ratio of normal critical values, so
    that all signs of an arm are right together in 95 % of reports; the interval shown is its own.
    """
    n_measured = sum(lens.status == "measured" for lens in lenses.values())
    if not n_measured:
        return lenses
    widened = simultaneous_multiplier(n_measured, 0.95) / critical_value(0.95)
    return {key: replace(lens, sign=_sign(lens, widened)) for key, lens in lenses.items()}


def _sign(lens: Lens, widened: float) -> Sign | None:
    if lens.effect is None or lens.lower is None or lens.upper is None:
        return None
    if lens.effect + widened * (lens.lower - lens.effect) > 0:
        return "up"
    return "down" if lens.effect + widened * (lens.upper - lens.effect) < 0 else "unclear"


def compare_lenses(
    capability: Capability, benchmark: Lens, preference: Lens, latents: Lens
) -> tuple[Agreement, str]:
    """Apply the rule to one capability; returns the mark and a sentence that says why."""
    compared = {"benchmark": benchmark, "preference": preference}
    if capability.emphasis == "same":
        compared["latents"] = latents
    measured = {name: lens for name, lens in compared.items() if lens.status == "measured"}
    aside = ""
    if capability.emphasis != "same" and latents.status == "measured":
        aside = " The share of latents is shown without a mark: what it means is not known."
    if len(measured) < 2:
        only = f"Only {next(iter(measured))}" if measured else "Nothing that can be compared"
        return "not measured", f"{only} was measured." + aside
    clear = {name: lens.sign for name, lens in measured.items() if lens.sign in ("up", "down")}
    if len(clear) < 2:
        return "unclear", "Fewer than two corrected intervals exclude zero." + aside
    told = ", ".join(f"{name} {sign}" for name, sign in clear.items())
    if len(set(clear.values())) == 1:
        return "agree", f"Same direction: {told}." + aside
    return "conflict", f"Opposite directions: {told}." + aside


def _benchmark_lens(key: str, section: BenchmarksReport) -> Lens:
    if section.status != "measured":
        return Lens("not measured", detail=section.reason)
    rows = [r for r in section.rows if r.primary and r.capability == key]
    if not rows:
        return Lens("not measured", detail="no task measures it")
    alike = [row for row in rows if not row.not_comparable]
    if not alike:
        return Lens("not measured", detail=f"not one measurement: {rows[0].not_comparable[0]}")
    comparable = [row for row in alike if on_unit_scale(row)]
    used = comparable or alike[:1]
    detail = ", ".join(dict.fromkeys(row.task for row in used))
    if left := [row.task for row in rows if row not in used]:
        detail += f"; in another unit or not one measurement, left out: {', '.join(left)}"
    unit = "metric difference" if comparable else rows[0].metric
    return _lens(*_pooled(used), unit, detail)


def _pooled(rows: Sequence[BenchmarkRow]) -> tuple[float, float, float]:
    """Return (effect, lower, upper) of one capability's tasks, better = positive.

    One task: its own interval.  Several: the paired mean over all their items.
    """
    ends = [_ends(row) for row in rows]
    better = [
        (r.delta, lower, upper) if r.higher_is_better else (-r.delta, -upper, -lower)
        for r, (lower, upper) in zip(rows, ends, strict=True)
    ]
    if len(better) == 1:
        return better[0]
    pooled = pool_by_items(
        [PooledPart(r.n, *numbers, r.se, r.df) for r, numbers in zip(rows, better, strict=True)]
    )
    return pooled.delta, pooled.lower, pooled.upper


def _ends(row: BenchmarkRow) -> tuple[float, float]:
    """The row's interval with its missing items at their worst, where they can be bounded."""
    if not row.n_missing or not row.is_bounded:
        return row.lower, row.upper
    return worst_case(row.lower, row.upper, row.n, row.n_missing)


def _preference_lens(key: str, section: PreferencesReport) -> Lens:
    if section.deltas is None:
        return Lens("not measured", detail=section.reason)
    for row in section.deltas.categories:
        if row.capability != key:
            continue
        if row.substance_elo is not None:
            found, detail = row.substance_elo, f"substance, {row.n_prompts} prompts"
        elif row.raw_elo is not None:
            found, detail = row.raw_elo, f"raw: style not separated, {row.n_prompts} prompts"
        else:
            break
        return _lens(found.estimate, found.lower, found.upper, "Elo", detail)
    return Lens("not measured", detail="no prompts with a usable estimate")


def _latent_lens(key: str, section: LatentsReport) -> Lens:
    if section.status != "measured" or section.profile is None:
        return Lens("not measured", detail=section.reason)
    for row in section.profile.rows:
        if row.level == "capability" and row.key == key:
            counts = row.comparison
            difference = counts.share_difference
            if difference is None:
                break
            detail = (
                f"{counts.n_candidate}/{counts.total_candidate} against "
                f"{counts.n_baseline}/{counts.total_baseline} latents"
            )
            if row.null_lower is not None and row.null_upper is not None:
                inside = row.null_lower <= difference.estimate <= row.null_upper
                detail += "; inside the null band" if inside else "; outside the null band"
            return _lens(
                difference.estimate, difference.lower, difference.upper, "share of latents", detail
            )
    return Lens("not measured", detail="a model has no specific latents")


def _lens(effect: float, lower: float, upper: float, unit: str, detail: str) -> Lens:
    """A measured lens; its sign depends on how many there are."""
    return Lens("measured", effect, lower, upper, unit, None, detail)
