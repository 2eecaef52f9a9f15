"""Section `provenance`: how to make the report again, and what it was made with."""

from __future__ import annotations

import json

from modeldiff_harness.artifacts import Report
from modeldiff_harness.contracts import RenderedSection, ReportTable
from modeldiff_harness.report.wording import number, short_digest

__all__ = ["ProvenanceSection"]

_STAGE_COLUMNS = ("stage", "what", "state", "time", "key")


class ProvenanceSection:
    """Command, stages, configuration, versions, machine."""

    name, order = "provenance", 1100

    def render(self, report: Report) -> RenderedSection:
        """Return the command, versions, machine, stages and the resolved configuration."""
        found = report.provenance
        stages = tuple(
            (s.verb, s.title, s.state, f"{number(s.seconds, 1)} s", short_digest(s.key))
            for s in found.stages
        )
        config = tuple((key, _shown(value)) for key, value in _flat(found.config))
        tables = (
            ReportTable("Stages", _STAGE_COLUMNS, stages, collapsed=True),
            ReportTable("Configuration as resolved", ("key", "value"), config, collapsed=True),
            _pairs("Versions", found.versions),
            _pairs("Machine", found.machine),
        )
        reused = sum(stage.state == "reused" for stage in found.stages)
        shipped = sum(stage.state == "shipped" for stage in found.stages)
        text = (
            f"{found.date}, {number(found.seconds, 0)} s; {len(found.stages)} stages, "
            f"{reused} reused, {shipped} shipped.",
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
