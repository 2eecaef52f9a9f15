"""Section `summary`: the verdict-style first lines."""

from __future__ import annotations

from modeldiff_harness.artifacts import Report
from modeldiff_harness.contracts import RenderedSection, ReportTable
from modeldiff_harness.report.wording import capability_title

__all__ = ["SummarySection", "stamp"]


class SummarySection:
    """What a reviewer reads first: stamp, sentences, conflicts, the state of the arms."""

    name, order = "summary", 100

    def render(self, report: Report) -> RenderedSection:
        """Return the stamp, the sentences, the conflicts and the state of the three arms."""
        paragraphs = [stamp(report), *report.summary, _conflicts(report)]
        return RenderedSection(
            key="summary",
            title="Summary",
            paragraphs=tuple(text for text in paragraphs if text),
            tables=(_arms(report),),
        )


def stamp(report: Report) -> str:
    """Return the line that says how far the run carries, or nothing for a full run."""
    if report.provenance.smoke:
        return "Smoke run, not gateable: a limit or a small budget was set."
    return ""


def _conflicts(report: Report) -> str:
    rows = [row for row in report.capabilities if row.agreement == "conflict"]
    compared = [row for row in report.capabilities if row.agreement != "not measured"]
    if not compared:
        return "No capability was seen through two comparable lenses."
    if not rows:
        return f"No conflict between the arms in {len(compared)} compared capabilities."
    names = ", ".join(capability_title(row.capability) for row in rows)
    return f"The arms point in opposite directions in {len(rows)} of {len(compared)}: {names}."


def _arms(report: Report) -> ReportTable:
    benchmarks, preferences, latents = report.benchmarks, report.preferences, report.latents
    deltas = preferences.deltas
    tasks = len({row.task for row in benchmarks.rows})
    rows = (
        (
            "Benchmarks",
            benchmarks.status,
            f"{tasks} tasks" + ("" if benchmarks.gateable else ", not gateable")
            if benchmarks.status == "measured"
            else benchmarks.reason,
        ),
        (
            "Preferences",
            preferences.status,
            f"{deltas.n_prompts:,} prompts, judge {deltas.judge} ({deltas.judge_kind})"
            + ("" if deltas.gateable else ", not gateable")
            if deltas is not None
            else preferences.reason,
        ),
        (
            "Latents",
            latents.status,
            f"{_dictionaries(len(latents.dictionaries))} on {latents.n_corpus_tokens:,} tokens, "
            f"rule {latents.rule}, exploratory"
            if latents.status == "measured"
            else latents.reason,
        ),
    )
    tones = tuple("" if row[1] == "measured" else "muted" for row in rows)
    return ReportTable("Arms", ("arm", "status", "what"), rows, tones=tones)


def _dictionaries(count: int) -> str:
    return "1 dictionary" if count == 1 else f"{count} dictionaries"
