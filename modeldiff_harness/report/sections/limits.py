"""Section `limits`: what the run cannot say."""

from __future__ import annotations

from collections.abc import Iterator

from modeldiff_harness.artifacts import BenchmarksReport, LatentsReport, PreferencesReport, Report
from modeldiff_harness.contracts import RenderedSection
from modeldiff_harness.report.sections.summary import stamp
from modeldiff_harness.report.wording import ended, on_unit_scale

__all__ = ["LimitsSection"]


class LimitsSection:
    """What this run cannot say."""

    name, order = "limits", 1000

    def render(self, report: Report) -> RenderedSection:
        """Return the limits, each from a fact of the run."""
        lines = [
            stamp(report),
            *_not_measured(report),
            *_benchmarks(report.benchmarks),
            *_preferences(report.preferences),
            *_latents(report.latents),
            *(f"Shipped, not computed here: {text}" for text in report.provenance.shipped),
        ]
        return RenderedSection("limits", "Limits", tuple(line for line in lines if line))


def _not_measured(report: Report) -> Iterator[str]:
    for name, arm in (
        ("Benchmarks", report.benchmarks),
        ("Preferences", report.preferences),
        ("Latents", report.latents),
    ):
        if arm.status != "measured":
            yield f"{name} were not measured: {ended(arm.reason)} No evidence of equality."


def _benchmarks(found: BenchmarksReport) -> Iterator[str]:
    if found.failures:
        yield f"{len(found.failures)} tasks failed and are missing from every count."
    primary = [row for row in found.rows if row.primary and on_unit_scale(row)]
    wide = [row.task for row in primary if (row.mde or 0) > 0.05]
    if wide:
        yield (
            f"{len(wide)} tasks cannot show a difference below 5 points (see MDE): "
            "“no difference” there means little."
        )


def _preferences(found: PreferencesReport) -> Iterator[str]:
    if found.deltas is None:
        return
    yield (
        "Substance means preference at equal measured style, not true quality: style can be "
        "part of the help."
    )
    if found.deltas.judge_kind == "verifiable":
        yield "The judge checks what programs can check; it does not read for quality."


def _latents(found: LatentsReport) -> Iterator[str]:
    if found.status != "measured":
        return
    yield (
        "A latent difference is a hypothesis about what training changed; it is labelled by "
        "machine and does not gate."
    )
    if found.profile is not None and not found.profile.sign_stability:
        yield "Fewer than three dictionary seeds: how stable the shares are is unknown."
