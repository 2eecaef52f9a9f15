"""Patterns of a policy become one criterion a task."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase

from modeldiff_harness.artifacts import BenchmarkRow, Report
from modeldiff_harness.gate.measure import is_share
from modeldiff_harness.gate.policy import Policy, Rule, is_pattern
from modeldiff_harness.taxonomy import load_taxonomy

__all__ = ["expand"]


def expand(policy: Policy, report: Report) -> tuple[list[Rule], list[str]]:
    """Return one rule a criterion, patterns resolved, and remarks on what no rule covers.

    A task belongs to the first criterion that matches it, names before patterns.  Patterns take
    metrics between 0 and 1 only, since one margin must fit them all; a task that failed is taken
    too, so that its absence is seen.  A pattern that fits no task of the report stays as it is and
    counts as not measured.
    """
    taken = {r.subject for r in policy.criteria if r.arm == "benchmark" and not _is_wide(r)}
    rules: list[Rule] = []
    for rule in policy.criteria:
        if not _is_wide(rule):
            rules.append(rule)
            continue
        rows = [row for row in report.benchmarks.rows if _fits(row, rule)]
        tasks = [row.task for row in rows if is_share(row)]
        tasks += [
            failure.task
            for failure in report.benchmarks.failures
            if fnmatchcase(failure.task, rule.subject)
            and rule.within in (None, _class_of(failure.capability))
        ]
        found = [task for task in dict.fromkeys(tasks) if task not in taken]
        taken.update(found)
        rules += [replace(rule, name=task, subject=task, within=None) for task in found]
        if not tasks:
            rules.append(rule)
    return _renamed(rules), _uncovered(report, rules)


def _is_wide(rule: Rule) -> bool:
    return rule.arm == "benchmark" and is_pattern(rule.subject)


def _fits(row: BenchmarkRow, rule: Rule) -> bool:
    if not fnmatchcase(row.task, rule.subject):
        return False
    if rule.within is not None and _class_of(row.capability) != rule.within:
        return False
    wanted_metric = row.primary if rule.metric is None else row.metric == rule.metric
    return wanted_metric and rule.filter in (None, row.filter)


def _class_of(capability: str | None) -> str | None:
    taxonomy = load_taxonomy()
    if capability is None or capability not in taxonomy:
        return None
    return taxonomy.class_of(capability).key


def _renamed(rules: list[Rule]) -> list[Rule]:
    """Keep names unique where a criterion of another kind has a task's name."""
    seen: set[str] = set()
    named = []
    for rule in rules:
        name = rule.name
        while name in seen:
            name = f"{rule.arm} {name}"
        seen.add(name)
        named.append(replace(rule, name=name))
    return named


def _uncovered(report: Report, rules: list[Rule]) -> list[str]:
    named = {rule.subject for rule in rules if rule.arm == "benchmark"}
    pooled = {rule.subject for rule in rules if rule.arm == "capability"}
    rows = [r for r in report.benchmarks.rows if r.primary and r.task not in named]
    left = [row for row in rows if row.capability not in pooled]
    if not left:
        return []
    told = ", ".join(f"{row.task} ({row.metric})" for row in left)
    return [f"Measured but not gated: {told}."]
