"""What the commands of `mdh gate` share: the policy and the present time."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from modeldiff_harness.errors import UsageError

if TYPE_CHECKING:
    from modeldiff_harness.artifacts import Report
    from modeldiff_harness.gate.policy import Policy

__all__ = ["now", "policy_of"]


def policy_of(report: Report, file: Path | None) -> Policy:
    """Return the policy of `file`, else the default one for what `report` measured."""
    from modeldiff_harness.gate.policy import default_policy
    from modeldiff_harness.gate.policy_file import read_policy

    if file is not None:
        return read_policy(file)
    policy = default_policy(report)
    if not policy.criteria:
        raise UsageError(
            "the report has neither benchmarks nor preferences to gate.",
            hint="Run `mdh evaluate` with --tasks.",
        )
    return policy


def now() -> datetime.datetime:
    """Return the present time in UTC: waivers end, verdicts are dated."""
    return datetime.datetime.now(datetime.UTC)
