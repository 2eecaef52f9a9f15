"""The report's number behind a criterion, with its interval at the gate's confidence.

Reports carry 95 % intervals, a gate decides by others.  How an interval was made says how the
other follows: right or wrong from the counts of fixed and broken items (`guarded_interval`, with
the exact one-sided McNemar test), normal and t from the standard error; the ends of any other
interval are scaled about the estimate.  A row's guarded ends, which hold for rare losses, move the
gate's out.  Where a row's items are too few for any bound, no loss is excluded: a score between 0
and 1 gets the whole scale for an interval, another metric no number.

Items and judgments that are missing stand at their worst for either end: every missing item lost,
or every one gained (C. F. Manski, Partial Identification of Probability Distributions, 2003).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from scipy.special import bdtr

from modeldiff_harness.artifacts import (
    BenchmarkRow,
    BenchmarksReport,
    Estimate,
    PairedCounts,
    PreferenceDeltas,
    PreferencesReport,
    Report,
)
from modeldiff_harness.gate.policy import Rule
from modeldiff_harness.preferences.flags import describe_flag
from modeldiff_harness.stats.estimates import critical_value
from modeldiff_harness.stats.missing import worst_case
from modeldiff_harness.stats.paired_binary import guarded_interval
from modeldiff_harness.stats.stratified import PooledPart, pool_by_items

__all__ = [
    "FEWEST_CLUSTERS",
    "FEWEST_ITEMS",
    "REPORT_CONFIDENCE",
    "Ends",
    "Measured",
    "Missing",
    "at_confidence",
    "is_share",
    "measure",
    "measure_row",
    "missing_judgments",
]

REPORT_CONFIDENCE = 0.95
"""Level of the intervals in a report."""
FEWEST_ITEMS = 30
"""Of a metric that is not right or wrong, from which a criterion can pass."""
FEWEST_CLUSTERS = 20
FEWEST_PROMPTS_TO_GATE = 30
"""Prompts or conversations below which a whole preference decides nothing."""
_FEW_PROMPTS = 100
_SAID_OF_PREFERENCES = ("no_overlap", "mixed_judge_kinds", "position_unbalanced",
                        "position_unknown")  # fmt: skip
_HOLD_PREFERENCES = ("position_not_identified",)


class Ends(NamedTuple):
    """An interval at the gate's confidence."""

    lower: float
    upper: float
    se: float
    """The standard error behind it; else half its width over the normal's critical value."""
    df: float | None
    """Of its t; None: the normal."""


@dataclass(frozen=True)
class Measured:
    """A difference, candidate − baseline in its own direction."""

    unit: str
    higher_is_better: bool
    delta: float
    lower: float
    """Lower end of the two-sided interval at the gate's confidence."""
    upper: float
    se: float
    """Half the interval's width over its critical value."""
    df: float | None
    loss_p: float | None
    """One-sided p of a loss; None: from estimate and standard error."""
    n: int
    n_unit: str
    method: str
    baseline: float | None = None
    candidate: float | None = None
    noise_se: float = 0.0
    rows: tuple[BenchmarkRow, ...] = ()
    """The rows behind it."""
    remarks: tuple[str, ...] = ()
    n_missing: int = 0
    """Items or judgments that are not among `n`; the interval holds them at their worst."""
    best_delta: float | None = None
    """The difference had the candidate gained every missing item; None: nothing is missing."""
    holds: tuple[str, ...] = ()
    """Why the number may not decide, a clause each."""
    too_small: str = ""
    """Why it may not pass: below the size from which the intervals keep their promise."""


@dataclass(frozen=True)
class Missing:
    """Why there is no number."""

    reason: str


def measure(report: Report, rule: Rule, confidence: float) -> Measured | Missing:
    """Return the number behind `rule`, whose subject is no pattern, or why there is none."""
    if rule.arm == "preference":
        return _preference(report.preferences, rule, confidence)
    section = report.benchmarks
    if section.status != "measured":
        return Missing(f"benchmarks were not measured: {section.reason}")
    if rule.arm == "capability":
        return _of_capability(section, rule, confidence)
    found = _find_row(section.rows, rule)
    if isinstance(found, Missing):
        failed = [f.reason for f in section.failures if f.task == rule.subject]
        if failed:
            return Missing(f"the task failed: {failed[0]}")
        told = [note for note in section.notes if note.startswith(f"{rule.subject}: no row")]
        return Missing(told[0]) if told else found
    return measure_row(found, confidence)


