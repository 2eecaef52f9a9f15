"""Sections `limits` and `provenance`: how far this carries, and how to make it again."""

from __future__ import annotations

import json

from modeldiff_harness.artifacts import Report
from modeldiff_harness.contracts import RenderedSection, ReportTable
from modeldiff_harness.report.sections.summary import stamp
from modeldiff_harness.report.wording import ended, number, on_unit_scale, short_digest

__all__ = ["render", "render_limits"]


def render_limits(report: Report) -> RenderedSection:
    """Return what this run cannot say, each line from a fact of the run."""
    benchmarks, preferences, latents = report.benchmarks, report.preferences, report.latents
    lines = [stamp(report)]
    for name, arm in (
        ("Benchmarks", benchmarks),
        ("Preferences", preferences),
        ("Latents", latents),
    ):
        if arm.status != "measured":
            lines.append(f"{name} were not measured: {ended(arm.reason)} No evidence of equality.")
    if benchmarks.failures:
        lines.append(f"{len(benchmarks.failures)} tasks failed and are missing from every count.")
    primary = [row for row in benchmarks.rows if row.primary and on_unit_scale(row)]
    wide = [row.task for row in primary if (row.mde or 0) > 0.05]
    if wide:
        lines.append(
            f"{len(wide)} tasks cannot show a difference below 5 points (see MDE): "
            "“no difference” there means little."
        )
    if preferences.deltas is not None:
        lines.append(
            "Substance means preference at equal measured style, not true quality: style can be "
            "part of the help."
        )
        if preferences.deltas.judge_kind == "verifiable":
            lines.append("The judge checks what programs can check; it does not read for quality.")
    if latents.status == "measured":
        lines.append(
            "A latent difference is a hypothesis about what training changed; it is labelled by "
            "machine and does not gate."
        )
        if latents.profile is not None and not latents.profile.sign_stability:
            lines.append("Fewer than three dictionary seeds: how stable the shares are is unknown.")
    lines += [f"Shipped, not computed here: {text}" for text in report.provenance.shipped]
    return RenderedSection("limits", "Limits", tuple(line for line in lines if line))


def render(report: Report) -> RenderedSection:
    """Return the command, the versions, the machine, the stages and the resolved configuration."""
    found = report.provenance
    stages = tuple(
        (s.verb, s.title, s.state, f"{number(s.seconds, 1)} s", short_digest(s.key))
        for s in found.stages
    )
    config = tuple((key, _shown(value)) for key, value in _flat(found.config))
    tables = (
        ReportTable("Stages", ("stage", "what", "state", "time", "key"), stages, collapsed=True),
        ReportTable("Configuration as resolved", ("key", "value"), config, collapsed=True),
        _pairs("Versions", found.versions),
        _pairs("Machine", found.machine),
    )
    reused = sum(stage.state == "reused" for stage in found.stages)
    shipped = sum(stage.state == "shipped" for stage in found.stages)
    text = (
        f"{found.date}, {number(found.seconds, 0)} s; {len(found.stages)} stages, {reused} reused, "
        f"{shipped} shipped.",
        "This command makes the report again:",
    )
    return RenderedSection(
        "provenance",
        "Provenance",
        text,
        tuple(table for table in tables if table.rows),
        commands=(found.command,),
    )


def _pairs(title: str, found: dict[str, str]) -> ReportTable:
    rows = tuple((key, str(value)) for key, value in sorted(found.items()))
    return ReportTable(title, ("name", "value"), rows, collapsed=True)


def _flat(config: dict[str, object], prefix: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for key, value in config.items():
        if isinstance(value, dict) and value:
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
