"""What a decision needs before it is run: items, prompts and dictionary seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modeldiff_harness.artifacts import BenchmarkRow, Report
from modeldiff_harness.contracts import RenderedSection, ReportTable
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.report.wording import ABSENT, number, on_unit_scale
from modeldiff_harness.stats.power import (
    binary_variance,
    elo_variance,
    items_for_margin,
    mde,
    prompts_for_elo_margin,
    seeds_for_sign,
)

__all__ = [
    "DecisionPlan",
    "PlanAsked",
    "PreferencePlan",
    "SeedPlan",
    "TaskPlan",
    "plan_decision",
    "plan_section",
]

DISCORDANCE = 0.10
"""Share of items on which two related models differ, assumed where no run says better."""


@dataclass(frozen=True)
class PlanAsked:
    """What is to be decided, and how surely."""

    tasks: tuple[str, ...]
    """Empty with a run: all its primary rows."""
    margin: float
    """Tolerated loss in points of 100, or in the metric's own unit where it is no share."""
    margins: Mapping[str, float]
    """Task → its own margin."""
    elo_margin: float
    discordance: float | None = None
    """Share of items that change; None: from the run, else 10 %."""
    power: float = 0.80
    """Chance that an equal candidate passes."""
    confidence: float = 0.90
    """Of the gate's two-sided interval."""
    sign_consistency: float = 0.9
    """Chance that one dictionary seed shows the true sign."""


@dataclass(frozen=True)
class TaskPlan:
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
class PreferencePlan:
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
class SeedPlan:
    """Dictionary seeds whose signs must agree."""

    consistency: float
    basis: str
    """run or assumed."""
    n_seeds: int | None
    """None: not within 200."""
    n_agree: int | None


@dataclass(frozen=True)
class DecisionPlan:
    """Everything `mdh plan` says."""

    confidence: float
    power: float
    tasks: tuple[TaskPlan, ...]
    preference: PreferencePlan
    seeds: SeedPlan


def plan_decision(
    asked: PlanAsked, sizes: Mapping[str, int | None], run: Report | None = None
) -> DecisionPlan:
    """Say what the asked decision needs; `run` gives measured discordances and variances.

    `sizes`: task → items, where known.  Raises UsageError for margins that are not positive, a
    task that the run does not have, or nothing to plan.
    """
    rows = _primary(run)
    names = asked.tasks or tuple(rows)
    for name, margin in {**dict.fromkeys(names, asked.margin), **asked.margins}.items():
        if not margin > 0:
            raise UsageError(f"the margin of {name!r} is {margin:g}; it must be positive.")
        if name not in names:
            raise UsageError(
                f"a margin is given for {name!r}, which is not planned.",
                hint=did_you_mean(name, names),
            )
    if not asked.elo_margin > 0:
        raise UsageError(f"the Elo margin is {asked.elo_margin:g}; it must be positive.")
    return DecisionPlan(
        asked.confidence,
        asked.power,
        tuple(_task(name, asked, sizes.get(name), rows.get(name)) for name in names),
        _preference(asked, run),
        _seeds(asked, run),
    )


def _primary(run: Report | None) -> dict[str, BenchmarkRow]:
    return {} if run is None else {row.task: row for row in run.benchmarks.rows if row.primary}


def _task(name: str, asked: PlanAsked, size: int | None, row: BenchmarkRow | None) -> TaskPlan:
    margin = asked.margins.get(name, asked.margin)
    share = row is None or on_unit_scale(row)
    scale = 100.0 if share else 1.0
    discordance, basis, variance = _variance(asked, row)
    n = row.n if row is not None else size
    needed = items_for_margin(margin / scale, variance, asked.confidence, asked.power)
    resolvable = smallest = None
    if n:
        resolvable = scale * mde(n, variance, asked.confidence, asked.power)
        smallest = scale * mde(n, variance, 0.95, asked.power)
    return TaskPlan(
        name,
        "points" if share or row is None else row.metric,
        margin,
        n,
        discordance,
        basis,
        needed,
        resolvable,
        smallest,
        None if n is None else n >= needed,
    )


