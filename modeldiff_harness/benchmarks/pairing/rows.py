"""One metric of a pair as a row of the report, and what depends on how many rows there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from modeldiff_harness.artifacts import BenchmarkRow, MeasuredTask
from modeldiff_harness.benchmarks.pairing.aggregations import LOWER_IS_BETTER
from modeldiff_harness.benchmarks.pairing.align import PairedSamples
from modeldiff_harness.benchmarks.pairing.cluster_keys import ClusterRule
from modeldiff_harness.benchmarks.pairing.metric_values import MetricValues
from modeldiff_harness.stats.effects import matched_log_odds_ratio
from modeldiff_harness.stats.estimates import PairedEstimate, critical_value
from modeldiff_harness.stats.multiplicity import benjamini_hochberg, simultaneous_multiplier
from modeldiff_harness.stats.noise import RerunNoise
from modeldiff_harness.stats.power import mde

__all__ = ["correct_for_multiplicity", "direction_of", "numbers_of", "paired_row", "printed_notes"]

_FARTHEST_FROM_PRINTED = 1e-6
"""Relative distance of a recomputed number from the printed one that rounding explains."""


def paired_row(
    baseline: MeasuredTask,
    candidate: MeasuredTask,
    pair: PairedSamples,
    metric: str,
    estimate: PairedEstimate,
    values: MetricValues,
    rule: ClusterRule | None,
    noise: RerunNoise | None,
    higher_is_better: bool,
) -> BenchmarkRow:
    """Return the row of `metric`; not primary, and without q."""
    effect, effect_name = _effect(estimate, values)
    return BenchmarkRow(
        task=baseline.task,
        capability=baseline.capability,
        metric=metric,
        filter=pair.filter,
        higher_is_better=higher_is_better,
        primary=False,
        **numbers_of(estimate, higher_is_better),
        n_unmatched=pair.n_unmatched,
        version=baseline.version,
        num_fewshot=baseline.num_fewshot,
        baseline_se_unpaired=baseline.printed.get(f"{metric}_stderr,{pair.filter}"),
        candidate_se_unpaired=candidate.printed.get(f"{metric}_stderr,{pair.filter}"),
        prompts_differ=pair.n_prompts_differ > 0,
        p_exact=estimate.p_exact,
        cluster=rule.expression if rule is not None and estimate.n_clusters else None,
        effect=effect,
        effect_name=effect_name,
        samples_per_item=pair.samples_per_item,
        n_replicates=noise.n_replicates if noise is not None else 0,
        noise_flip_rate=noise.flip_rate if noise is not None else None,
        noise_se=noise.se if noise is not None else None,
    )


def numbers_of(estimate: PairedEstimate, higher_is_better: bool) -> dict[str, Any]:
    """Return the fields of a row that its estimate gives, by name; without q."""
    fixed, broken = estimate.fixed, estimate.broken
    if not higher_is_better:
        fixed, broken = broken, fixed
    return {
        "n": estimate.n,
        "baseline": estimate.baseline,
        "candidate": estimate.candidate,
        "delta": estimate.delta,
        "se": estimate.se,
        "lower": estimate.lower,
        "upper": estimate.upper,
        "p": estimate.p_value,
        "q": None,
        "mde": mde(estimate.n, estimate.variance_of_one_item),
        "fixed": fixed,
        "broken": broken,
        "method": estimate.method,
        "both_right": estimate.both_right,
        "both_wrong": estimate.both_wrong,
        "n_clusters": estimate.n_clusters,
        "df": estimate.df,
        "unpaired_se": estimate.unpaired_se,
    }


def direction_of(task: MeasuredTask, metric: str, directions: Mapping[str, bool] | None) -> bool:
    """Say whether higher is better: as asked, as the source says, as the metric is known."""
    for name in (f"{task.task}:{metric}", metric):
        if directions and name in directions:
            return directions[name]
    said = task.higher_is_better.get(metric)
    return metric not in LOWER_IS_BETTER if said is None else said


def _effect(estimate: PairedEstimate, values: MetricValues) -> tuple[float | None, str]:
    """Matched log odds ratio of a binary metric, else Cohen's dz; none for an aggregate."""
    if estimate.fixed is not None and estimate.broken is not None:
        ratio = matched_log_odds_ratio(estimate.fixed, estimate.broken)
        return ratio.estimate, "log odds ratio"
    size = values.cohens_dz() if values.per_item else None
    return (None, "") if size is None else (size, "Cohen's dz")


def printed_notes(
    baseline: MeasuredTask, candidate: MeasuredTask, row: BenchmarkRow
) -> Iterable[str]:
    """Say where our number is not the harness's own: the sign of a wrong aggregation."""
    if row.n_unmatched or row.samples_per_item != 1.0:
        return
    for side, ours in ((baseline, row.baseline), (candidate, row.candidate)):
        printed = side.printed.get(f"{row.metric},{row.filter}")
        if printed is None:
            continue
        if abs(printed - ours) > _FARTHEST_FROM_PRINTED * max(1.0, abs(printed)):
            yield (
                f"{row.task}: {row.metric},{row.filter} is {ours:.6g} over the samples, but"
                f" {printed:.6g} was printed"
            )


def correct_for_multiplicity(
    rows: Iterable[BenchmarkRow], confidence: float = 0.95
) -> tuple[BenchmarkRow, ...]:
    """Fill what depends on how many tasks there are: q and the simultaneous ends of primary rows.

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
                simultaneous_lower=row.delta + (row.lower - row.delta) * ratio,
                simultaneous_upper=row.delta + (row.upper - row.delta) * ratio,
            )
    return tuple(listed)
