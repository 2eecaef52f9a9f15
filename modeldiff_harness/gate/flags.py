"""What a reviewer must know beside the verdict, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modeldiff_harness.artifacts import CriterionVerdict, Report, Verdict
from modeldiff_harness.gate.words import amount, counted, rate
from modeldiff_harness.report.wording import with_interval

__all__ = ["collect_flags", "sentence"]

_MOST_NAMED = 4
_MOST_CHANGES = 6


def sentence(verdict: Verdict) -> str:
    """Return the verdict in one sentence."""
    counting = [c for c in verdict.criteria if c.counts]
    required = counted(len(counting), "required criterion")
    if verdict.outcome == "PASS":
        verb = "excludes" if len(counting) == 1 else "exclude"
        start = "The" if len(counting) == 1 else "All"
        return f"{start} {required} {verb} a loss of the margin.{_waived(verdict)}"
    if verdict.outcome == "FAIL":
        failed = [c for c in counting if c.outcome == "FAIL"]
        told = ", ".join(f"{c.name} {amount(c.delta, c.unit)}" for c in failed[:_MOST_NAMED])
        return (
            f"{len(failed)} of {required} lost significantly, by the margin or more: "
            f"{told}{_more(failed)}.{_waived(verdict)}"
        )
    return _undecided(verdict, counting, required)


def _undecided(verdict: Verdict, counting: Sequence[CriterionVerdict], required: str) -> str:
    full_run = next((c for c in verdict.checks if c.name == "full_run"), None)
    if full_run is not None and full_run.outcome != "PASS":
        return f"A limited run cannot gate ({full_run.reason})."
    if not counting:
        return f"No criterion counts.{_waived(verdict)}"
    open_ones = [c for c in counting if c.outcome != "PASS"]
    if open_ones:
        missing = [c for c in open_ones if not c.measured]
        named = ", ".join(c.name for c in open_ones[:_MOST_NAMED])
        not_measured = f" ({len(missing)} not measured)" if missing else ""
        return (
            f"The data cannot decide {len(open_ones)} of {required}{not_measured}: "
            f"{named}{_more(open_ones)}.{_waived(verdict)}"
        )
    held = [c for c in verdict.checks if c.outcome != "PASS" and c.waiver is None]
    told = "; ".join(f"{c.name}: {c.reason}" for c in held)
    return f"All {required} hold, but a check does not: {told}.{_waived(verdict)}"


def _more(found: Sequence[CriterionVerdict]) -> str:
    left = len(found) - _MOST_NAMED
    return f" and {left} more" if left > 0 else ""


def _waived(verdict: Verdict) -> str:
    used = [w for w in verdict.waivers if w.honoured and "not count" in w.detail]
    if not used:
        return ""
    names = ", ".join(w.criterion for w in used)
    return f" Waived: {names}."


def collect_flags(verdict: Verdict, report: Report, remarks: Sequence[str]) -> tuple[str, ...]:
    """Return the sentences, the gravest first; `remarks` are further ones, kept last."""
    sentences = [
        *_waiver_flags(verdict),
        *_policy_flags(verdict),
        *_look_flags(verdict),
        *_style_flags(verdict, report),
        *_amber_flags(verdict),
        *_size_flags(verdict),
        *_prompt_flags(verdict, report),
        *(text if text.endswith(".") else f"{text}." for text in remarks),
    ]
    return tuple(dict.fromkeys(sentences))


def _waiver_flags(verdict: Verdict) -> Iterator[str]:
    for waiver in verdict.waivers:
        if not waiver.honoured:
            yield f"The waiver of {waiver.criterion} ({waiver.owner}): {waiver.detail}."
    for waiver in verdict.waivers:
        if waiver.honoured:
            yield (
                f"{waiver.criterion} is waived until {waiver.expires} by {waiver.owner} "
                f"({waiver.reason}): {waiver.detail}."
            )


def _policy_flags(verdict: Verdict) -> Iterator[str]:
    change = verdict.policy_change
    if change is not None:
        told = "; ".join(change.changes[:_MOST_CHANGES]) or "it is written in another form"
        left = len(change.changes) - _MOST_CHANGES
        more = f"; {left} more stand in gate.json" if left > 0 else ""
        day = change.previous_date[:16].replace("T", " ")
        yield f"The policy changed since the gate of {day}: {told}{more}."


def _style_flags(verdict: Verdict, report: Report) -> Iterator[str]:
    deltas = report.preferences.deltas
    if verdict.style_driven_gain and deltas is not None:
        yield (
            f"Style-driven gain: the raw preference of {with_interval(deltas.raw_elo)} Elo is "
            f"style, {with_interval(deltas.style_elo)}; substance is "
            f"{with_interval(deltas.substance_elo)}."
        )

    if verdict.style_hidden_loss and deltas is not None:
        yield (
            f"Raw loss: the raw preference of {with_interval(deltas.raw_elo)} Elo is explained by "
            f"style, {with_interval(deltas.style_elo)}; substance is "
            f"{with_interval(deltas.substance_elo)}. Readers still see the raw loss."
        )


def _look_flags(verdict: Verdict) -> Iterator[str]:
    planned = verdict.policy.get("looks")
    if planned is not None:
        level = f"{100 * verdict.confidence:.3g} %"
        yield (
            f"Look {verdict.look} of {planned} planned at this pair under this policy: every one "
            f"is decided at its share of the error, with {level} intervals."
        )
    elif verdict.look > 1:
        yield (
            f"This is look {verdict.look} at this pair under this policy: each look at the same "
            "level adds to the chance of a false PASS. `looks: N` in the policy spends one error "
            "rate over N looks."
        )


def _amber_flags(verdict: Verdict) -> Iterator[str]:
    worse = [c for c in verdict.criteria if c.worse_but_tolerated and c.outcome == "PASS"]
    if worse:
        told = ", ".join(f"{c.name} {amount(c.delta, c.unit)}" for c in worse)
        yield f"Non-inferior but worse: {told}."


def _size_flags(verdict: Verdict) -> Iterator[str]:
    sized = [c for c in verdict.criteria if c.detectable is not None]
    small = [c for c in sized if c.margin_below_detectable]
    if small:
        told = "; ".join(
            f"{c.name} {amount(c.margin, c.unit, sign=False)} of "
            f"{amount(c.detectable, c.unit, sign=False)}, an equal candidate passes in "
            f"{rate(c.operating[0].p_pass)} of runs, {c.n_needed:,} {c.n_unit} are needed"
            for c in small[:_MOST_NAMED]
        )
        yield (
            f"{len(small)} of {counted(len(sized), 'margin')} lie below what this size can show "
            f"with 80 % power: {told}{_more(small)}."
        )


def _prompt_flags(verdict: Verdict, report: Report) -> Iterator[str]:
    gated = {c.subject.split(" ")[0].rstrip(":") for c in verdict.criteria}
    rows = [r for r in report.benchmarks.rows if r.prompts_differ and r.task in gated]
    if rows:
        names = ", ".join(dict.fromkeys(row.task for row in rows))
        yield f"The models saw different prompts in {names}."
