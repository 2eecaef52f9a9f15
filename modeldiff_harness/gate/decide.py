"""The verdict on a report under a policy."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import replace

from modeldiff_harness.artifacts import (
    CheckVerdict,
    CriterionVerdict,
    OperatingPoint,
    Report,
    Verdict,
)
from modeldiff_harness.artifacts.gate import Outcome
from modeldiff_harness.errors import GateFailed, Inconclusive, UsageError
from modeldiff_harness.gate.checks import check_report, hold_reason
from modeldiff_harness.gate.expand import expand
from modeldiff_harness.gate.flags import collect_flags, sentence
from modeldiff_harness.gate.looks import next_look
from modeldiff_harness.gate.measure import Measured, Missing, measure
from modeldiff_harness.gate.policy import Policy, Rule
from modeldiff_harness.gate.policy_change import policy_change
from modeldiff_harness.gate.waivers import use_waivers
from modeldiff_harness.gate.words import amount
from modeldiff_harness.report.schema import report_digest
from modeldiff_harness.stats.estimates import Undetermined, critical_value
from modeldiff_harness.stats.gate import (
    Criterion,
    CriterionDecision,
    decide_criteria,
    style_driven_gain,
    style_hidden_loss,
)
from modeldiff_harness.stats.gate_rates import (
    LOSSES_IN_MARGINS,
    operating_characteristics,
    simulate_gate,
)

__all__ = ["EXIT_CODES", "POWER", "gate_report"]

EXIT_CODES: dict[Outcome, int] = {
    "PASS": 0,
    "FAIL": GateFailed.exit_code,
    "INCONCLUSIVE": Inconclusive.exit_code,
}
POWER = 0.80
"""Chance with which an equal candidate passes a margin that is called detectable."""
_SIMULATED_RUNS = 20_000


def gate_report(
    report: Report,
    policy: Policy,
    *,
    now: datetime.datetime,
    previous: Verdict | None = None,
    look: int | None = None,
) -> Verdict:
    """Return the verdict on `report`; `previous` is the last gate of this pair, if any.

    `look`: which report of this pair it is that is gated under this policy, from 1; None: as
    `previous` counts.

    PASS needs every required criterion to exclude a loss of its margin and every check to hold;
    FAIL needs one required criterion with a significant loss (Holm) of at least its margin; all
    else is INCONCLUSIVE.  Raises UsageError for a policy that does not fit the report.
    """
    rules, unmeasured = expand(policy, report)
    level = policy.confidence_a_look
    found = [(rule, measure(report, rule, level)) for rule in rules]
    for rule, measured in found:
        _check_margin(rule, measured)
    decisions = decide_criteria(
        [_criterion(rule, measured) for rule, measured in found],
        policy.family_alpha_a_look,
        level,
    )
    criteria = tuple(
        _held(_told(rule, measured, decision, policy, len(found)), rule, measured, report, policy)
        for (rule, measured), decision in zip(found, decisions, strict=True)
    )
    styles = _styles(report)
    if look is None:
        look = next_look(report, policy, [previous] if previous is not None else [])
    checks = check_report(report, policy, criteria, found, styles=styles, look=look)
    criteria, checks, waivers = use_waivers(policy, criteria, checks, now.date())
    outcome = _whole(criteria, checks)
    verdict = Verdict(
        schema_version=Verdict.SCHEMA_VERSION,
        outcome=outcome,
        exit_code=EXIT_CODES[outcome],
        sentence="",
        baseline=report.pair.baseline.name,
        candidate=report.pair.candidate.name,
        report_digest=report_digest(report),
        report_date=report.provenance.date,
        date=now.isoformat(timespec="seconds"),
        policy_name=policy.name,
        policy_digest=policy.digest(),
        policy=policy.resolved(),
        policy_change=policy_change(previous, policy),
        confidence=level,
        family_alpha=policy.family_alpha_a_look,
        n_family=len(criteria),
        criteria=criteria,
        checks=checks,
        waivers=waivers,
        style_driven_gain=styles[0],
        style_hidden_loss=styles[1],
        look=look,
        flags=(),
        operating=_whole_operating(criteria, policy),
    )
    remarks = [text for _, m in found if isinstance(m, Measured) for text in m.remarks]
    verdict = replace(verdict, sentence=sentence(verdict))
    flags = collect_flags(verdict, report, [*policy.notes, *unmeasured, *remarks])
    return replace(verdict, flags=flags)


def _check_margin(rule: Rule, measured: Measured | Missing) -> None:
    if isinstance(measured, Measured) and measured.unit == "share" and rule.margin >= 1:
        raise UsageError(
            f"the margin of {rule.name} is {rule.margin:g}, but the metric lies between 0 and 1.",
            hint=f"Write {rule.margin / 100:g} for {rule.margin:g} points.",
        )


def _criterion(rule: Rule, measured: Measured | Missing) -> Criterion:
    if isinstance(measured, Missing):
        return Criterion(rule.name, Undetermined(measured.reason, 0), 0.0, rule.margin)
    if not measured.lower < measured.upper:
        reason = f"its interval has no width ({measured.method})"
        return Criterion(rule.name, Undetermined(reason, measured.n), 0.0, rule.margin)
    sign = 1.0 if measured.higher_is_better else -1.0
    low, high = sorted((sign * measured.lower, sign * measured.upper))
    return Criterion(
        rule.name,
        sign * measured.delta,
        measured.se,
        rule.margin,
        df=measured.df,
        interval=(low, high),
        loss_p=measured.loss_p,
        noise_se=measured.noise_se,
    )


def _told(
    rule: Rule,
    measured: Measured | Missing,
    decision: CriterionDecision,
    policy: Policy,
    n_family: int,
) -> CriterionVerdict:
    """Return what the numbers say of one of `n_family` criteria, in the metric's direction."""
    undetermined = decision.criterion.estimate
    told = CriterionVerdict(
        name=rule.name,
        arm=rule.arm,
        subject=_subject(rule, measured),
        outcome=decision.verdict,
        required=rule.required,
        reason=undetermined.reason if isinstance(undetermined, Undetermined) else "",
        unit="Elo" if rule.arm == "preference" else "share",
        margin=rule.margin,
        higher_is_better=True,
        measured=isinstance(measured, Measured),
        owner=rule.owner or policy.owner,
        why=rule.why,
    )
    if isinstance(measured, Missing):
        return told
    told = replace(
        told,
        unit=measured.unit,
        higher_is_better=measured.higher_is_better,
        n=measured.n,
        n_unit=measured.n_unit,
        baseline=measured.baseline,
        candidate=measured.candidate,
        delta=measured.delta,
        method=measured.method,
        noise_se=measured.noise_se,
        n_missing=measured.n_missing,
        tasks=tuple(dict.fromkeys(row.task for row in measured.rows)),
    )
    if decision.lower is None or decision.upper is None:
        return told
    sign = 1.0 if measured.higher_is_better else -1.0
    lower, upper = sorted((sign * decision.lower, sign * decision.upper))
    se = math.hypot(measured.se, measured.noise_se)
    level = policy.confidence_a_look
    reach = critical_value(level, measured.df) + critical_value(2.0 * POWER - 1.0)
    detectable = reach * se + _lost_to_missing(measured)
    told = replace(
        told,
        lower=lower,
        upper=upper,
        se=se,
        loss_p=decision.loss_p,
        loss_p_holm=decision.loss_p_holm,
        detectable=detectable,
        n_needed=math.ceil(measured.n * (detectable / rule.margin) ** 2),
        margin_below_detectable=rule.margin < detectable,
        worse_but_tolerated=decision.worse_but_tolerated,
        data_outcome=decision.verdict,
        operating=operating_characteristics(
            se, rule.margin, n_family, policy.family_alpha_a_look, level
        ),
    )
    return replace(told, reason=_reason(told))


