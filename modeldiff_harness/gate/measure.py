"""The report's number behind a criterion, with its interval at the gate's confidence.

Reports carry 95 % intervals, a gate decides by others.  Counts of fixed and broken items give the
Bonett-Price interval and the exact one-sided McNemar test anew; a symmetric interval gives its
standard error and, where it is wider than the normal's, the degrees of freedom of its t; the ends
of any other interval are scaled about the estimate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy.optimize import brentq
from scipy.special import bdtr

from modeldiff_harness.artifacts import BenchmarkRow, PreferencesReport, Report
from modeldiff_harness.gate.policy import Rule
from modeldiff_harness.preferences.flags import describe_flag
from modeldiff_harness.report.wording import on_unit_scale
from modeldiff_harness.stats.estimates import critical_value, upper_tail
from modeldiff_harness.stats.paired_binary import bonett_price_interval

__all__ = ["REPORT_CONFIDENCE", "Measured", "Missing", "measure", "measure_row"]

REPORT_CONFIDENCE = 0.95
"""Level of the intervals in a report."""
_FEW_PROMPTS = 100
_MOST_DF = 1e7


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
        rows = [r for r in section.rows if r.primary and r.capability == rule.subject]
        comparable = [row for row in rows if on_unit_scale(row)] or rows[:1]
        if not comparable:
            return Missing(f"no task of the report measures {rule.subject}")
        return _pooled([measure_row(row, confidence) for row in comparable])
    found = _find_row(section.rows, rule)
    if isinstance(found, Missing):
        failed = [f.reason for f in section.failures if f.task == rule.subject]
        return Missing(f"the task failed: {failed[0]}") if failed else found
    return measure_row(found, confidence)


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


def measure_row(row: BenchmarkRow, confidence: float) -> Measured:
    """Return a benchmark row's difference with its interval at `confidence`."""
    made = Measured(
        unit="share" if on_unit_scale(row) else row.metric,
        higher_is_better=row.higher_is_better,
        delta=row.delta,
        lower=row.lower,
        upper=row.upper,
        se=0.0,
        df=None,
        loss_p=None,
        n=row.n,
        n_unit="items",
        method=row.method,
        baseline=row.baseline,
        candidate=row.candidate,
        noise_se=row.noise_se or 0.0,
        rows=(row,),
    )
    gained, lost = _counts(row)
    if gained is not None and lost is not None:
        rising, falling = (gained, lost) if row.higher_is_better else (lost, gained)
        given = bonett_price_interval(rising, falling, row.n, REPORT_CONFIDENCE)
        if math.isclose(given[0], row.lower, abs_tol=1e-9) and math.isclose(
            given[1], row.upper, abs_tol=1e-9
        ):
            low, high, se = bonett_price_interval(rising, falling, row.n, confidence)
            p = float(bdtr(gained, gained + lost, 0.5))
            method = "Bonett-Price interval, exact one-sided McNemar"
            return replace(made, lower=low, upper=high, se=se, loss_p=p, method=method)
    low, high, se, df = _rescaled(row.delta, row.lower, row.upper, row.se, confidence, row.df)
    p_loss = None
    if row.p is not None:
        is_loss = (row.delta < 0) == row.higher_is_better and row.delta != 0
        p_loss = row.p / 2.0 if is_loss else 1.0 - row.p / 2.0
    return replace(made, lower=low, upper=high, se=se, df=df, loss_p=p_loss)


def _counts(row: BenchmarkRow) -> tuple[int | None, int | None]:
    if row.cluster is not None:
        return None, None
    return row.fixed, row.broken