def _of_capability(section: BenchmarksReport, rule: Rule, confidence: float) -> Measured | Missing:
    """Return the mean over a capability's tasks; one that failed holds it."""
    rows = [r for r in section.rows if r.primary and r.capability == rule.subject]
    comparable = [row for row in rows if is_share(row)] or rows[:1]
    failed = [f for f in section.failures if f.capability == rule.subject]
    told = tuple(f"its task {f.task} failed: {f.reason}" for f in failed)
    if not comparable:
        return Missing("; ".join(told) or f"no task of the report measures {rule.subject}")
    left = [f"{row.task} ({row.metric})" for row in rows if row not in comparable]
    remarks = [f"{rule.name}: in another unit and not counted: {', '.join(left)}"] if left else []
    pooled = _pooled([_observed(row, confidence) for row in comparable], comparable)
    if isinstance(pooled, Missing):
        return pooled
    return replace(
        _at_worst(pooled), holds=(*pooled.holds, *told), remarks=(*pooled.remarks, *remarks)
    )


def is_share(row: BenchmarkRow) -> bool:
    """Say whether the row is gated in points: by the baseline, so that a collapse stays in."""
    return 0.0 <= row.baseline <= 1.0


def _find_row(rows: Sequence[BenchmarkRow], rule: Rule) -> BenchmarkRow | Missing:
    """Return the row that a criterion names: the primary one unless it names another metric.

    A group's row is never primary; it is taken when the group has one row that fits.
    """
    of_task = [row for row in rows if row.task == rule.subject]
    if not of_task:
        return Missing(f"the report has no task {rule.subject}")
    found = [row for row in of_task if rule.metric in (None, row.metric)]
    found = [row for row in found if rule.filter in (None, row.filter)]
    primary = [row for row in found if row.primary]
    if len(found) == 1 or primary:
        return (primary or found)[0]
    known = ", ".join(f"{row.metric},{row.filter}" for row in of_task)
    wanted = ",".join(part for part in (rule.metric, rule.filter) if part)
    what = f"no {wanted}" if not found else f"more than one metric{' ' + wanted if wanted else ''}"
    return Missing(f"{rule.subject} has {what}; it has {known}")


def measure_row(row: BenchmarkRow, confidence: float) -> Measured | Missing:
    """Return a row's difference with its interval at `confidence`, at its worst, or why not."""
    found = _observed(row, confidence)
    return found if isinstance(found, Missing) else _at_worst(found)


def _observed(row: BenchmarkRow, confidence: float) -> Measured | Missing:
    """The same over the items that have a difference, whatever is missing."""
    if row.not_gateable and not is_share(row):
        return Missing(row.not_gateable)
    n_missing = max(row.n_missing, row.n_unmatched)
    if row.interval_method == "Bonett-Price" and row.counts is not None:
        ends, loss_p = _from_counts(row, row.counts, n_missing, confidence)
        method = "interval of paired proportions, exact one-sided McNemar"
    else:
        known = Estimate(row.delta, row.lower, row.upper, row.se, row.df, row.interval_method)
        ends, loss_p = _guarded(row, at_confidence(known, confidence), confidence), _loss_p(row)
        method = row.method
    if row.not_gateable:  # a loss can still be significant, but none is excluded
        ends = ends._replace(lower=-1.0, upper=1.0)
    return Measured(
        unit="share" if is_share(row) else row.metric,
        higher_is_better=row.higher_is_better,
        delta=row.delta,
        **ends._asdict(),
        loss_p=loss_p,
        n=row.n,
        n_unit="items",
        method=method,
        baseline=row.baseline,
        candidate=row.candidate,
        noise_se=row.noise.se if row.noise is not None else 0.0,
        rows=(row,),
        remarks=(f"{row.task}: {row.not_gateable}",) if row.not_gateable else (),
        n_missing=n_missing,
        holds=(*row.not_comparable, *_without_bound(row, n_missing)),
        too_small=_too_small(row),
    )


def _without_bound(row: BenchmarkRow, n_missing: int) -> Iterator[str]:
    if n_missing and not row.is_bounded:
        yield (
            f"{n_missing:,} of {row.n + n_missing:,} items are missing and nothing bounds what "
            f"{row.metric} would be on them"
        )


