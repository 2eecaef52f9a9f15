"""The verdict as the first section of a report, for every renderer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modeldiff_harness.artifacts import CriterionVerdict, OperatingPoint, Verdict
from modeldiff_harness.contracts import RenderedSection, ReportSection, ReportTable
from modeldiff_harness.gate.figure import margin_plot
from modeldiff_harness.gate.words import (
    EXIT_MEANINGS,
    amount,
    criterion_interval,
    margin_text,
    outcome_text,
    rate,
    size,
    test_text,
)
from modeldiff_harness.report.wording import ABSENT, number, short_digest

__all__ = ["VerdictSection", "headline", "render_verdict", "with_verdict"]

_TONES = {"PASS": "good", "FAIL": "bad", "INCONCLUSIVE": "muted"}
_LOSSES = ("no loss", "half the margin", "the margin", "twice the margin")


class VerdictSection:
    """A report section that shows one verdict; satisfies `ReportSection`."""

    name = "gate"
    order = 50

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def render(self, report: Any) -> RenderedSection:
        """Return the verdict; the report's own numbers are in it."""
        return render_verdict(self.verdict)


def with_verdict(verdict: Verdict, sections: Sequence[ReportSection]) -> tuple[ReportSection, ...]:
    """Return `sections` with the verdict's in front."""
    return (VerdictSection(verdict), *sections)


def headline(verdict: Verdict) -> str:
    """Return "PASS – exit code 0: released"."""
    return f"{verdict.outcome} – {EXIT_MEANINGS[verdict.outcome]}"


def render_verdict(verdict: Verdict) -> RenderedSection:
    """Return the verdict with criteria, checks, waivers and operating characteristics."""
    figure = margin_plot(verdict.criteria)
    tables = [_criteria(verdict), *_checks(verdict), *_waivers(verdict)]
    tables += [_details(verdict), *_operating(verdict)]
    return RenderedSection(
        key=f"gate-{verdict.outcome.lower()}",
        title="Release gate",
        paragraphs=(headline(verdict), verdict.sentence, *verdict.flags, _policy(verdict)),
        tables=tuple(tables),
        figures=(figure,) if figure else (),
        reading=(
            f"PASS: the {100 * verdict.confidence:g} % interval excludes a loss of the margin. "
            "FAIL: the loss is significant over the whole family of criteria (Holm) and reaches "
            "the margin. INCONCLUSIVE: neither; a larger run decides, a wider margin decides "
            "nothing.",
        ),
    )


def _policy(verdict: Verdict) -> str:
    owner = f", owner {verdict.policy['owner']}" if verdict.policy.get("owner") else ""
    return (
        f"Policy {verdict.policy_name}{owner}, digest {short_digest(verdict.policy_digest)}; "
        f"gated {verdict.date[:10]}, report of {verdict.report_date[:10]}."
    )


def _criteria(verdict: Verdict) -> ReportTable:
    rows = tuple(
        (
            c.name,
            outcome_text(c),
            amount(c.delta, c.unit),
            criterion_interval(c),
            margin_text(c),
            size(c),
            c.reason,
        )
        for c in verdict.criteria
    )
    columns = (
        "criterion",
        "verdict",
        "Δ",
        f"{100 * verdict.confidence:g} % interval",
        "margin",
        "size",
        "reason",
    )
    tones = tuple(_tone(c) for c in verdict.criteria)
    return ReportTable("Criteria", columns, rows, tones=tones)


def _tone(found: CriterionVerdict) -> str:
    return _TONES[found.outcome] if found.counts else "muted"


def _checks(verdict: Verdict) -> tuple[ReportTable, ...]:
    if not verdict.checks:
        return ()
    rows = tuple(
        (
            c.name.replace("_", " "),
            c.outcome + (", waived" if c.waiver else ""),
            number(c.observed),
            number(c.at_most),
            c.reason,
        )
        for c in verdict.checks
    )
    tones = tuple(_TONES[c.outcome] for c in verdict.checks)
    note = "A check that does not hold leaves the gate INCONCLUSIVE; it never blocks."
    columns = ("check", "verdict", "observed", "at most", "what")
    return (ReportTable("Checks", columns, rows, note, tones),)


def _waivers(verdict: Verdict) -> tuple[ReportTable, ...]:
    if not verdict.waivers:
        return ()
    rows = tuple((w.criterion, w.expires, w.owner, w.reason, w.detail) for w in verdict.waivers)
    tones = tuple("" if w.honoured else "bad" for w in verdict.waivers)
    columns = ("waived", "until", "owner", "reason", "effect")
    return (ReportTable("Waivers", columns, rows, tones=tones),)


def _details(verdict: Verdict) -> ReportTable:
    rows = tuple(
        (
            c.name,
            c.subject,
            c.data_outcome or ABSENT,
            test_text(c),
            amount(c.se, c.unit, sign=False),
            amount(c.noise_se or None, c.unit, sign=False),
            amount(c.detectable, c.unit, sign=False),
            ABSENT if c.n_needed is None else f"{c.n_needed:,}",
            ABSENT if not c.n_missing else f"{c.n_missing:,}",
            c.method or ABSENT,
            c.owner or ABSENT,
            c.why or ABSENT,
        )
        for c in verdict.criteria
    )
    columns = (
        "criterion",
        "measures",
        "numbers alone say",
        "p / Holm p of a loss",
        "se",
        "noise se",
        "detectable",
        "n needed",
        "missing",
        "method",
        "owner",
        "why",
    )
    note = (
        "Detectable: the smallest margin that an equal candidate passes in 80 % of runs of this "
        "size. n needed: the size at which the policy's margin is that margin. Missing: items or "
        "judgments without a result; the interval takes them all for lost, and all for gained."
    )
    return ReportTable("Criteria, tests and sizes", columns, rows, note, collapsed=True)


def _operating(verdict: Verdict) -> tuple[ReportTable, ...]:
    points: list[tuple[str, Sequence[OperatingPoint]]] = []
    if verdict.operating:
        points.append(("whole gate, all criteria alike", verdict.operating))
    points += [(c.name, c.operating) for c in verdict.criteria if c.operating]
    if not points:
        return ()
    rows = tuple((name, *(_chances(point) for point in found)) for name, found in points)
    note = (
        "Chance of PASS / FAIL if the candidate truly lost that much, for runs of this size: "
        "normal estimates, criteria independent of each other."
    )
    columns = ("criterion", *_LOSSES)
    return (ReportTable("How often this gate is right", columns, rows, note, collapsed=True),)


def _chances(point: OperatingPoint) -> str:
    return f"{rate(point.p_pass)} / {rate(point.p_fail)}"
