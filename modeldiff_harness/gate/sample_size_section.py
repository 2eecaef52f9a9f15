"""The sizes that a decision needs as a section for every renderer."""

from __future__ import annotations

from collections.abc import Sequence

from modeldiff_harness.contracts import RenderedSection, ReportTable
from modeldiff_harness.gate.sample_size import NeededSizes, TaskSize
from modeldiff_harness.report.wording import ABSENT, number

__all__ = ["render_sizes"]


def render_sizes(sizes: NeededSizes) -> RenderedSection:
    """Return the needed sizes for readers."""
    power = f"{100 * sizes.power:.0f} %"
    tables = []
    if sizes.tasks:
        tables.append(_task_table(sizes.tasks))
    tables.append(_other_table(sizes))
    return RenderedSection(
        "plan",
        "What the decision needs",
        (
            f"Sizes with which a candidate that is equal to the baseline passes with {power} "
            f"chance: the lower end of the two-sided {100 * sizes.confidence:.0f} % interval lies "
            "above minus the margin.",
        ),
        tuple(tables),
    )


def _task_table(tasks: Sequence[TaskSize]) -> ReportTable:
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


def _other_table(sizes: NeededSizes) -> ReportTable:
    preference, seeds = sizes.preference, sizes.seeds
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
