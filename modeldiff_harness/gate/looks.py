"""How often one pair was gated under one policy: every look at new results is a chance to pass."""

from __future__ import annotations

from collections.abc import Iterable

from modeldiff_harness.artifacts import Report, Verdict
from modeldiff_harness.gate.policy import Policy
from modeldiff_harness.report.schema import report_digest

__all__ = ["next_look"]


def next_look(report: Report, policy: Policy, verdicts: Iterable[Verdict]) -> int:
    """Return which look at the pair a gate of `report` is, from 1.

    `verdicts`: earlier ones, of any pair and policy.  A report that was gated before is the same
    look again; a policy that demands something else starts anew, and its change is shown.
    """
    pair, digest = (report.pair.baseline.name, report.pair.candidate.name), report_digest(report)
    same = [
        v
        for v in verdicts
        if (v.baseline, v.candidate) == pair and v.policy_digest == policy.digest()
    ]
    again = [verdict.look for verdict in same if verdict.report_digest == digest]
    if again:
        return max(again)
    n_reports = len({verdict.report_digest for verdict in same})
    return 1 + max([n_reports, *(verdict.look for verdict in same)])