def _too_small(row: BenchmarkRow) -> str:
    """Below these sizes resampling and t intervals of skewed values miss more than they promise."""
    if row.clusters is not None and row.clusters.n < FEWEST_CLUSTERS:
        return f"{row.clusters.n} clusters are too few to pass; {FEWEST_CLUSTERS} are needed"
    if row.counts is None and row.n < FEWEST_ITEMS:
        return f"{row.n} items are too few to pass; {FEWEST_ITEMS} are needed"
    return ""


def _at_worst(found: Measured) -> Measured:
    """Move the ends by what the missing items can do: each lost in full, or gained in full."""
    if not found.n_missing:
        return found
    lower, upper = worst_case(found.lower, found.upper, found.n, found.n_missing)
    lost, gained = worst_case(found.delta, found.delta, found.n, found.n_missing)
    best = gained if found.higher_is_better else lost
    return replace(found, lower=lower, upper=upper, best_delta=best)


def _from_counts(
    row: BenchmarkRow, counts: PairedCounts, n_missing: int, confidence: float
) -> tuple[Ends, float | None]:
    """Return interval and exact one-sided p of a loss with every missing item gained."""
    gained, lost = counts.fixed, counts.broken
    rising, falling = (gained, lost) if row.higher_is_better else (lost, gained)
    lower, upper, se = guarded_interval(rising, falling, row.n, confidence)
    p = float(bdtr(gained + n_missing, gained + n_missing + lost, 0.5))
    return Ends(lower, upper, se, None), p


def _loss_p(row: BenchmarkRow) -> float | None:
    """Return the row's two-sided p as one-sided p of a loss."""
    if row.p is None:
        return None
    is_loss = (row.delta < 0) == row.higher_is_better and row.delta != 0
    return row.p / 2.0 if is_loss else 1.0 - row.p / 2.0


def _pooled(
    parts: Sequence[Measured | Missing], rows: Sequence[BenchmarkRow]
) -> Measured | Missing:
    """Return the mean over all items of several tasks, larger being better."""
    for part, row in zip(parts, rows, strict=True):
        if isinstance(part, Missing):
            return Missing(f"{row.task}: {part.reason}")
    known = [part for part in parts if isinstance(part, Measured)]
    if len(known) == 1:
        return known[0]
    pooled = pool_by_items([_better(part) for part in known])
    total = sum(part.n for part in known)
    return Measured(
        unit=known[0].unit,
        higher_is_better=True,
        delta=pooled.delta,
        lower=pooled.lower,
        upper=pooled.upper,
        se=pooled.se or 0.0,
        df=pooled.df,
        loss_p=None,
        n=total,
        n_unit="items",
        method=f"{len(known)} tasks, mean over their items",
        noise_se=math.hypot(*(part.n / total * part.noise_se for part in known)),
        rows=tuple(row for part in known for row in part.rows),
        remarks=tuple(text for part in known for text in part.remarks),
        n_missing=sum(part.n_missing for part in known),
        holds=tuple(f"{part.rows[0].task}: {clause}" for part in known for clause in part.holds),
        too_small="; ".join(
            f"{part.rows[0].task}: {part.too_small}" for part in known if part.too_small
        ),
    )


def _better(part: Measured) -> PooledPart:
    """Return the part with larger being better."""
    if part.higher_is_better:
        return PooledPart(part.n, part.delta, part.lower, part.upper, part.se, part.df)
    return PooledPart(part.n, -part.delta, -part.upper, -part.lower, part.se, part.df)


