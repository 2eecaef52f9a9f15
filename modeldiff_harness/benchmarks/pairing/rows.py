"""One metric of a pair as a row of the report, and what depends on how many rows there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from modeldiff_harness.artifacts import (
    BenchmarkRow,
    EffectSize,
    Interval,
    ItemClusters,
    MeasuredTask,
    RerunNoise,
    UnpairedErrors,
)
from modeldiff_harness.benchmarks.pairing.aggregations import LOWER_IS_BETTER
from modeldiff_harness.benchmarks.pairing.align import PairedSamples
from modeldiff_harness.benchmarks.pairing.cluster_keys import ClusterRule
from modeldiff_harness.benchmarks.pairing.metric_values import MetricValues
from modeldiff_harness.stats.effects import cohens_dz, matched_log_odds_ratio
from modeldiff_harness.stats.estimates import PairedEstimate, critical_value
from modeldiff_harness.stats.multiplicity import benjamini_hochberg, simultaneous_multiplier
from modeldiff_harness.stats.power import mde

__all__ = [
    "clusters_of",
    "correct_for_multiplicity",
    "direction_of",
    "numbers_of",
    "paired_row",
]


def paired_row(
    sides: tuple[MeasuredTask, MeasuredTask],
    pair: PairedSamples,
    values: MetricValues,
    estimate: PairedEstimate,
    *,
    rule: ClusterRule | None,
    noise: RerunNoise | None,
    higher_is_better: bool,
    primary: bool,
) -> BenchmarkRow:
    """Return the row of the metric of `values` for `sides`, (baseline, candidate); without q."""
    task = sides[0]
    baseline_se, candidate_se = (
        side.printed.get(f"{values.metric}_stderr,{pair.filter}") for side in sides
    )
    return BenchmarkRow(
        task=task.task,
        capability=task.capability,
        metric=values.metric,
        filter=pair.filter,
        higher_is_better=higher_is_better,
        primary=primary,
        **numbers_of(estimate, higher_is_better),
        n_unmatched=pair.n_unmatched,
        version=task.version,
        num_fewshot=task.num_fewshot,
        prompts_differ=pair.n_prompts_differ > 0,
        samples_per_item=pair.samples_per_item,
        clusters=clusters_of(estimate, rule.expression if rule is not None else None),
        effect=_effect(estimate, values),
        noise=noise,
        unpaired=UnpairedErrors(baseline_se, candidate_se, estimate.unpaired_se),
    )


def numbers_of(estimate: PairedEstimate, higher_is_better: bool) -> dict[str, Any]:
    """Return the fields of a row that its estimate alone gives, by name; without q."""
    counts = estimate.counts
    if counts is not None and not higher_is_better:
        counts = replace(counts, fixed=counts.broken, broken=counts.fixed)
    return {
        "n": estimate.n,
        "baseline": estimate.baseline,
        "candidate": estimate.candidate,
        "delta": estimate.delta,
        "se": estimate.se,
        "lower": estimate.lower,
        "upper": estimate.upper,
        "df": estimate.df,
        "interval_method": estimate.interval_method,
        "method": estimate.method,
        "p": estimate.p_value,
        "p_exact": estimate.p_exact,
        "q": None,
        "mde": mde(estimate.n, estimate.variance_of_one_item, df=estimate.df),
        "counts": counts,
        "guarded": estimate.guarded,
        "not_gateable": estimate.not_gateable,
    }


def clusters_of(estimate: PairedEstimate, key: str | None) -> ItemClusters | None:
    """Return the clusters of the estimate; `key`: what makes items one cluster."""
    return ItemClusters(estimate.n_clusters, key) if estimate.n_clusters else None


def direction_of(task: MeasuredTask, metric: str, directions: Mapping[str, bool] | None) -> bool:
    """Say whether higher is better: as asked, as the source says, as the metric is known."""
    for name in (f"{task.task}:{metric}", metric):
        if directions and name in directions:
            return directions[name]
    said = task.higher_is_better.get(metric)
    return metric not in LOWER_IS_BETTER if said is None else said


def _effect(estimate: PairedEstimate, values: MetricValues) -> EffectSize | None:
    """Matched log odds ratio of a binary metric, else Cohen's dz; none for an aggregate."""
    if estimate.counts is not None:
        return matched_log_odds_ratio(estimate.counts)
    return cohens_dz(values.baseline, values.candidate) if values.per_item else None


def correct_for_multiplicity(
    rows: Iterable[BenchmarkRow], confidence: float = 0.95
) -> tuple[BenchmarkRow, ...]:
    """Fill what depends on the number of tasks: q and simultaneous interval of primary rows.

    q: Benjamini–Hochberg over the primary rows that have a p.  The simultaneous interval keeps the
    shape of the row's own and is widened by Bonferroni's ratio of critical values.
    """
    listed = list(rows)
    tested = [i for i, row in enumerate(listed) if row.primary and row.p is not None]
    if tested:
        q_values = benjamini_hochberg([listed[i].p or 0.0 for i in tested])
        for i, q in zip(tested, q_values.tolist(), strict=True):
            row = listed[i]
            ratio = simultaneous_multiplier(len(tested), confidence, row.df)
            ratio /= critical_value(confidence, row.df)
            listed[i] = replace(
                row,
                q=q,
                simultaneous=Interval(
                    row.delta + (row.lower - row.delta) * ratio,
                    row.delta + (row.upper - row.delta) * ratio,
                ),
            )
    return tuple(listed)
