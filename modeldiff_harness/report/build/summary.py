"""The three sentences a reviewer reads first."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

from modeldiff_harness.artifacts import (
    BenchmarkRow,
    BenchmarksReport,
    LatentsReport,
    PreferencesReport,
)
from modeldiff_harness.report.wording import (
    ended,
    interval,
    on_unit_scale,
    signed,
    with_interval,
)
from modeldiff_harness.stats.missing import worst_case

__all__ = ["summarise"]


def summarise(
    benchmarks: BenchmarksReport, preferences: PreferencesReport, latents: LatentsReport
) -> tuple[str, ...]:
    """Return the largest confirmed loss and gain, style's part of the preference, and the latents.

    The largest of many is biased, so losses and gains are confirmed by simultaneous intervals
    (Bonferroni over the primary rows).  Size is compared among metrics between 0 and 1 only; a
    confirmed change in another unit is named beside.
    """
    return (*_losses_and_gains(benchmarks), _style(preferences), _latents(latents))


@dataclass(frozen=True)
class _Change:
    """A primary row with its simultaneous interval, as measured and candidate − baseline."""

    row: BenchmarkRow
    lower: float
    upper: float

    @property
    def better(self) -> bool | None:
        """Whether the change is a confirmed gain (True) or loss (False); None: neither.

        Never where the two sides may not be one measurement, or too much is missing.
        """
        if self.row.not_comparable or (self.row.n_missing and not self.row.is_bounded):
            return None
        if self.lower <= 0 <= self.upper:
            return None
        return (self.lower > 0) == self.row.higher_is_better

    def told(self) -> str:
        ends = f"{interval(self.lower, self.upper)}, n = {self.row.n:,}"
        lower = "" if self.row.higher_is_better else ", lower is better"
        return f"{self.row.task} {self.row.metric} {signed(self.row.delta)} ({ends}{lower})"


def _losses_and_gains(section: BenchmarksReport) -> tuple[str, ...]:
    if section.status != "measured":
        return (f"Benchmarks were not measured: {ended(section.reason)}",)
    rows = [row for row in section.rows if row.primary]
    if not rows:
        return ("No benchmark gave a primary metric.",)
    changes = [_with_missing(_change(row, len(rows))) for row in rows]
    note = f"simultaneous 95 % interval over {len(rows)} task{'s' if len(rows) > 1 else ''}"
    smoke = "" if section.gateable else "; limited run or failed tasks: not gateable"
    if unlike := [row.task for row in rows if row.not_comparable]:
        smoke += f"; not one measurement and left out: {', '.join(unlike)}"
    return tuple(
        _sentence(word, [c for c in changes if c.better is wanted], f"{note}{smoke}")
        for word, wanted in (("loss", False), ("gain", True))
    )


def _change(row: BenchmarkRow, n_rows: int) -> _Change:
    """Return the row's simultaneous interval; of rows without one the widened 95 % interval."""
    if row.simultaneous is not None:
        return _Change(row, row.simultaneous.lower, row.simultaneous.upper)
    normal = NormalDist()
    widened = normal.inv_cdf(1 - 0.05 / (2 * n_rows)) / normal.inv_cdf(0.975)
    ends = (row.delta + (end - row.delta) * widened for end in (row.lower, row.upper))
    return _Change(row, *ends)


def _with_missing(change: _Change) -> _Change:
    """Take the missing items at their worst for either end, where they can be bounded."""
    row = change.row
    if not row.n_missing or not row.is_bounded:
        return change
    return _Change(row, *worst_case(change.lower, change.upper, row.n, row.n_missing))


def _sentence(word: str, confirmed: list[_Change], note: str) -> str:
    comparable = [c for c in confirmed if on_unit_scale(c.row)]
    others = [c for c in confirmed if not on_unit_scale(c.row)]
    if not confirmed:
        return f"No benchmark {word} is confirmed ({note})."
    if not comparable:
        return f"Confirmed {word}: {'; '.join(c.told() for c in others)}; {note}."
    largest = max(comparable, key=lambda c: abs(c.row.delta))
    beside = f" In other units: {'; '.join(c.told() for c in others)}." if others else ""
    return f"Largest confirmed {word}: {largest.told()}; {note}.{beside}"


def _style(section: PreferencesReport) -> str:
    deltas = section.deltas
    if deltas is None:
        return f"Preferences were not measured: {ended(section.reason)}"
    raw = deltas.raw_elo
    start = (
        f"Preference ({deltas.judge}, {deltas.n_prompts:,} prompts): raw "
        f"{signed(raw.estimate, 0)} Elo ({interval(raw.lower, raw.upper, 0)})"
    )
    if raw.lower <= 0 <= raw.upper:
        start += ", not distinguishable from none"
    if deltas.substance_elo is None or deltas.style_elo is None:
        return f"{start}; how much of it is style could not be separated."
    substance, style = with_interval(deltas.substance_elo), with_interval(deltas.style_elo)
    return f"{start}, of which substance {substance} and style {style}."


def _latents(section: LatentsReport) -> str:
    if section.status != "measured":
        return f"Latents were not measured: {ended(section.reason)}"
    first = [d for d in section.dictionaries if d.replicate == 0]

    def count(rule: str, owner: str) -> int | None:
        if any(rule not in dictionary.counts for dictionary in first):
            return None
        return sum(dictionary.counts[rule][owner] for dictionary in first)

    parts = []
    for rule in dict.fromkeys(rule for d in first for rule in (*d.counts, *d.rules_skipped)):
        own, theirs = count(rule, "candidate"), count(rule, "baseline")
        parts.append(f"{rule} skipped" if own is None else f"{rule} {own} and {theirs}")
    return (
        "Latents specific to candidate and baseline (exploratory), by rule: "
        + "; ".join(parts)
        + "."
    )
