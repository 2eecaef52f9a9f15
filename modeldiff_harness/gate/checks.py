"""Conditions under which a report's numbers may decide a release at all."""

from __future__ import annotations

from collections.abc import Sequence

from modeldiff_harness.artifacts import (
    BenchmarkRow,
    CheckVerdict,
    CriterionVerdict,
    ModelIdentity,
    PreferenceDeltas,
    Report,
)
from modeldiff_harness.artifacts.gate import Outcome
from modeldiff_harness.gate.measure import Measured, Missing, missing_judgments
from modeldiff_harness.gate.policy import Checks, ModelPins, Policy, Rule, model_digest

__all__ = ["check_report", "hold_reason", "missing_rate"]


def hold_reason(report: Report, checks: Checks, rule: Rule, measured: Measured) -> str:
    """Return why the criterion's numbers may not decide, or nothing.

    Limited runs and heuristic judges never gate; missing judgments and items beyond what the policy
    tolerates, failed tasks of a capability, and sides that are not one measurement leave the
    criterion open.
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
        return "; ".join(measured.holds)
    worst = max(map(_missing_share, measured.rows), default=0.0)
    if worst > checks.unmatched_items:
        return (
            f"{100 * worst:.1f} % of the items have no difference (only one model answered, or no "
            f"score), more than the tolerated {100 * checks.unmatched_items:g} %"
        )
    return "; ".join(measured.holds)


def check_report(
    report: Report,
    policy: Policy,
    criteria: Sequence[CriterionVerdict],
    found: Sequence[tuple[Rule, Measured | Missing]],
    *,
    styles: tuple[bool | None, bool | None],
    look: int,
) -> tuple[CheckVerdict, ...]:
    """Return the checks that concern this gate's criteria.

    `styles`: whether a preference gain is style, and whether style hides a raw loss.  `look`: which
    gate of this pair under this policy it is.
    """
    checks = policy.checks
    limits = _limits(report)
    made = [
        CheckVerdict(
            "full_run",
            "INCONCLUSIVE" if limits else "PASS",
            limits if limits else "no limit was set",
        )
    ]
    if policy.tasks:
        made.append(_required_tasks(report, policy.tasks, criteria))
    if policy.models != ModelPins():
        made.append(_pinned_models(report, policy.models))
    if policy.looks is not None:
        made.append(_looks(look, policy.looks))
    deltas = report.preferences.deltas
    gated = any(c.arm == "preference" for c in criteria)
    if gated and deltas is not None:
        share = missing_rate(deltas)
        n_missing = missing_judgments(deltas)
        told = f"{n_missing:,} of {deltas.n_battles + n_missing:,} judgments are missing"
        made.append(_most("missing_judgments", share, checks.missing_judgments, told))
        if checks.style_driven_gain == "hold":
            made.append(_style("style_driven_gain", "preference gain", styles[0]))
        if checks.style_hidden_loss == "hold":
            made.append(_style("style_hidden_loss", "raw preference loss", styles[1]))
    rows = [row for _, m in found if isinstance(m, Measured) for row in m.rows]
    if rows:
        worst = max(rows, key=_missing_share)
        n_missing, share = _n_missing(worst), _missing_share(worst)
        told = f"most in {worst.task}: {n_missing:,} of {worst.n + n_missing:,}"
        made.append(_most("unmatched_items", share, checks.unmatched_items, told))
    if checks.lens_conflicts is not None:
        names = [row.capability for row in report.capabilities if row.agreement == "conflict"]
        marks = [row.agreement for row in report.capabilities if row.agreement != "not measured"]
        told = (
            f"the arms contradict each other on {', '.join(names) or 'no capability'}; "
            f"{marks.count('unclear')} of {len(marks)} compared are undecided"
        )
        made.append(_most("lens_conflicts", len(names), checks.lens_conflicts, told))
    return tuple(made)


def missing_rate(deltas: PreferenceDeltas) -> float:
    """Return the share of judgments that were refused, truncated, unreadable or failed."""
    n_missing = missing_judgments(deltas)
    n = deltas.n_battles + n_missing
    return n_missing / n if n else 0.0


def _required_tasks(
    report: Report, tasks: Sequence[str], criteria: Sequence[CriterionVerdict]
) -> CheckVerdict:
    """Whether every task that the policy names was measured, and some criterion decides on it."""
    failed = {failure.task for failure in report.benchmarks.failures}
    measured = {row.task for row in report.benchmarks.rows}
    deciding = [c for c in criteria if c.required]
    gated = {c.name for c in deciding} | {task for c in deciding for task in c.tasks}
    open_ones = []
    for task in tasks:
        if task in failed:
            open_ones.append(f"{task} failed")
        elif task not in measured:
            open_ones.append(f"{task} was not measured")
        elif task not in gated:
            open_ones.append(f"no required criterion names {task}")
    told = "; ".join(open_ones) or f"all {len(tasks)} are there"
    return _most("required_tasks", len(open_ones), 0, told)


def _pinned_models(report: Report, pins: ModelPins) -> CheckVerdict:
    """Whether the two models are those that the policy pins, each in its place."""
    models = {"baseline": report.pair.baseline, "candidate": report.pair.candidate}
    wanted = {"baseline": pins.baseline, "candidate": pins.candidate}
    wrong = {
        role: pin
        for role, pin in wanted.items()
        if pin is not None and not _is_pinned(models[role], pin)
    }
    if not wrong:
        return CheckVerdict("pinned_models", "PASS", "the models are the policy's")
    others = {"baseline": "candidate", "candidate": "baseline"}
    swapped = [role for role, pin in wrong.items() if _is_pinned(models[others[role]], pin)]
    told = "; ".join(
        f"the {role} {models[role].name} is {model_digest(models[role])[:25]}, not {pin[:25]}"
        for role, pin in wrong.items()
    )
    start = "baseline and candidate are swapped: " if swapped else ""
    return CheckVerdict("pinned_models", "INCONCLUSIVE", f"{start}{told}")


def _is_pinned(model: ModelIdentity, pin: str) -> bool:
    """A pin is a digest or its first characters, of the adapter's too where there is one."""
    weights, _, adapter = pin.partition("+")
    if not model.weights_digest.startswith(weights):
        return False
    if model.adapter_digest is None:
        return not adapter
    return bool(adapter) and model.adapter_digest.startswith(adapter)


def _looks(look: int, planned: int) -> CheckVerdict:
    told = f"look {look} of {planned}"
    return _most("looks", look, planned, told)


def _most(name: str, observed: float, at_most: float, told: str) -> CheckVerdict:
    outcome: Outcome = "PASS" if observed <= at_most else "INCONCLUSIVE"
    return CheckVerdict(name, outcome, told, float(observed), float(at_most))


def _style(name: str, what: str, found: bool | None) -> CheckVerdict:
    if found is None:
        return CheckVerdict(name, "INCONCLUSIVE", "style was not separated")
    if found:
        return CheckVerdict(name, "INCONCLUSIVE", f"the {what} is style")
    return CheckVerdict(name, "PASS", f"no {what} that is style alone")


def _n_missing(row: BenchmarkRow) -> int:
    return max(row.n_missing, row.n_unmatched)


def _missing_share(row: BenchmarkRow) -> float:
    n_missing = _n_missing(row)
    return n_missing / (row.n + n_missing) if n_missing else 0.0


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
