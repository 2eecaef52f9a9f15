"""The history of stored reports as sections for every renderer."""

from __future__ import annotations

from modeldiff_harness.contracts import RenderedSection, ReportTable
from modeldiff_harness.history.figure import history_figure, sparkline
from modeldiff_harness.history.records import History, HistoryEntry, PairHistory
from modeldiff_harness.report.wording import ABSENT, interval, short_digest, signed

__all__ = ["history_sections"]


def history_sections(history: History) -> tuple[RenderedSection, ...]:
    """Return one section a pair, and the reports that could not be read."""
    sections = [_pair(pair) for pair in history.pairs]
    if history.unreadable:
        rows = tuple(sorted(history.unreadable.items()))
        table = ReportTable("Left out", ("folder", "why"), rows)
        sections.append(RenderedSection("unreadable", "Reports that cannot be read", (), (table,)))
    return tuple(sections)


def _pair(pair: PairHistory) -> RenderedSection:
    n = len(pair.entries)
    days = sorted({entry.date[:10] for entry in pair.entries})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    facts = [f"{n} report{'s' if n > 1 else ''}, {when}; moves are told against {pair.reference}."]
    if pair.moves:
        worse = sum(move.worse for move in pair.moves)
        facts.append(
            f"{len(pair.moves)} deltas moved beyond 2.6 standard errors, {worse} for the worse."
        )
    elif n > 1:
        facts.append("No delta moved beyond 2.6 standard errors.")
    if pair.policy_changes:
        facts.append(f"The gate's policy changed at {', '.join(pair.policy_changes)}.")
    figure = history_figure(pair)
    tables = [_reports(pair), _deltas(pair)]
    if pair.moves:
        tables.append(_moves(pair))
    return RenderedSection(
        "history",
        f"History: {pair.baseline} → {pair.candidate}",
        tuple(facts),
        tuple(tables),
        (figure,) if figure else (),
    )


def _reports(pair: PairHistory) -> ReportTable:
    rows, tones = [], []
    before: HistoryEntry | None = None
    for entry in pair.entries:
        marks = ["smoke"] if entry.smoke else []
        marks += [f"saved as {entry.saved_as}"] if entry.saved_as else []
        rows.append(
            (
                entry.date[:16].replace("T", " "),
                entry.name,
                entry.outcome or "no gate",
                short_digest(entry.policy_digest)[:8],
                _models(before, entry),
                ", ".join(marks) or ABSENT,
            )
        )
        tones.append({"PASS": "good", "FAIL": "bad"}.get(entry.outcome or "", ""))
        before = entry
    columns = ("date", "report", "gate", "policy", "weights", "marks")
    note = "Weights: compared with the report before."
    return ReportTable("Reports", columns, tuple(rows), note, tuple(tones))


def _models(before: HistoryEntry | None, entry: HistoryEntry) -> str:
    if before is None:
        return ABSENT
    changed = [
        side
        for side, one, other in (
            ("baseline", before.baseline_digest, entry.baseline_digest),
            ("candidate", before.candidate_digest, entry.candidate_digest),
        )
        if one != other
    ]
    return " and ".join(changed) + " changed" if changed else "same"


def _deltas(pair: PairHistory) -> ReportTable:
    names = list(dict.fromkeys(name for e in reversed(pair.entries) for name in e.numbers))
    rows = []
    for name in names:
        numbers = [entry.numbers.get(name) for entry in pair.entries]
        known = [number for number in numbers if number is not None]
        first, last = known[0], known[-1]
        rows.append(
            (
                name,
                sparkline([None if number is None else number.estimate for number in numbers]),
                signed(first.estimate, 1),
                signed(last.estimate, 1),
                interval(last.lower, last.upper, 1),
                last.unit,
            )
        )
    columns = ("delta", "course", "first", "last", "95 % interval", "unit")
    note = "Course: lowest to highest of the row itself, oldest report first."
    return ReportTable("Deltas, candidate − baseline", columns, tuple(rows), note)


def _moves(pair: PairHistory) -> ReportTable:
    rows = tuple(
        (
            move.number,
            move.entry,
            signed(move.change, 1),
            signed(move.standard_errors, 1),
            "weights changed" if move.weights_changed else "same weights: the measurement moved",
        )
        for move in pair.moves
    )
    tones = tuple("bad" if move.worse else "good" for move in pair.moves)
    columns = ("delta", "report", "change", "standard errors", "models")
    note = (
        f"Against {pair.reference}. The standard error takes the two reports as independent, which "
        "is too careful where they measured the same items."
    )
    return ReportTable("What moved", columns, rows, note, tones)
