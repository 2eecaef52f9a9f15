"""Stored reports in the order of their dates: deltas, verdicts, and what moved."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from modeldiff_harness.artifacts import Report, Verdict
from modeldiff_harness.errors import MdhError
from modeldiff_harness.gate.schema import read_verdict
from modeldiff_harness.history.records import (
    History,
    HistoryEntry,
    HistoryNumber,
    Move,
    PairHistory,
)
from modeldiff_harness.report.schema import read_report, report_digest
from modeldiff_harness.report.wording import on_unit_scale

__all__ = ["gather_history", "stored_reports"]

MOVED = 2.576
"""Standard errors of a difference of two deltas that count as a move (1 %, two-sided)."""


def stored_reports(data: Path) -> list[tuple[str, bool, Path]]:
    """Return (name, saved, folder) of every folder with a report below the data folder."""
    found = []
    for kind, saved in (("runs", False), ("baselines", True)):
        for file in sorted((data / kind).glob("*/report.json")):
            found.append((file.parent.name, saved, file.parent))
    return found


def gather_history(
    stored: Iterable[tuple[str, bool, Path]],
    *,
    baseline: str | None = None,
    candidate: str | None = None,
    reference: str | None = None,
) -> History:
    """Read the reports and group them by pair; `baseline` and `candidate` choose pairs.

    A report that cannot be read is named in `unreadable` and does not cost the others.
    `reference`: name of the entry that moves are told against, where a pair has it.
    """
    entries: list[HistoryEntry] = []
    unreadable: dict[str, str] = {}
    for name, saved, folder in stored:
        try:
            report = read_report(folder / "report.json")
            pair = (report.pair.baseline.name, report.pair.candidate.name)
            if (baseline or pair[0], candidate or pair[1]) != pair:
                continue
            entries.append(_entry(name, saved, folder, report))
        except MdhError as error:
            unreadable[str(folder)] = error.message
    entries = _merged(entries)
    entries.sort(key=lambda entry: (entry.date, entry.name))
    pairs = sorted({(entry.baseline, entry.candidate) for entry in entries})
    return History(
        tuple(
            _pair([e for e in entries if (e.baseline, e.candidate) == pair], reference)
            for pair in pairs
        ),
        unreadable,
    )


def _merged(entries: Sequence[HistoryEntry]) -> list[HistoryEntry]:
    """Make one entry of a run and of its saved copy."""
    found: dict[tuple[str, str], HistoryEntry] = {}
    for entry in sorted(entries, key=lambda entry: entry.saved_as is not None):
        key = (entry.date, entry.report_digest)
        if entry.saved_as is not None and key in found:
            found[key] = replace(found[key], saved_as=entry.saved_as)
        else:
            # Two runs of one second with one result stay two.
            found[key if key not in found else (entry.date, entry.folder)] = entry
    return list(found.values())


def _entry(name: str, saved: bool, folder: Path, report: Report) -> HistoryEntry:
    verdict = _verdict(folder)
    return HistoryEntry(
        name=name,
        saved_as=name if saved else None,
        folder=str(folder),
        date=report.provenance.date,
        baseline=report.pair.baseline.name,
        candidate=report.pair.candidate.name,
        baseline_digest=_weights(report, "baseline"),
        candidate_digest=_weights(report, "candidate"),
        report_digest=report_digest(report),
        smoke=report.provenance.smoke,
        outcome=verdict.outcome if verdict else None,
        policy_digest=verdict.policy_digest if verdict else None,
        numbers=_numbers(report),
    )


def _verdict(folder: Path) -> Verdict | None:
    file = folder / "gate.json"
    return read_verdict(file) if file.is_file() else None


def _weights(report: Report, side: str) -> str | None:
    identity = getattr(report.pair, side)
    parts = [identity.weights_digest, identity.adapter_digest]
    return "+".join(part for part in parts if part) or None


def _numbers(report: Report) -> dict[str, HistoryNumber]:
    numbers = {}
    for row in report.benchmarks.rows:
        if not row.primary:
            continue
        scale, unit = (100.0, "points") if on_unit_scale(row) else (1.0, row.metric)
        numbers[row.task] = HistoryNumber(
            scale * row.delta,
            scale * row.lower,
            scale * row.upper,
            None if row.se is None else scale * row.se,
            unit,
            row.higher_is_better,
        )
    deltas = report.preferences.deltas
    for name, part in (deltas.elo_parts if deltas is not None else {}).items():
        if name != "dispersion":
            numbers[f"preference, {name}"] = HistoryNumber(
                part.estimate, part.lower, part.upper, part.se, "Elo", higher_is_better=True
            )
    return numbers


def _pair(entries: Sequence[HistoryEntry], reference: str | None) -> PairHistory:
    named = [e for e in entries if reference is not None and reference in (e.name, e.saved_as)]
    first = named[-1] if named else entries[0]
    moves = [
        move
        for entry in entries
        if entry is not first and entry.date >= first.date
        for move in _moves(first, entry)
    ]
    gated = [entry for entry in entries if entry.policy_digest is not None]
    changed = [
        later.name
        for before, later in pairwise(gated)
        if before.policy_digest != later.policy_digest
    ]
    name = reference if named and reference is not None else first.name
    return PairHistory(
        first.baseline, first.candidate, name, tuple(entries), tuple(moves), tuple(changed)
    )


def _moves(first: HistoryEntry, later: HistoryEntry) -> Iterable[Move]:
    same = (first.baseline_digest, first.candidate_digest) == (
        later.baseline_digest,
        later.candidate_digest,
    )
    for name, number in later.numbers.items():
        before = first.numbers.get(name)
        if before is None or before.unit != number.unit or not before.se or not number.se:
            continue
        change = number.estimate - before.estimate
        errors = change / math.hypot(before.se, number.se)
        if abs(errors) > MOVED:
            worse = (change < 0) == number.higher_is_better
            yield Move(name, later.name, first.name, change, errors, worse, not same)
