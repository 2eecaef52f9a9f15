"""What the gate makes: gate.json, the one source of every other form of a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

__all__ = [
    "CheckVerdict",
    "CriterionVerdict",
    "OperatingPoint",
    "Outcome",
    "PolicyChange",
    "Verdict",
    "WaiverUse",
]

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]


@dataclass(frozen=True)
class OperatingPoint:
    """How often a criterion, or a whole gate, is decided which way at one true difference."""

    true_delta: float
    """The assumed candidate − baseline, in the criterion's unit; of a whole gate, in margins."""
    p_pass: float
    """Chance of PASS."""
    p_fail: float
    """Chance of FAIL; of one criterion, at Holm's strictest step."""

    @property
    def p_inconclusive(self) -> float:
        """Chance of neither."""
        return max(0.0, 1.0 - self.p_pass - self.p_fail)


@dataclass(frozen=True)
class WaiverUse:
    """A waiver of the policy, and whether it was honoured on the day of the gate."""

    criterion: str
    """Name of the criterion or check that is waived."""
    reason: str
    owner: str
    expires: str
    """Last day on which it holds, as an ISO date (UTC)."""
    honoured: bool
    detail: str
    """Why it was not honoured, or what it did."""


@dataclass(frozen=True)
class CriterionVerdict:
    """One thing that must not get worse by its margin or more."""

    name: str
    """What the policy calls it; unique."""
    arm: Literal["benchmark", "capability", "preference"]
    subject: str
    """The task with its metric, the capability, or the part of the preference."""
    outcome: Outcome
    required: bool
    reason: str
    """One clause in words."""
    unit: str
    """share (of 1; shown in points), Elo, or the metric's own name."""
    margin: float
    """The tolerated loss m > 0, in that unit."""
    higher_is_better: bool
    measured: bool
    """False when the report holds no such number; the fields below are then null."""
    n: int | None = None
    n_unit: str = ""
    """items or prompts."""
    baseline: float | None = None
    candidate: float | None = None
    delta: float | None = None
    """candidate − baseline, in the metric's own direction."""
    lower: float | None = None
    """Lower end of the two-sided interval at the gate's confidence."""
    upper: float | None = None
    se: float | None = None
    """Standard error that the operating characteristics use, noise floor included."""
    noise_se: float = 0.0
    """Standard error from reruns of the baseline (`--replicates`); widens interval and null."""
    loss_p: float | None = None
    """One-sided p of a loss."""
    loss_p_holm: float | None = None
    """The same, adjusted over the gate's criteria."""
    detectable: float | None = None
    """Smallest margin that an equal candidate passes in 80 % of runs of this size."""
    n_needed: int | None = None
    """Items or prompts with which the policy's margin would be that margin."""
    margin_below_detectable: bool = False
    """Whether the run is too small for its margin."""
    worse_but_tolerated: bool = False
    """Amber: it passes, and the whole interval is a loss."""
    data_outcome: Outcome | None = None
    """What the numbers alone say; differs from `outcome` where the run may not gate."""
    method: str = ""
    """Where interval and p come from."""
    waiver: WaiverUse | None = None
    """The honoured waiver, if any: the outcome is shown and does not count."""
    owner: str = ""
    why: str = ""
    """The policy's own words on why the criterion is there."""
    operating: tuple[OperatingPoint, ...] = ()
    """At true differences 0, −m/2, −m and −2m (a loss) for the run's own size."""
    n_missing: int = 0
    """Items or judgments without a result; the interval holds them at their worst."""
    tasks: tuple[str, ...] = ()
    """The tasks whose rows it rests on."""

    @property
    def counts(self) -> bool:
        """Whether the whole verdict depends on it."""
        return self.required and self.waiver is None


@dataclass(frozen=True)
class CheckVerdict:
    """A condition under which the numbers may decide at all; PASS or INCONCLUSIVE, never FAIL."""

    name: str
    outcome: Outcome
    reason: str
    observed: float | None = None
    at_most: float | None = None
    waiver: WaiverUse | None = None


@dataclass(frozen=True)
class PolicyChange:
    """How the policy differs from that of the last gate of this pair."""

    previous_digest: str
    previous_date: str
    changes: tuple[str, ...]
    """One clause a change."""


@dataclass(frozen=True)
class Verdict:
    """The release decision on a report: gate.json."""

    SCHEMA_VERSION: ClassVar[int] = 1

    schema_version: int
    outcome: Outcome
    exit_code: int
    """0 PASS, 1 FAIL, 3 INCONCLUSIVE."""
    sentence: str
    """The verdict in one sentence."""
    baseline: str
    candidate: str
    report_digest: str
    """Of the report that was judged."""
    report_date: str
    date: str
    """When the gate ran, UTC."""
    policy_name: str
    policy_digest: str
    policy: dict[str, Any]
    """As resolved, defaults filled in."""
    policy_change: PolicyChange | None
    """None when there was no gate of this pair before, or its policy was the same."""
    confidence: float
    """Of the two-sided intervals."""
    family_alpha: float
    """Chance of any FAIL at no difference."""
    n_family: int
    """Criteria over which Holm's adjustment runs."""
    criteria: tuple[CriterionVerdict, ...]
    checks: tuple[CheckVerdict, ...]
    waivers: tuple[WaiverUse, ...]
    """All waivers of the policy, honoured or not."""
    style_driven_gain: bool | None
    """Whether a preference gain is style; None when style was not separated."""
    flags: tuple[str, ...]
    """What a reviewer must know beside the verdict, a sentence each."""
    style_hidden_loss: bool | None = None
    """Whether a raw preference loss is explained by style; None when style was not separated."""
    look: int = 1
    """Which report of this pair it is that was gated under this policy, counting from 1."""
    operating: tuple[OperatingPoint, ...] = field(default=())
    """Of the whole gate, when all measured criteria truly lose 0, ½, 1 and 2 margins."""
