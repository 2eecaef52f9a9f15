"""What a decision needs before it is run: items, prompts and dictionary seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from modeldiff_harness.artifacts import BenchmarkRow, Report
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.ranges import check_fields, misfit_of, within
from modeldiff_harness.report.wording import on_unit_scale
from modeldiff_harness.stats.power import (
    elo_variance,
    items_for_margin,
    mde,
    seeds_for_sign,
)

__all__ = [
    "NeededSizes",
    "PromptSize",
    "SeedSize",
    "SizeQuestion",
    "TaskSize",
    "needed_sizes",
]

DISCORDANCE = 0.10
"""Share of items on which two related models differ, assumed where no run says better."""


Margin = Annotated[float, within(0, 1e6, above=True)]
_MOST_POINTS = 100
"""A share cannot lose more."""


@dataclass(frozen=True)
class SizeQuestion:
    """What is to be decided, and how surely."""

    tasks: tuple[str, ...]
    """Empty with a run: all its primary rows."""
    margin: Margin
    """Tolerated loss in points of 100, or in the metric's own unit where it is no share."""
    margins: Mapping[str, float]
    """Task → its own margin."""
    elo_margin: Annotated[float, within(0, 5000, above=True)]
    discordance: Annotated[float, within(0, 1, above=True)] | None = None
    """Share of items that change; None: from the run, else 10 %."""
    power: Annotated[float, within(0.01, 0.9999)] = 0.80
    """Chance that an equal candidate passes."""
    confidence: Annotated[float, within(0.5, 0.9999)] = 0.90
    """Of the gate's two-sided interval."""
    sign_consistency: Annotated[float, within(0, 1)] = 0.9
    """Chance that one dictionary seed shows the true sign."""


@dataclass(frozen=True)
class TaskSize:
    """One task: what it has, what the margin needs."""

    task: str
    unit: str
    """points, or the metric's name."""
    margin: float
    n_items: int | None
    """None: not known without loading the task."""
    discordance: float | None
    """Share of items that change; None for metrics that are no share of right answers."""
    discordance_from: str
    """run, option or assumed."""
    n_needed: int
    """Items with which an equal candidate passes with the asked power."""
    resolvable: float | None
    """The smallest margin that `n_items` can show with that power."""
    mde: float | None
    """Smallest difference that `n_items` find (two-sided 5 %, same power)."""
    enough: bool | None


@dataclass(frozen=True)
class PromptSize:
    """Substance: prompts judged in both orders."""

    margin_elo: float
    n_needed: int
    n_prompts: int | None
    """Of the run, if one is given."""
    resolvable_elo: float | None
    basis: str
    """run or assumed."""
    enough: bool | None


@dataclass(frozen=True)
class SeedSize:
    """Dictionary seeds whose signs must agree."""

    consistency: float
    basis: str
    """run or assumed."""
    n_seeds: int | None
    """None: not within 200."""
    n_agree: int | None


@dataclass(frozen=True)
class NeededSizes:
    """Everything `mdh plan` says."""

    confidence: float
    power: float
    tasks: tuple[TaskSize, ...]
    preference: PromptSize
    seeds: SeedSize


def needed_sizes(
    asked: SizeQuestion, sizes: Mapping[str, int | None], run: Report | None = None
) -> NeededSizes:
    """Say what the asked decision needs; `run` gives measured discordances and variances.

    `sizes`: task → items, where known.  Raises UsageError for numbers out of their ranges and for
    margins of tasks that are not asked for.
    """
    check_fields(asked, "mdh plan")
    rows = _primary(run)
    names = asked.tasks or tuple(rows)
    for name, margin in {**dict.fromkeys(names, asked.margin), **asked.margins}.items():
        if (wanted := misfit_of(Margin, margin)) is not None:
            raise UsageError(f"the margin of {name!r} is {margin:g}; it takes {wanted}.")
        if name not in names:
            raise UsageError(
                f"a margin is given for {name!r}, which is not planned.",
                hint=did_you_mean(name, names),
            )
    return NeededSizes(
        asked.confidence,
        asked.power,
        tuple(_task(name, asked, sizes.get(name), rows.get(name)) for name in names),
        _preference(asked, run),
        _seeds(asked, run),
    )


def _primary(run: Report | None) -> dict[str, BenchmarkRow]:
    return {} if run is None else {row.task: row for row in run.benchmarks.rows if row.primary}


def _task(name: str, asked: SizeQuestion, size: int | None, row: BenchmarkRow | None) -> TaskSize:
    margin = asked.margins.get(name, asked.margin)
    share = row is None or on_unit_scale(row)
    if share and margin > _MOST_POINTS:
        raise UsageError(
            f"the margin of {name!r} is {margin:g}; it takes more than 0 and at most 100 points."
        )
    scale = 100.0 if share else 1.0
    discordance, basis, variance = _variance(asked, row)
    n = row.n if row is not None else size
    needed = items_for_margin(margin / scale, variance, asked.confidence, asked.power)
    resolvable = smallest = None
    if n:
        resolvable = scale * mde(n, variance, asked.confidence, asked.power)
        smallest = scale * mde(n, variance, 0.95, asked.power)
    return TaskSize(
        task=name,
        unit="points" if share or row is None else row.metric,
        margin=margin,
        n_items=n,
        discordance=discordance,
        discordance_from=basis,
        n_needed=needed,
        resolvable=resolvable,
        mde=smallest,
        enough=None if n is None else n >= needed,
    )


def _variance(asked: SizeQuestion, row: BenchmarkRow | None) -> tuple[float | None, str, float]:
    """Discordance, where it comes from, and the variance of one item's difference."""
    # At no difference, which is what is planned for, the variance is the discordance.
    if asked.discordance is not None:
        return asked.discordance, "option", asked.discordance
    if row is not None and row.counts is not None and row.counts.n_discordant:
        share = row.counts.n_discordant / row.n
        design_effect = 1.0
        if row.clusters is not None and row.se:
            design_effect = max(1.0, row.se**2 * row.n / share)
        return share, "run", share * design_effect
    if row is not None and row.se:
        return None, "run", row.n * row.se**2
    return DISCORDANCE, "assumed", DISCORDANCE


def _preference(asked: SizeQuestion, run: Report | None) -> PromptSize:
    variance, basis, n = elo_variance(), "assumed", None
    if run is not None and (deltas := run.preferences.deltas) is not None:
        found = deltas.substance_elo or deltas.raw_elo
        if found.se:
            n = deltas.n_clusters
            variance, basis = n * found.se**2, "run"
    needed = items_for_margin(asked.elo_margin, variance, asked.confidence, asked.power)
    resolvable = mde(n, variance, asked.confidence, asked.power) if n else None
    return PromptSize(
        asked.elo_margin, needed, n, resolvable, basis, None if n is None else n >= needed
    )


def _seeds(asked: SizeQuestion, run: Report | None) -> SeedSize:
    consistency, basis = asked.sign_consistency, "assumed"
    profile = run.latents.profile if run is not None else None
    if profile is not None and profile.sign_stability:
        shares = list(profile.sign_stability.values())
        # A mean at one half or below says that the seeds agree on nothing.
        consistency, basis = min(1.0, sum(shares) / len(shares)), "run"
    found = None
    if consistency > 0.5:
        found = seeds_for_sign(consistency, 1.0 - asked.confidence, asked.power)
    n_seeds, n_agree = found if found is not None else (None, None)
    return SeedSize(consistency, basis, n_seeds, n_agree)
