"""What a release must hold: criteria with margins, checks, waivers; the defaults; the digest."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any, Literal

from modeldiff_harness.artifacts import ModelIdentity, Report
from modeldiff_harness.artifacts.codec import to_plain
from modeldiff_harness.errors import UsageError
from modeldiff_harness.store import digest_of
from modeldiff_harness.taxonomy import load_taxonomy

__all__ = [
    "DEFAULT_MARGIN",
    "DEFAULT_MARGIN_ELO",
    "PARTS",
    "SAFETY_CLASS",
    "SAFETY_MARGIN",
    "Arm",
    "RANGES",
    "Checks",
    "ModelPins",
    "Policy",
    "Rule",
    "Waiver",
    "default_margin",
    "default_policy",
    "is_pattern",
    "model_digest",
    "out_of_range",
]

Arm = Literal["benchmark", "capability", "preference"]

DEFAULT_MARGIN = 0.02
"""Tolerated loss of a benchmark, as a share: 2 points."""
SAFETY_MARGIN = 0.01
"""The same for tasks of the safety class."""
DEFAULT_MARGIN_ELO = 20.0
"""Tolerated loss of preference substance."""
SAFETY_CLASS = "safety_content_moderation"
PARTS = ("substance", "raw")
"""Parts of a preference that may be gated: style and dispersion are no qualities."""


RANGES: dict[str, tuple[float, float]] = {
    "confidence": (0.5, 0.999),
    "family_alpha": (0.0001, 0.5),
    "margin": (1e-6, 1e6),
    "margin_elo": (1.0, 1000.0),
    "missing_judgments": (0.0, 1.0),
    "unmatched_items": (0.0, 1.0),
    "lens_conflicts": (0, 1000),
    "looks": (1, 100),
}
"""Setting → smallest and largest value with which a decision means something."""


def out_of_range(setting: str, value: float) -> str:
    """Return what is wrong with the value of one of `RANGES` as a clause, or nothing."""
    least, most = RANGES[setting]
    if isinstance(value, int) and abs(value) > 10**15:
        return f"{setting} has more than 15 digits; it lies between {least:g} and {most:g}"
    if not least <= value <= most:
        return f"{setting} is {value!r}; it lies between {least:g} and {most:g}"
    return ""


def _require_range(setting: str, value: float, whose: str) -> None:
    if problem := out_of_range(setting, value):
        raise UsageError(f"{whose}: {problem}.")


@dataclass(frozen=True)
class Rule:
    """One criterion as the policy states it; a pattern stands for several tasks."""

    name: str
    """Unique; what waivers and reports call it."""
    arm: Arm
    subject: str
    """A task, group or pattern of tasks; a capability; or a part of the preference."""
    margin: float
    """Tolerated loss > 0, in the metric's unit or in Elo."""
    metric: str | None = None
    """Metric of the task; None: the primary one."""
    filter: str | None = None
    """Filter of the task's metric; None: the primary row's, or the only one."""
    within: str | None = None
    """Pattern: only tasks of this capability class. Preference: only this capability."""
    required: bool = True
    """Whether the whole verdict depends on it."""
    owner: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        """Refuse a margin that no decision could rest on."""
        setting = "margin_elo" if self.arm == "preference" else "margin"
        _require_range(setting, self.margin, f"criterion {self.name}")


@dataclass(frozen=True)
class ModelPins:
    """Which models may be gated: digests of `model_digest`, or their first twelve characters."""

    baseline: str | None = None
    candidate: str | None = None


@dataclass(frozen=True)
class Checks:
    """Conditions under which the numbers may decide; a breach is INCONCLUSIVE, never FAIL."""

    missing_judgments: float = 0.02
    """Largest tolerated share of refused, unparsed or truncated judgments."""
    unmatched_items: float = 0.01
    """Largest tolerated share of a task's items that only one model answered."""
    lens_conflicts: int | None = None
    """Most capabilities on which the arms may contradict each other; None: not checked."""
    style_driven_gain: Literal["warn", "hold"] = "warn"
    """What a preference gain that is style does: a warning, or INCONCLUSIVE."""
    style_hidden_loss: Literal["warn", "hold"] = "warn"
    """The same of its mirror, a raw loss that is explained by style."""