def _preference(section: PreferencesReport, rule: Rule, confidence: float) -> Measured | Missing:
    deltas = section.deltas
    if deltas is None:
        return Missing(f"preferences were not measured: {section.reason}")
    remarks = [
        f"{rule.name}: {describe_flag(flag)}"
        for flag in deltas.flags
        if flag.startswith(_SAID_OF_PREFERENCES)
    ]
    holds = [describe_flag(flag) for flag in deltas.flags if flag.startswith(_HOLD_PREFERENCES)]
    source, too_small = "", ""
    if rule.within is None:
        if too_few := _too_few_prompts(deltas):
            return Missing(too_few)
        found = deltas.substance_elo if rule.subject == "substance" else deltas.raw_elo
        n, source = deltas.n_prompts, deltas.judge
    else:
        category = next((c for c in deltas.categories if c.capability == rule.within), None)
        if category is None:
            return Missing(f"no prompts of the capability {rule.within} were judged")
        if category.few:
            return Missing(
                f"{category.n_prompts} prompts of {rule.within} are too few to gate, or too few of "
                f"them prefer a side; {_FEW_PROMPTS} are needed"
            )
        found = category.substance_elo if rule.subject == "substance" else category.raw_elo
        n, source = category.n_prompts, deltas.judge
    if found is None:
        why = "; ".join(describe_flag(flag) for flag in deltas.flags) or "no estimate"
        return Missing(f"{rule.subject} could not be told apart: {why}")
    ends = at_confidence(found, confidence)
    n_missing = missing_judgments(deltas)
    worst, best = _elo_of_missing(deltas.win_rate.estimate, deltas.n_battles, n_missing)
    return Measured(
        unit="Elo",
        higher_is_better=True,
        delta=found.estimate,
        lower=ends.lower + worst,
        upper=ends.upper + best,
        se=ends.se,
        df=ends.df,
        loss_p=None,
        n=n,
        n_unit="prompts",
        method=f"pair fit, clustered by prompt; judge {source}",
        remarks=tuple(remarks),
        n_missing=n_missing,
        best_delta=found.estimate + best if n_missing else None,
        holds=tuple(holds),
        too_small=too_small,
    )


def _too_few_prompts(deltas: PreferenceDeltas) -> str:
    """Return why so few prompts, or so few that prefer a side, decide nothing, or nothing."""
    n_clusters = deltas.n_clusters
    if n_clusters < FEWEST_PROMPTS_TO_GATE:
        return (
            f"{n_clusters} prompts or conversations are too few to gate; "
            f"{FEWEST_PROMPTS_TO_GATE} are needed"
        )
    decided = [flag for flag in deltas.flags if flag.startswith("few_decided")]
    return describe_flag(decided[0]) if decided else ""


def missing_judgments(deltas: PreferenceDeltas) -> int:
    """Count the judgments that are not there: refused, cut, failed, or rows that cannot be read."""
    return deltas.n_invalid


def _elo_of_missing(win_rate: float, n: int, n_missing: int) -> tuple[float, float]:
    """Return the Elo that the missing judgments take were all lost, and give were all won."""
    if not n_missing:
        return 0.0, 0.0
    total = n + n_missing
    least = 0.5 / total  # half a battle keeps the log odds finite
    wins = [win_rate * n / total, (win_rate * n + n_missing) / total]
    low, high = (min(1.0 - least, max(least, share)) for share in wins)
    known = min(1.0 - least, max(least, win_rate))
    worst, best = (_elo(share) - _elo(known) for share in (low, high))
    return min(0.0, worst), max(0.0, best)


def _elo(win_rate: float) -> float:
    return 400.0 * math.log10(win_rate / (1.0 - win_rate))


def at_confidence(known: Estimate, confidence: float) -> Ends:
    """Return the ends at `confidence` of an estimate that is known with its 95 % interval."""
    if known.method in ("normal", "t") and known.se:
        half = critical_value(confidence, known.df) * known.se
        return Ends(known.estimate - half, known.estimate + half, known.se, known.df)
    reach, scale = critical_value(confidence), _scale(confidence)
    lower = known.estimate - (known.estimate - known.lower) * scale
    upper = known.estimate + (known.upper - known.estimate) * scale
    return Ends(lower, upper, (upper - lower) / (2.0 * reach), None)


def _scale(confidence: float) -> float:
    """Return by how much an interval's arms grow from the report's confidence to the gate's.

    By the normal's critical values; above 95 % those of an exponential tail, as bounds of rare
    losses have it, are larger.
    """
    normal = critical_value(confidence) / critical_value(REPORT_CONFIDENCE)
    if confidence <= REPORT_CONFIDENCE:
        return normal
    exponential = math.log((1.0 - confidence) / 2.0) / math.log((1.0 - REPORT_CONFIDENCE) / 2.0)
    return max(normal, exponential)


def _guarded(row: BenchmarkRow, ends: Ends, confidence: float) -> Ends:
    """Return the ends moved out to the row's guarded ones."""
    if row.guarded is None:
        return ends
    scale = _scale(confidence)
    return ends._replace(
        lower=min(ends.lower, row.delta - (row.delta - row.guarded.lower) * scale),
        upper=max(ends.upper, row.delta + (row.guarded.upper - row.delta) * scale),
    )
