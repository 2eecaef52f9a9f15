"""The row of a group of tasks: a stratified difference over its leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from modeldiff_harness.artifacts import BenchmarkRow, RerunNoise, UnpairedErrors
from modeldiff_harness.benchmarks.pairing.rows import clusters_of, numbers_of
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
    keys = {task.rule.expression for task in tasks if task.rule is not None}
    return replace(
        first,
        task=group,
        capability=capabilities.pop() if len(capabilities) == 1 else None,
        primary=False,
        **numbers_of(estimate, first.higher_is_better),
        n_unmatched=sum(row.n_unmatched for row in heads),
        n_missing=sum(row.n_missing for row in heads),
        item_range=1.0 if all(row.item_range == 1.0 for row in heads) else None,
        not_comparable=tuple(
            f"{row.task}: {clause}" for row in heads for clause in row.not_comparable
        ),
        version="",
        prompts_differ=any(row.prompts_differ for row in heads),
        samples_per_item=sum(row.samples_per_item * row.n for row in heads) / estimate.n,
        clusters=clusters_of(estimate, keys.pop() if len(keys) == 1 else None),
        simultaneous=None,
        effect=None if estimate.counts is None else matched_log_odds_ratio(estimate.counts),
        noise=_group_noise(heads),
        unpaired=UnpairedErrors(difference=estimate.unpaired_se),
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


def _group_noise(heads: Sequence[BenchmarkRow]) -> RerunNoise | None:
    """The leaves' noise, weighted as their items are; None when a leaf has none."""
    parts = [(row.n, row.noise) for row in heads if row.noise is not None]
    if len(parts) < len(heads):
        return None
    total = sum(n for n, _ in parts)
    rates = [n * noise.flip_rate for n, noise in parts if noise.flip_rate is not None]
    return RerunNoise(
        n_reruns=min(noise.n_reruns for _, noise in parts),
        flip_rate=sum(rates) / total if len(rates) == len(parts) else None,
        se=math.hypot(*(noise.se * n / total for n, noise in parts)),
    )