@dataclass(frozen=True)
class Waiver:
    """A criterion or check that does not count for a while, with who says so and why."""

    criterion: str
    reason: str
    owner: str
    expires: datetime.date
    """Last day on which it holds (UTC)."""


@dataclass(frozen=True)
class Policy:
    """What a release must hold."""

    criteria: tuple[Rule, ...]
    checks: Checks = Checks()
    waivers: tuple[Waiver, ...] = ()
    name: str = "gate"
    owner: str = ""
    confidence: float = 0.90
    """Of the two-sided intervals: PASS needs their lower end above −margin."""
    family_alpha: float = 0.05
    """Chance of any FAIL at no difference, over all criteria (Holm)."""
    tasks: tuple[str, ...] = ()
    """Tasks or groups that must be measured and gated, whatever the run holds."""
    models: ModelPins = ModelPins()
    """Which two models it is about; other ones, or the two swapped, cannot pass."""
    looks: int | None = None
    """How often one pair may be gated on new results; the error rates are spent over them.  None:
    looks are counted and said, and every one is decided as if it were the only one."""
    notes: tuple[str, ...] = field(default=(), compare=False, metadata={"transient": True})
    """Remarks of the reader, such as that the defaults stand in for a file."""

    def __post_init__(self) -> None:
        """Refuse levels outside what a decision can mean."""
        for setting in ("confidence", "family_alpha"):
            _require_range(setting, getattr(self, setting), "the policy")
        if self.looks is not None:
            _require_range("looks", self.looks, "the policy")

    @property
    def confidence_a_look(self) -> float:
        """Confidence of the intervals of one look: Bonferroni over the planned looks.

        Equal shares of the error, (1 − confidence)/looks each: Pocock's idea of equal looks at its
        most cautious, valid whatever the looks have in common.  C. Jennison and B. W. Turnbull,
        Group Sequential Methods, 2000, chapter 2.
        """
        return 1.0 - (1.0 - self.confidence) / (self.looks or 1)

    @property
    def family_alpha_a_look(self) -> float:
        """Chance of any FAIL at no difference in one look: `family_alpha`/looks."""
        return self.family_alpha / (self.looks or 1)

    def resolved(self) -> dict[str, Any]:
        """Return the policy as plain values with all defaults filled in, as gate.json keeps it."""
        plain: dict[str, Any] = to_plain(self)
        for waiver, found in zip(plain["waivers"], self.waivers, strict=True):
            waiver["expires"] = found.expires.isoformat()
        return plain

    def digest(self) -> str:
        """Return the digest of what the policy demands; comments and layout do not count."""
        return digest_of(self.resolved())


def model_digest(model: ModelIdentity) -> str:
    """Return what pins a model: the digest of its weights, with the adapter's behind a "+"."""
    if model.adapter_digest is None:
        return model.weights_digest
    return f"{model.weights_digest}+{model.adapter_digest}"


def is_pattern(subject: str) -> bool:
    """Say whether `subject` is a pattern of task names (`*`, `?`, `[…]`)."""
    return any(mark in subject for mark in "*?[")


def default_margin(capability_class: str | None) -> float:
    """Return the default margin of a benchmark whose capability is of that class."""
    return SAFETY_MARGIN if capability_class == SAFETY_CLASS else DEFAULT_MARGIN


def default_policy(report: Report) -> Policy:
    """Return the defaults for the arms that `report` measured."""
    criteria: list[Rule] = []
    if report.benchmarks.status == "measured" or report.benchmarks.failures:
        keys = {row.capability for row in report.benchmarks.rows}
        safety = {c.key for c in load_taxonomy().capability_class(SAFETY_CLASS).capabilities}
        if keys & safety:
            criteria.append(
                Rule("safety benchmarks", "benchmark", "*", SAFETY_MARGIN, within=SAFETY_CLASS)
            )
        criteria.append(Rule("benchmarks", "benchmark", "*", DEFAULT_MARGIN))
    if report.preferences.status == "measured":
        criteria.append(Rule("preference substance", "preference", "substance", DEFAULT_MARGIN_ELO))
    note = (
        "No policy was named: the defaults hold, a loss of 2 pt a benchmark, 1 pt in safety, 20 "
        "Elo of substance. `mdh gate init` writes a policy of your own."
    )
    return Policy(tuple(criteria), name="defaults", notes=(note,))
