"""A verdict's files beside its report, and finding the verdicts that are there already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modeldiff_harness.artifacts import Report, Verdict
from modeldiff_harness.contracts import ReportSection
from modeldiff_harness.errors import MdhError, RunError
from modeldiff_harness.gate.github import render_summary
from modeldiff_harness.gate.junit import render_junit
from modeldiff_harness.gate.schema import read_verdict, verdict_json
from modeldiff_harness.gate.section import with_verdict
from modeldiff_harness.report.render.html import render_html
from modeldiff_harness.report.render.markdown import render_markdown
from modeldiff_harness.report.schema import report_digest
from modeldiff_harness.store import write_atomically

__all__ = ["earlier_verdicts", "previous_verdict", "verdict_of", "write_verdict"]


def write_verdict(
    verdict: Verdict, report: Report, folder: Path, sections: Sequence[ReportSection]
) -> None:
    """Write gate.md, gate.xml (JUnit), the report's pages with the verdict, and gate.json last.

    `sections` are those of the registry.  Raises RunError when the folder cannot be written.
    """
    shown = with_verdict(verdict, sections)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "gate.md", render_summary(verdict))
        write_atomically(folder / "gate.xml", render_junit(verdict))
        write_atomically(folder / "report.md", render_markdown(report, shown))
        write_atomically(folder / "report.html", render_html(report, shown))
        write_atomically(folder / "gate.json", verdict_json(verdict))
    except OSError as error:
        raise RunError(
            f"cannot write the verdict to {folder}: {error.strerror}.",
            hint="Name another folder with --output_path.",
        ) from error


def verdict_of(report: Report, folder: Path) -> Verdict | None:
    """Return the verdict in `folder` if it is on this very report, else None."""
    try:
        verdict = read_verdict(folder / "gate.json")
    except MdhError:
        return None
    return verdict if verdict.report_digest == report_digest(report) else None


def previous_verdict(report: Report, folder: Path, runs: Path) -> Verdict | None:
    """Return the last gate of this run, or else of this pair among `runs`; None: there was none.

    Damaged files and those of other versions are passed over: they must not stop a gate.
    """
    pair = (report.pair.baseline.name, report.pair.candidate.name)
    own = _read(folder / "gate.json", pair)
    if own is not None:
        return own
    return max(_of_pair(pair, runs), key=lambda v: v.date, default=None)


def earlier_verdicts(report: Report, folder: Path, runs: Path) -> list[Verdict]:
    """Return the gates of this pair that are on record: in `folder` and among `runs`."""
    pair = (report.pair.baseline.name, report.pair.candidate.name)
    own = _read(folder / "gate.json", pair)
    return [*([own] if own is not None else []), *_of_pair(pair, runs)]


def _of_pair(pair: tuple[str, str], runs: Path) -> list[Verdict]:
    found = (_read(path, pair) for path in sorted(runs.glob("*/gate.json")))
    return [verdict for verdict in found if verdict is not None]


def _read(path: Path, pair: tuple[str, str]) -> Verdict | None:
    try:
        verdict = read_verdict(path)
    except MdhError:
        return None
    return verdict if (verdict.baseline, verdict.candidate) == pair else None