def _pooled(parts: Sequence[Measured]) -> Measured:
    """Return the mean over all items of several tasks, larger being better.

    Weights by n, Σ nᵢδᵢ/Σ nᵢ with independent errors, as the report pools a capability.
    """
    if len(parts) == 1:
        return parts[0]
    total = sum(part.n for part in parts)
    weights = [part.n / total for part in parts]
    oriented = [
        (p.delta, p.lower, p.upper) if p.higher_is_better else (-p.delta, -p.upper, -p.lower)
        for p in parts
    ]
    mean = sum(w * delta for w, (delta, _, _) in zip(weights, oriented, strict=True))
    below = math.hypot(*(w * (d - lo) for w, (d, lo, _) in zip(weights, oriented, strict=True)))
    above = math.hypot(*(w * (hi - d) for w, (d, _, hi) in zip(weights, oriented, strict=True)))
    return Measured(
        unit=parts[0].unit,
        higher_is_better=True,
        delta=mean,
        lower=mean - below,
        upper=mean + above,
        se=math.hypot(*(w * p.se for w, p in zip(weights, parts, strict=True))),
        df=None,
        loss_p=None,
        n=total,
        n_unit="items",
        method=f"{len(parts)} tasks, mean over their items",
        noise_se=math.hypot(*(w * p.noise_se for w, p in zip(weights, parts, strict=True))),
        rows=tuple(row for part in parts for row in part.rows),
    )


def _preference(section: PreferencesReport, rule: Rule, confidence: float) -> Measured | Missing:
    deltas = section.deltas
    if deltas is None:
        return Missing(f"preferences were not measured: {section.reason}")
    remarks = [
        f"{rule.name}: {describe_flag(flag)}"
        for flag in deltas.flags
        if flag.startswith(("no_overlap", "mixed_judge_kinds", "position_unbalanced"))
    ]
    source: str
    if rule.within is None:
        found = deltas.substance_elo if rule.subject == "substance" else deltas.raw_elo
        n, source = deltas.n_prompts, deltas.judge
    else:
        category = next((c for c in deltas.categories if c.capability == rule.within), None)
        if category is None:
            return Missing(f"no prompts of the capability {rule.within} were judged")
        if category.few:
            return Missing(
                f"{category.n_prompts} prompts of {rule.within} are too few to gate; "
                f"{_FEW_PROMPTS} are needed"
            )
        found = category.substance_elo if rule.subject == "substance" else category.raw_elo
        n, source = category.n_prompts, deltas.judge
    if found is None:
        why = "; ".join(describe_flag(flag) for flag in deltas.flags) or "no estimate"
        return Missing(f"{rule.subject} could not be told apart: {why}")
    low, high, se, df = _rescaled(found.estimate, found.lower, found.upper, found.se, confidence)
    return Measured(
        unit="Elo",
        higher_is_better=True,
        delta=found.estimate,
        lower=low,
        upper=high,
        se=se,
        df=df,
        loss_p=None,
        n=n,
        n_unit="prompts",
        method=f"pair fit, clustered by prompt; judge {source}",
        remarks=tuple(remarks),
    )


def _rescaled(
    estimate: float,
    lower: float,
    upper: float,
    se: float | None,
    confidence: float,
    df: float | None = None,
) -> tuple[float, float, float, float | None]:
    """Return (lower, upper, se, df) at `confidence` from a 95 % interval."""
    below, above = estimate - lower, upper - estimate
    symmetric = math.isclose(below, above, rel_tol=1e-6, abs_tol=1e-12)
    if symmetric and se is not None and se > 0:
        df = df or _degrees_of_freedom(above / se)
        half = critical_value(confidence, df) * se
        return estimate - half, estimate + half, se, df
    scale = critical_value(confidence) / critical_value(REPORT_CONFIDENCE)
    low, high = estimate - below * scale, estimate + above * scale
    return low, high, (high - low) / (2.0 * critical_value(confidence)), None


def _degrees_of_freedom(ratio: float) -> float | None:
    """Return the df of the t interval whose half width is `ratio` standard errors at 95 %.

    None where the normal's 1.96 fits; never below 1.
    """
    if ratio < critical_value(REPORT_CONFIDENCE) * (1 + 1e-6):
        return None
    tail = (1.0 - REPORT_CONFIDENCE) / 2.0
    if upper_tail(ratio, 1.0) <= tail:
        return 1.0
    if upper_tail(ratio, _MOST_DF) >= tail:
        return None
    return float(brentq(lambda df: upper_tail(ratio, df) - tail, 1.0, _MOST_DF))