def _lost_to_missing(measured: Measured) -> float:
    """How far the missing items move the lower end of an equal candidate."""
    if measured.best_delta is None:
        return 0.0
    return abs(measured.best_delta - measured.delta)


def _held(
    told: CriterionVerdict, rule: Rule, measured: Measured | Missing, report: Report, policy: Policy
) -> CriterionVerdict:
    """Leave the criterion open where its numbers may not decide."""
    if told.data_outcome is None or isinstance(measured, Missing):
        return told
    held = hold_reason(report, policy.checks, rule, measured)
    if not held and told.data_outcome == "PASS":
        held = measured.too_small
    if not held and told.data_outcome == "FAIL" and not _lost_at_best(measured, rule):
        held = f"were its {measured.n_missing:,} missing items all gained, it would not be lost"
    return replace(told, outcome="INCONCLUSIVE", reason=held) if held else told


def _lost_at_best(measured: Measured, rule: Rule) -> bool:
    """Whether the loss reaches the margin whatever the missing items are."""
    if measured.best_delta is None:
        return True
    best = measured.best_delta if measured.higher_is_better else -measured.best_delta
    return best <= -rule.margin


def _subject(rule: Rule, measured: Measured | Missing) -> str:
    if isinstance(measured, Missing) or rule.arm == "preference":
        return f"{rule.subject} of {rule.within}" if rule.within else rule.subject
    if rule.arm == "capability":
        return f"{rule.subject}: {', '.join(row.task for row in measured.rows)}"
    row = measured.rows[0]
    metric = row.metric if row.filter in ("", "none") else f"{row.metric}, {row.filter}"
    return f"{row.task} {metric}"


