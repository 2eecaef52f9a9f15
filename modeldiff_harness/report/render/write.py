"""Writing a report's files, each atomically; report.json is the single source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modeldiff_harness.artifacts import Report
from modeldiff_harness.contracts import ReportSection
from modeldiff_harness.report.render.html import render_html
from modeldiff_harness.report.render.markdown import render_markdown
from modeldiff_harness.report.schema import to_json
from modeldiff_harness.store import write_atomically

__all__ = ["write_report"]


def write_report(report: Report, folder: Path, sections: Sequence[ReportSection]) -> None:
    """Write report.md, report.html and, last, report.json; `sections` as in `render_sections`."""
    write_atomically(folder / "report.md", render_markdown(report, sections))
    write_atomically(folder / "report.html", render_html(report, sections))
    write_atomically(folder / "report.json", to_json(report))
