"""Waivers: what does not count today, and why one is not honoured."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from modeldiff_harness.artifacts import CheckVerdict, CriterionVerdict, WaiverUse
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.gate.policy import Policy, Waiver

__all__ = ["use_waivers"]


def use_waivers(
    policy: Policy,
    criteria: Sequence[CriterionVerdict],
    checks: Sequence[CheckVerdict],
    today: datetime.date,
) -> tuple[tuple[CriterionVerdict, ...], tuple[CheckVerdict, ...], tuple[WaiverUse, ...]]:
    """Return criteria and checks with the honoured waivers attached, and all waivers as used.

    A waiver holds through its last day.  Raises UsageError for one that names nothing, or that
    would let a limited run decide.
    """
    outcomes: dict[str, str] = {c.name: c.outcome for c in criteria}
    outcomes |= {c.name: c.outcome for c in checks}
    used = tuple(_use(waiver, outcomes, policy, today) for waiver in policy.waivers)
    honoured = {waiver.criterion: waiver for waiver in used if waiver.honoured}
    return (
        tuple(replace(c, waiver=honoured.get(c.name)) for c in criteria),
        tuple(replace(c, waiver=honoured.get(c.name)) for c in checks),
        used,
    )


def _use(
    waiver: Waiver, outcomes: dict[str, str], policy: Policy, today: datetime.date
) -> WaiverUse:
    name = waiver.criterion
    if name == "full_run":
        raise UsageError(
            "a waiver cannot let a limited run decide.", hint="Run without --limit, then gate."
        )
    if name == "pinned_models":
        raise UsageError(
            "a waiver cannot let other models than the pinned ones decide.",
            hint="Change `models` in the policy.",
        )
    use = WaiverUse(name, waiver.reason, waiver.owner, waiver.expires.isoformat(), False, "")
    if name not in outcomes:
        if any(fnmatchcase(name, rule.subject) for rule in policy.criteria):
            return replace(use, detail="the report has no such task")
        raise UsageError(
            f"a waiver names {name!r}, which is no criterion of the gate.",
            hint=did_you_mean(name, outcomes),
        )
    if waiver.expires < today:
        return replace(use, detail=f"expired on {waiver.expires.isoformat()}, not honoured")
    if outcomes[name] == "PASS":
        return replace(use, honoured=True, detail="not needed: it passes")
    return replace(use, honoured=True, detail=f"its {outcomes[name]} does not count")