def _reason(found: CriterionVerdict) -> str:
    margin = amount(found.margin, found.unit, sign=False)
    if found.outcome == "PASS":
        start = "non-inferior but worse: " if found.worse_but_tolerated else ""
        return f"{start}a loss of {margin} or more is excluded"
    if found.outcome == "FAIL":
        return f"a significant loss of at least {margin}"
    loss = -(found.delta or 0.0) if found.higher_is_better else (found.delta or 0.0)
    if loss >= found.margin:
        return f"the loss reaches {margin} but is not significant"
    if found.n_missing:
        what = "judgments" if found.arm == "preference" else "items"
        return (
            f"a loss of {margin} is not excluded, with {found.n_missing:,} missing {what} at their "
            "worst"
        )
    return f"a loss of {margin} is not excluded"


def _styles(report: Report) -> tuple[bool | None, bool | None]:
    """Whether a preference gain is style, and whether a raw loss is; None: not separated."""
    deltas = report.preferences.deltas
    if deltas is None:
        return None, None
    parts = deltas.raw_elo, deltas.substance_elo, deltas.style_elo
    return style_driven_gain(*parts), style_hidden_loss(*parts)


def _whole(criteria: Sequence[CriterionVerdict], checks: Sequence[CheckVerdict]) -> Outcome:
    counting = [criterion.outcome for criterion in criteria if criterion.counts]
    if "FAIL" in counting:
        return "FAIL"
    held = any(check.outcome != "PASS" and check.waiver is None for check in checks)
    if counting and not held and all(outcome == "PASS" for outcome in counting):
        return "PASS"
    return "INCONCLUSIVE"


def _whole_operating(
    criteria: Sequence[CriterionVerdict], policy: Policy
) -> tuple[OperatingPoint, ...]:
    """Return how often the whole gate decides which way, were all its criteria equally worse."""
    counting = [c for c in criteria if c.counts and c.se]
    if not counting:
        return ()
    ses, margins = [c.se or 0.0 for c in counting], [c.margin for c in counting]
    points = []
    for losses in LOSSES_IN_MARGINS:
        truths = [-losses * margin for margin in margins]
        rates = simulate_gate(
            ses,
            margins,
            truths,
            _SIMULATED_RUNS,
            policy.family_alpha_a_look,
            policy.confidence_a_look,
        ).verdicts
        points.append(OperatingPoint(-losses if losses else 0.0, rates["PASS"], rates["FAIL"]))
    return tuple(points)
