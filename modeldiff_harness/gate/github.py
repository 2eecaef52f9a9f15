"""The verdict in a GitHub workflow: the step summary and a few annotations.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from collections.abc import Iterator

from modeldiff_harness.artifacts import CriterionVerdict, Verdict
from modeldiff_harness.gate.section import headline
from modeldiff_harness.gate.words import (
    amount,
    criterion_interval,
    margin_text,
    outcome_text,
    size,
)
from modeldiff_harness.report.render.markdown import escape_markdown
from modeldiff_harness.report.render.plain_text import one_line
from modeldiff_harness.report.wording import short_digest

__all__ = ["MOST_ANNOTATIONS", "MOST_BYTES", "render_summary", "workflow_commands"]

MOST_BYTES = 200_000
"""Size of a step summary; GitHub refuses more than a megabyte for all steps together."""
MOST_ANNOTATIONS = 5
_LONGEST = 400
"""Most characters of a text that comes from outside, in a summary's cell or an annotation."""
_MARKS = {"PASS": "✅", "FAIL": "❌", "INCONCLUSIVE": "⚪"}
_ORDER = {"FAIL": 0, "INCONCLUSIVE": 1, "PASS": 2}


def render_summary(verdict: Verdict) -> str:
    """Return the verdict as Markdown of less than 200 kB, what blocks first.

    Rows that would not fit are left out and counted.
    """
    pair = escape_markdown(_short(f"{verdict.baseline} → {verdict.candidate}"))
    lines = [
        f"## {_MARKS[verdict.outcome]} {escape_markdown(headline(verdict))}",
        "",
        f"**{pair}**: {escape_markdown(_short(verdict.sentence))}",
        "",
        *(f"- {escape_markdown(_short(text))}" for text in verdict.flags[:20]),
        "",
        f"| criterion | verdict | Δ | {100 * verdict.confidence:g} % interval | margin | size "
        "| reason |",
        "|---|---|---|---|---|---|---|",
    ]
    tail = ["", *_checks(verdict), _closing(verdict), ""]
    room = MOST_BYTES - sum(len(line.encode()) + 1 for line in (*lines, *tail)) - 200
    rows = sorted(verdict.criteria, key=lambda c: (not c.counts, _ORDER[c.outcome]))
    for n, found in enumerate(rows):
        line = _row(found)
        room -= len(line.encode()) + 1
        if room < 0:
            lines += ["", f"{len(rows) - n} more criteria stand in gate.json."]
            break
        lines.append(line)
    return "\n".join([*lines, *tail])


def _row(found: CriterionVerdict) -> str:
    cells = (
        found.name,
        outcome_text(found),
        amount(found.delta, found.unit),
        criterion_interval(found),
        margin_text(found),
        size(found),
        found.reason,
    )
    shown = [escape_markdown(_short(cell)) for cell in cells]
    shown[1] = f"{_MARKS[found.outcome]} {shown[1]}"
    return f"| {' | '.join(shown)} |"


def _checks(verdict: Verdict) -> list[str]:
    held = [c for c in verdict.checks if c.outcome != "PASS"]
    lines = []
    for check in held:
        waived = f" (waived by {check.waiver.owner})" if check.waiver else ""
        text = f"{check.name.replace('_', ' ')}: {check.reason}{waived}"
        lines.append(f"- {_MARKS[check.outcome]} {escape_markdown(_short(text))}")
    return [*lines, ""] if lines else []


def _closing(verdict: Verdict) -> str:
    name = escape_markdown(_short(verdict.policy_name))
    return (
        f"Policy {name}, digest `{short_digest(verdict.policy_digest)}`. Every Δ is candidate − "
        "baseline. PASS: the interval excludes a loss of the margin."
    )


def workflow_commands(verdict: Verdict) -> tuple[str, ...]:
    """Return at most five workflow commands: failures as errors, then what is open, then flags."""
    found = list(_annotations(verdict))
    if len(found) > MOST_ANNOTATIONS:
        left = len(found) - MOST_ANNOTATIONS + 1
        text = f"{left} more findings stand in the step summary and in gate.json."
        found = [*found[: MOST_ANNOTATIONS - 1], _command("warning", "mdh gate", text)]
    return tuple(found)


def _annotations(verdict: Verdict) -> Iterator[str]:
    rows = sorted((c for c in verdict.criteria if c.counts), key=lambda c: _ORDER[c.outcome])
    if verdict.outcome == "INCONCLUSIVE":
        yield _command("warning", "mdh gate: INCONCLUSIVE", verdict.sentence)
    for c in rows:
        if c.outcome == "PASS":
            continue
        level = "error" if c.outcome == "FAIL" else "warning"
        text = f"{c.name}: {c.reason}"
        if c.delta is not None:
            text += f"; Δ {amount(c.delta, c.unit)} ({criterion_interval(c)})"
        yield _command(level, f"mdh gate: {c.outcome}", f"{text}; margin {margin_text(c)}")
    for text in verdict.flags:
        yield _command("warning", "mdh gate", text)


def _command(level: str, title: str, message: str) -> str:
    return f"::{level} title={_property(_short(title))}::{_data(_short(message))}"


def _data(text: str) -> str:
    """Escape a command's message; everything is on one line already."""
    return one_line(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
