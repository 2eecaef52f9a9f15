"""The row of a group of tasks: a stratified difference over its leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from modeldiff_harness.artifacts import BenchmarkRow
from modeldiff_harness.benchmarks.pairing.rows import numbers_of
from modeldiff_harness.benchmarks.pairing.task import PairedTask
from modeldiff_harness.errors import MdhError
from modeldiff_harness.stats.effects import matched_log_odds_ratio
from modeldiff_harness.stats.estimates import PairedEstimate, Undetermined
from modeldiff_harness.stats.stratified import Stratum, crossed_difference, stratified_difference

__all__ = ["group_row"]


def group_row(
    group: str, tasks: Sequence[PairedTask], confidence: float = 0.95
) -> BenchmarkRow | None:
    """The stratified difference over a group's leaves; None when their primary metrics differ.

    Leaves whose items belong together (one question in many languages) are compared through the
    clusters that cross them.  Not primary: its leaves are, and the correction must not count the
    same items twice.
    """
    heads = [task.rows[0] for task in tasks]
    same = {(row.metric, row.filter, row.higher_is_better) for row in heads}
    if len(heads) < 2 or len(same) > 1:
        return None
    try:
        estimate = _group_estimate(tasks, confidence)
    except MdhError:
        return None
    if isinstance(estimate, Undetermined):
        return None
    first = heads[0]
    capabilities = {row.capability for row in heads}
    odds = None
    if estimate.fixed is not None and estimate.broken is not None:
        odds = matched_log_odds_ratio(estimate.fixed, estimate.broken).estimate
    rules = {task.rule.expression for task in tasks if task.rule is not None}
    noise = _group_noise(heads)
    return replace(
        first,
        task=group,
        capability=capabilities.pop() if len(capabilities) == 1 else None,
        primary=False,
        **numbers_of(estimate, first.higher_is_better),
        n_unmatched=sum(row.n_unmatched for row in heads),
        version="",
        baseline_se_unpaired=None,
        candidate_se_unpaired=None,
        prompts_differ=any(row.prompts_differ for row in heads),
        p_exact=None,
        cluster=rules.pop() if estimate.n_clusters and len(rules) == 1 else None,
        simultaneous_lower=None,
        simultaneous_upper=None,
        effect=odds,
        effect_name="" if odds is None else "log odds ratio",
        samples_per_item=sum(row.samples_per_item * row.n for row in heads) / estimate.n,
        n_replicates=min(row.n_replicates for row in heads),
        noise_flip_rate=noise[0],
        noise_se=noise[1],
    )


def _group_estimate(
    tasks: Sequence[PairedTask], confidence: float
) -> PairedEstimate | Undetermined:
    values = [task.values for task in tasks]
    scopes = [task.rule.scope if task.rule is not None else None for task in tasks]
    if None not in scopes and len(set(scopes)) == 1 and all(v is not None for v in values):
        strata = [
            Stratum(v.baseline, v.candidate, v.clusters)
            for v in values
            if v is not None and v.clusters is not None
        ]
        labels = [set(map(str, stratum.clusters)) for stratum in strata]
        if len(strata) == len(tasks) and len(set.union(*labels)) < sum(map(len, labels)):
            return crossed_difference(strata, confidence)
    return stratified_difference([task.primary for task in tasks])


def _group_noise(heads: Sequence[BenchmarkRow]) -> tuple[float | None, float | None]:
    """The leaves' noise, weighted as their items are."""
    total = sum(row.n for row in heads)
    rates = [row.noise_flip_rate for row in heads]
    errors = [row.noise_se for row in heads]
    rate, error = None, None
    if all(one is not None for one in rates):
        rate = sum((one or 0.0) * row.n for one, row in zip(rates, heads, strict=True)) / total
    if all(one is not None for one in errors):
        error = math.hypot(
            *((one or 0.0) * row.n / total for one, row in zip(errors, heads, strict=True))
        )
    return rate, error
