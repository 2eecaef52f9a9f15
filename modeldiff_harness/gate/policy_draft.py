"""A commented policy whose margins fit what a run can show."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterator, Sequence

import yaml

from modeldiff_harness.artifacts import CriterionVerdict, Report
from modeldiff_harness.errors import UsageError
from modeldiff_harness.gate.decide import POWER, gate_report
from modeldiff_harness.gate.policy import (
    DEFAULT_MARGIN_ELO,
    RANGES,
    Checks,
    Policy,
    Rule,
    default_margin,
    model_digest,
)
from modeldiff_harness.gate.words import amount
from modeldiff_harness.report.render.plain_text import one_line
from modeldiff_harness.stats.estimates import critical_value
from modeldiff_harness.taxonomy import load_taxonomy

__all__ = ["draft_policy", "policy_text"]

_STEPS = {"share": 0.005, "Elo": 5.0}
"""Margins are rounded up to these."""
_WIDEST = {"share": 0.10, "Elo": 100.0}
"""A margin above this is no promise: the criterion is drafted as optional."""


def draft_policy(
    report: Report, now: datetime.datetime
) -> tuple[Policy, tuple[CriterionVerdict, ...]]:
    """Return a policy with one criterion a task, and the sizes its margins rest on.

    A task that failed is drafted as well, with its usual margin, and required: a run without it
    cannot pass.

    A margin is the default (2 pt, 1 pt in safety, 20 Elo) or, where the run is too small for it,
    the smallest round margin with which an equal candidate passes all required criteria in 80 % of
    runs of this size: each alone in 0.8^(1/K).  Only standard errors are read, never a difference.
    Raises UsageError when nothing was measured.
    """
    wanted = _wanted(report)
    if not wanted:
        raise UsageError(
            "the report has neither benchmarks nor preferences to gate.",
            hint="Run `mdh evaluate` with --tasks.",
        )
    sized = gate_report(report, Policy(tuple(wanted)), now=now).criteria
    n_required = len(wanted)
    while True:  # leaving out what is too small leaves the others more room: it ends at 0
        power = POWER ** (1.0 / max(1, n_required))
        rules = tuple(
            _fitted(rule, found, power) for rule, found in zip(wanted, sized, strict=True)
        )
        if sum(rule.required for rule in rules) >= n_required:
            required = tuple(r.subject for r in rules if r.arm == "benchmark" and r.required)
            return Policy(rules, name="release", tasks=required), sized
        n_required -= 1


def _wanted(report: Report) -> list[Rule]:
    taxonomy = load_taxonomy()
    rules: list[Rule] = []
    for row in report.benchmarks.rows:
        if row.primary and row.task not in {rule.subject for rule in rules}:
            key = row.capability
            known = key is not None and key in taxonomy
            margin = default_margin(taxonomy.class_of(str(key)).key if known else None)
            rules.append(Rule(row.task, "benchmark", row.task, margin))
    for failure in report.benchmarks.failures:
        if failure.task not in {rule.subject for rule in rules}:
            key = failure.capability
            known = key is not None and key in taxonomy
            margin = default_margin(taxonomy.class_of(str(key)).key if known else None)
            rules.append(Rule(failure.task, "benchmark", failure.task, margin))
    if report.preferences.status == "measured":
        name = "preference substance"
        rules.append(Rule(name, "preference", "substance", DEFAULT_MARGIN_ELO))
    return rules


def _fitted(rule: Rule, found: CriterionVerdict, power: float) -> Rule:
    """Return the rule with the margin that passes with this power when nothing is worse."""
    if found.detectable is None or found.se is None:
        return rule
    reach = found.detectable / found.se - critical_value(2.0 * POWER - 1.0)
    fits = _round_up((reach + critical_value(2.0 * power - 1.0)) * found.se, found.unit)
    least, most = RANGES["margin_elo" if found.unit == "Elo" else "margin"]
    fits = min(most, max(least, fits))
    margin = fits if found.unit not in _STEPS else max(rule.margin, fits)
    required = margin <= _WIDEST.get(found.unit, math.inf)
    return Rule(rule.name, rule.arm, rule.subject, margin, required=required)


def _round_up(margin: float, unit: str) -> float:
    step = _STEPS.get(unit)
    if step is None:
        step = 10.0 ** (math.floor(math.log10(margin)) - 1)
    return float(f"{step * math.ceil(margin / step - 1e-9):.10g}")


def policy_text(report: Report, now: datetime.datetime) -> str:
    """Return the draft as a commented gate.yaml."""
    policy, sized = draft_policy(report, now)
    pair = one_line(f"{report.pair.baseline.name} → {report.pair.candidate.name}")
    lines = [
        f"# A gate for {pair}, drafted by `mdh gate init` on {now.date().isoformat()}.",
        "# A margin is a promise about the largest loss that would be released. These follow from",
        "# the run's sizes and standard errors; its differences were not looked at. A candidate",
        "# that is no worse passes all required criteria in four of five runs of this size.",
        "# Change margins before the next run, not after it.",
        *_warnings(report, policy),
        "",
        "schema_version: 1",
        f"name: {policy.name}",
        'owner: ""           # who answers for this file',
        "confidence: 0.90    # PASS: the lower end of this two-sided interval is above -margin",
        "family_alpha: 0.05  # chance of any FAIL when nothing is worse, over all criteria (Holm)",
        "# looks: 3                  # gates of this pair on new results that are planned; each is",
        "                             # decided at its share of the error rates (Bonferroni)",
        "",
        "# Only these two models, each in its place; other ones cannot pass.",
        *_pins(report),
        "",
        *_required(policy),
        "criteria:",
    ]
    for rule, found in zip(policy.criteria, sized, strict=True):
        lines += _criterion(rule, found)
    checks = Checks()
    lines += [
        "",
        "# Tasks that a later run adds are not gated until a criterion names them; the pattern",
        '# `- benchmark: "*"` with `margin: 0.02` would take them all.',
        "",
        "checks:                       # a breach leaves the gate INCONCLUSIVE, it never blocks",
        f"  missing_judgments: {checks.missing_judgments}     # share of judgments refused or cut",
        f"  unmatched_items: {checks.unmatched_items}       # share of items with only one answer",
        "  style_driven_gain: warn     # or hold: a preference gain that is style stops the gate",
        "  style_hidden_loss: warn     # or hold: a raw loss that style explains stops the gate",
        "  # lens_conflicts: 0         # capabilities on which the arms may contradict each other",
        "",
        "waivers: []",
        "# - criterion: NAME           # its result is shown and does not count",
        "#   reason: why",
        "#   owner: who",
        "#   expires: 2030-01-31       # the last day on which it holds",
    ]
    return "\n".join(lines) + "\n"


def _pins(report: Report) -> Iterator[str]:
    yield "# models:"
    for role in ("baseline", "candidate"):
        yield f"#   {role}: {_scalar(model_digest(getattr(report.pair, role)))}"


def _required(policy: Policy) -> Iterator[str]:
    """The list of required tasks, which does not follow the run."""
    if policy.tasks:
        yield "# A run that lacks one of these, or in which it failed, cannot pass."
        yield "tasks:"
        yield from (f"  - {_scalar(task)}" for task in policy.tasks)
        yield ""


def _warnings(report: Report, policy: Policy) -> Iterator[str]:
    limited = report.provenance.smoke or report.benchmarks.limit is not None
    deltas = report.preferences.deltas
    if limited or (deltas is not None and "smoke" in deltas.flags):
        yield "#"
        yield "# The run was limited: it cannot gate, and margins of the full run can be smaller."
    small = sum(not rule.required for rule in policy.criteria)
    if small:
        yield "#"
        yield f"# {small} of {len(policy.criteria)} criteria are optional: the run is too small"
        yield "# to decide about them at a margin worth having."
    if deltas is not None and deltas.judge_kind == "heuristic":
        yield "#"
        yield "# The judge is a heuristic: its criterion stays INCONCLUSIVE until another judges."


def _criterion(rule: Rule, found: CriterionVerdict) -> Sequence[str]:
    lines = [f"  # {one_line(text)}" for text in _comments(rule, found)]
    key, margin = (
        ("preference", "margin_elo") if rule.arm == "preference" else ("benchmark", "margin")
    )
    lines.append(f"  - {key}: {_scalar(rule.subject)}")
    lines.append(f"    {margin}: {rule.margin:g}")
    if not rule.required:
        lines.append("    required: false")
    return lines


def _comments(rule: Rule, found: CriterionVerdict) -> Iterator[str]:
    if found.detectable is None:
        yield f"{found.reason}: the margin is the default."
        return
    wanted = found.margin
    shows = amount(found.detectable, found.unit, sign=False)
    yield f"{found.n:,} {found.n_unit} show a loss of {shows} with 80 % power, alone."
    if found.unit not in _STEPS:
        direction = "" if found.higher_is_better else "; lower is better"
        yield f"In the unit of {found.subject}{direction}."
    elif found.margin_below_detectable:
        usual = amount(wanted, found.unit, sign=False)
        yield f"The usual margin of {usual} is below that; it would need {found.n_needed:,}."
    if not rule.required:
        yield "Too small to decide: more items, then `required: true` and a margin worth having."


def _scalar(text: str) -> str:
    """Return `text` as a YAML scalar that is read back as the same text."""
    if re.fullmatch(r"[A-Za-z_][\w.-]*", text, re.ASCII) and isinstance(yaml.safe_load(text), str):
        return text
    quoted: str = yaml.safe_dump(text, default_style='"', width=10**9)
    return quoted.strip()
