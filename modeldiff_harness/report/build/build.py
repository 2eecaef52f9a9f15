"""`report`: the arms' artifacts side by side, per capability."""

from __future__ import annotations

from modeldiff_harness.artifacts import (
    BenchmarkItem,
    BenchmarkResults,
    BenchmarksReport,
    LatentsReport,
    PreferenceDeltas,
    PreferencesReport,
    Report,
)
from modeldiff_harness.report.build.inputs import LatentFindings, NotMeasured, ReportInputs
from modeldiff_harness.report.build.latents import latents_report
from modeldiff_harness.report.build.lenses import capability_rows
from modeldiff_harness.report.build.summary import summarise

__all__ = ["build_report"]

FLIPPED_PER_TASK = 5
"""Items fixed and items broken shown a task; `BenchmarkResults` keeps all."""


def build_report(inputs: ReportInputs) -> Report:
    """Return the report of a pair; every delta is candidate − baseline.

    An arm that was not run is "not measured" with its reason, never zero and never a failure.
    """
    benchmarks = _benchmarks(inputs.benchmarks)
    preferences = _preferences(inputs.preferences)
    latents = _latents(inputs.latents)
    return Report(
        schema_version=Report.SCHEMA_VERSION,
        pair=inputs.pair,
        comparability=inputs.comparability.checks,
        summary=summarise(benchmarks, preferences, latents),
        benchmarks=benchmarks,
        preferences=preferences,
        latents=latents,
        capabilities=capability_rows(benchmarks, preferences, latents),
        provenance=inputs.provenance,
    )


def _benchmarks(found: BenchmarkResults | NotMeasured) -> BenchmarksReport:
    if isinstance(found, NotMeasured):
        return BenchmarksReport("not measured", found.reason)
    if not found.rows:
        reasons = "; ".join(f"{f.task}: {f.reason}" for f in found.failures)
        return BenchmarksReport(
            "not measured", reasons or "no task gave a result", failures=found.failures
        )
    return BenchmarksReport(
        status="measured",
        rows=found.rows,
        failures=found.failures,
        gateable=found.limit is None and not found.failures,
        limit=found.limit,
        flipped=_flipped(found),
        notes=found.notes,
        alignments=found.alignments,
        answer_faults=found.answer_faults,
    )


def _flipped(found: BenchmarkResults) -> tuple[BenchmarkItem, ...]:
    """Return a few fixed and a few broken items of every task with a binary metric."""
    better = {(r.task, r.metric, r.filter): r.higher_is_better for r in found.rows if r.primary}
    binary = {
        (r.task, r.metric, r.filter) for r in found.rows if r.primary and r.counts is not None
    }
    shown: dict[tuple[str, bool], int] = {}
    kept = []
    for item in found.items:
        key = (item.task, item.metric, item.filter)
        if key not in binary or item.baseline == item.candidate:
            continue
        fixed = (item.candidate > item.baseline) == better[key]
        if shown.get((item.task, fixed), 0) < FLIPPED_PER_TASK:
            shown[item.task, fixed] = shown.get((item.task, fixed), 0) + 1
            kept.append(item)
    return tuple(kept)


def _preferences(found: PreferenceDeltas | NotMeasured) -> PreferencesReport:
    if isinstance(found, NotMeasured):
        return PreferencesReport("not measured", found.reason)
    return PreferencesReport("measured", deltas=found)


def _latents(found: LatentFindings | NotMeasured) -> LatentsReport:
    if isinstance(found, NotMeasured):
        return LatentsReport("not measured", found.reason)
    return latents_report(found)