def _variance(asked: PlanAsked, row: BenchmarkRow | None) -> tuple[float | None, str, float]:
    """Discordance, where it comes from, and the variance of one item's difference."""
    if asked.discordance is not None:
        half = asked.discordance / 2.0
        return asked.discordance, "option", binary_variance(half, half)
    if row is not None and row.fixed is not None and row.broken is not None and row.n:
        share = (row.fixed + row.broken) / row.n
        if share > 0:
            # At no difference, which is what is planned for, the variance is the discordance.
            design_effect = 1.0
            if row.n_clusters and row.se:
                design_effect = max(1.0, row.se**2 * row.n / share)
            return share, "run", share * design_effect
    if row is not None and row.se:
        return None, "run", row.n * row.se**2
    return DISCORDANCE, "assumed", DISCORDANCE


def _preference(asked: PlanAsked, run: Report | None) -> PreferencePlan:
    variance, basis, n = elo_variance(), "assumed", None
    if run is not None and (deltas := run.preferences.deltas) is not None:
        found = deltas.substance_elo or deltas.raw_elo
        if found.se:
            n = deltas.n_clusters
            variance, basis = n * found.se**2, "run"
    needed = prompts_for_elo_margin(asked.elo_margin, variance, asked.confidence, asked.power)
    resolvable = mde(n, variance, asked.confidence, asked.power) if n else None
    return PreferencePlan(
        asked.elo_margin, needed, n, resolvable, basis, None if n is None else n >= needed
    )


def _seeds(asked: PlanAsked, run: Report | None) -> SeedPlan:
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
    return SeedPlan(consistency, basis, n_seeds, n_agree)


# ── words ────────────────────────────────────────────────────────────────────────────────────


def plan_section(plan: DecisionPlan) -> RenderedSection:
    """Return the plan for readers."""
    power = f"{100 * plan.power:.0f} %"
    tables = []
    if plan.tasks:
        tables.append(_task_table(plan.tasks))
    tables.append(_other_table(plan))
    return RenderedSection(
        "plan",
        "What the decision needs",
        (
            f"Sizes with which a candidate that is equal to the baseline passes with {power} "
            f"chance: the lower end of the two-sided {100 * plan.confidence:.0f} % interval lies "
            "above minus the margin.",
        ),
        tuple(tables),
    )


def _task_table(tasks: Sequence[TaskPlan]) -> ReportTable:
    rows, tones = [], []
    for task in tasks:
        unit = "" if task.unit == "points" else f" {task.unit}"
        rows.append(
            (
                task.task,
                f"{task.margin:g}{unit}",
                f"{task.n_needed:,}",
                ABSENT if task.n_items is None else f"{task.n_items:,}",
                number(task.resolvable, 1),
                number(task.mde, 1),
                ABSENT if task.discordance is None else f"{100 * task.discordance:.1f} %",
                task.discordance_from,
            )
        )
        tones.append("" if task.enough is None else "good" if task.enough else "bad")
    columns = ("task", "margin", "items needed", "items", "resolves", "MDE", "changed", "from")
    note = (
        "Margin, resolves (the smallest margin these items can show) and MDE (the smallest "
        "difference they find) in points of 100 unless named; changed: share of items on which "
        "the models differ."
    )
    return ReportTable("Benchmarks", columns, tuple(rows), note, tuple(tones))


def _other_table(plan: DecisionPlan) -> ReportTable:
    preference, seeds = plan.preference, plan.seeds
    have = ABSENT if preference.n_prompts is None else f"{preference.n_prompts:,}"
    if preference.resolvable_elo is not None:
        have += f", which resolve ±{preference.resolvable_elo:.0f} Elo"
    need = "more than 200 seeds"
    if seeds.n_seeds is not None:
        need = f"{seeds.n_seeds} seeds, {seeds.n_agree} of one sign"
    rows = (
        (
            f"substance, margin {preference.margin_elo:g} Elo",
            f"{preference.n_needed:,} prompts",
            have,
            preference.basis,
        ),
        (
            f"sign of a latent share, {100 * seeds.consistency:.0f} % of seeds right",
            need,
            ABSENT,
            seeds.basis,
        ),
    )
    note = "Prompts are judged in both orders. Seeds are dictionary replicates (--replicates)."
    return ReportTable("Preferences and latents", ("what", "needed", "there", "from"), rows, note)
