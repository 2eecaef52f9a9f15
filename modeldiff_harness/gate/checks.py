"""Conditions under which a report's numbers may decide a release at all."""

from __future__ import annotations

from collections.abc import Sequence

from modeldiff_harness.artifacts import CheckVerdict, CriterionVerdict, PreferenceDeltas, Report
from modeldiff_harness.artifacts.gate import Outcome
from modeldiff_harness.gate.measure import Measured, Missing
from modeldiff_harness.gate.policy import Checks, Rule

__all__ = ["check_report", "hold_reason", "missing_rate"]


def hold_reason(report: Report, checks: Checks, rule: Rule, measured: Measured) -> str:
    """Return why the criterion's numbers may not decide, or nothing.

    Limited runs and heuristic judges never gate; missing judgments and unmatched items beyond what
    the policy tolerates leave the criterion open.
    """
    if limits := _limits(report):
        return f"a limited run cannot gate ({limits})"
    if rule.arm == "preference":
        deltas = report.preferences.deltas
        if deltas is None:
            return f"preferences were not measured: {report.preferences.reason}"
        if deltas.judge_kind == "heuristic":
            return f"the judge {deltas.judge} is a heuristic: a diagnostic that cannot gate"
        if not deltas.gateable:
            return f"judgments of kind {deltas.judge_kind!r} cannot gate"
        missing = missing_rate(deltas)
        if missing > checks.missing_judgments:
            return (
                f"{100 * missing:.1f} % of the judgments are missing, more than the tolerated "
                f"{100 * checks.missing_judgments:g} %"
            )
        return ""
    worst = max((_unmatched(row.n, row.n_unmatched) for row in measured.rows), default=0.0)
    if worst > checks.unmatched_items:
        return (
            f"{100 * worst:.1f} % of the items have only one answer, more than the tolerated "
            f"{100 * checks.unmatched_items:g} %"
        )
    return ""


def check_report(
    report: Report,
    checks: Checks,
    criteria: Sequence[CriterionVerdict],
    found: Sequence[tuple[Rule, Measured | Missing]],
    *,
    style_driven: bool | None,
) -> tuple[CheckVerdict, ...]:
    """Return the checks that concern this gate's criteria."""
    limits = _limits(report)
    made = [
        CheckVerdict(
            "full_run",
            "INCONCLUSIVE" if limits else "PASS",
            limits if limits else "no limit was set",
        )
    ]
    deltas = report.preferences.deltas
    gated = any(c.arm == "preference" for c in criteria)
    if gated and deltas is not None:
        share = missing_rate(deltas)
        n = deltas.n_battles + deltas.n_invalid
        told = f"{deltas.n_invalid:,} of {n:,} judgments are missing"
        made.append(_most("missing_judgments", share, checks.missing_judgments, told))
        if checks.style_driven_gain == "hold":
            made.append(_style(style_driven))
    rows = [row for _, m in found if isinstance(m, Measured) for row in m.rows]
    if rows:
        worst = max(rows, key=lambda row: _unmatched(row.n, row.n_unmatched))
        told = f"most in {worst.task}: {worst.n_unmatched:,} of {worst.n + worst.n_unmatched:,}"
        share = _unmatched(worst.n, worst.n_unmatched)
        made.append(_most("unmatched_items", share, checks.unmatched_items, told))
    if checks.lens_conflicts is not None:
        names = [row.capability for row in report.capabilities if row.agreement == "conflict"]
        told = f"the arms contradict each other on {', '.join(names) or 'no capability'}"
        made.append(_most("lens_conflicts", len(names), checks.lens_conflicts, told))
    return tuple(made)


def missing_rate(deltas: PreferenceDeltas) -> float:
    """Return the share of judgments that were refused, truncated, unparsed or failed."""
    n = deltas.n_battles + deltas.n_invalid
    return deltas.n_invalid / n if n else 0.0


def _most(name: str, observed: float, at_most: float, told: str) -> CheckVerdict:
    outcome: Outcome = "PASS" if observed <= at_most else "INCONCLUSIVE"
    return CheckVerdict(name, outcome, told, float(observed), float(at_most))


def _style(style_driven: bool | None) -> CheckVerdict:
    if style_driven is None:
        return CheckVerdict("style_driven_gain", "INCONCLUSIVE", "style was not separated")
    if style_driven:
        return CheckVerdict("style_driven_gain", "INCONCLUSIVE", "the preference gain is style")
    return CheckVerdict("style_driven_gain", "PASS", "no preference gain that is style alone")


def _unmatched(n: int, n_unmatched: int) -> float:
    return n_unmatched / (n + n_unmatched) if n_unmatched else 0.0


def _limits(report: Report) -> str:
    """Return the limits that make the run a smoke run, in words, or nothing."""
    limits = []
    limit = report.benchmarks.limit
    if limit is not None:
        limits.append(
            f"{limit:g} items a task" if limit >= 1 else f"{100 * limit:g} % of the items"
        )
    deltas = report.preferences.deltas
    if deltas is not None and "smoke" in deltas.flags:
        limits.append(f"{deltas.n_prompts:,} prompts")
    if report.provenance.smoke and not limits:
        limits.append("the report is stamped as a smoke run")
    return ", ".join(limits)
