"""The whole path from two models' sample files to rows, against other people's statistics."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from modeldiff_harness.artifacts import (
    BenchmarkResults,
    BenchmarkRow,
    ItemClusters,
    PairedCounts,
    TaskFailure,
    load_artifact,
    save_artifact,
)
from modeldiff_harness.benchmarks.pairing.runs import pair_runs
from modeldiff_harness.benchmarks.records import TaskRun
from modeldiff_harness.contracts import Runtime

MakeRun = Callable[..., TaskRun]
RowsOf = Callable[..., list[dict[str, Any]]]
Compare = Callable[..., BenchmarkRow]


def outcomes(both: int, fixed: int, broken: int, neither: int) -> tuple[list[int], list[int]]:
    baseline = [1] * both + [0] * fixed + [1] * broken + [0] * neither
    candidate = [1] * both + [1] * fixed + [0] * broken + [0] * neither
    return baseline, candidate


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    (tmp_path / "pair").mkdir()
    return Runtime(workdir=tmp_path / "pair")


@pytest.fixture
def compare(make_run: MakeRun, rows_of: RowsOf, runtime: Runtime) -> Callable[..., BenchmarkRow]:
    """Values of both models → the row."""

    def make(left: Sequence[float], right: Sequence[float], **fields: Any) -> BenchmarkRow:
        runs = make_run("a", rows_of(left), **fields), make_run("b", rows_of(right), **fields)
        results = pair_runs([runs[0]], [runs[1]], pair=("a", "b"), runtime=runtime)
        assert not results.failures
        return results.rows[0]

    return make


def test_known_case_of_paired_against_unpaired(compare: Compare) -> None:
    """n = 1,319, 73 gained and 155 lost: Δ −6.2 points, paired SE 1.13."""
    row = compare(*outcomes(700, 73, 155, 391))
    assert row.counts == PairedCounts(both_right=700, both_wrong=391, fixed=73, broken=155)
    assert row.n == 1319
    assert row.delta == pytest.approx(-82 / 1319)
    assert row.se == pytest.approx(0.0113, abs=5e-5)
    exact = mcnemar([[700, 155], [73, 391]], exact=True).pvalue
    mid_p = exact - stats.binom.pmf(73, 228, 0.5)
    assert row.p == pytest.approx(mid_p, rel=1e-9)
    assert row.lower < row.delta < row.upper < 0
    w = 228 / 1319 - (82 / 1319) ** 2
    assert row.mde == pytest.approx((1.959964 + 0.841621) * math.sqrt(w / 1319), rel=1e-5)


def test_swapping_the_pair_negates(make_run: MakeRun, runtime: Runtime, rows_of: RowsOf) -> None:
    left, right = outcomes(20, 3, 9, 18)
    runs = make_run("a", rows_of(left)), make_run("b", rows_of(right))
    forth = pair_runs([runs[0]], [runs[1]], pair=("a", "b"), runtime=runtime).rows[0]
    back = pair_runs([runs[1]], [runs[0]], pair=("b", "a"), runtime=runtime).rows[0]
    assert (back.delta, back.lower, back.upper) == (-forth.delta, -forth.upper, -forth.lower)
    assert (forth.counts, back.counts) == (PairedCounts(20, 18, 3, 9), PairedCounts(20, 18, 9, 3))
    assert back.p == forth.p


def test_no_discordant_items_still_has_an_interval(compare: Compare) -> None:
    row = compare(*outcomes(30, 0, 0, 10))
    assert row.delta == 0
    assert row.p == 1
    assert row.lower < 0 < row.upper


def test_continuous_values_by_paired_t(compare: Compare) -> None:
    rng = np.random.default_rng(5)
    left = rng.normal(10, 3, 400)
    right = left + rng.normal(0.3, 1, 400)
    row = compare(left.tolist(), right.tolist())
    interval = stats.ttest_rel(right, left).confidence_interval(0.95)
    assert row.counts is None
    assert (row.lower, row.upper) == pytest.approx((interval.low, interval.high), rel=1e-6)
    assert row.p is not None
    assert row.p == pytest.approx(stats.ttest_rel(right, left).pvalue, abs=0.01)


def test_clusters_widen_the_interval(
    make_run: MakeRun, runtime: Runtime, sample_row: Callable[..., dict[str, Any]]
) -> None:
    """Every item occurs five times: the honest n is 60, not 300."""
    rng = np.random.default_rng(8)
    base, cand = rng.integers(0, 2, 60), rng.integers(0, 2, 60)

    def rows(values: Any) -> list[dict[str, Any]]:
        return [
            sample_row(i, {"acc": int(values[i // 5])}, doc={"passage": i // 5, "q": i})
            for i in range(300)
        ]

    runs = [
        make_run(name, rows(values), cluster_field="passage")
        for name, values in (("a", base), ("b", cand))
    ]
    row = pair_runs([runs[0]], [runs[1]], pair=("a", "b"), runtime=runtime).rows[0]
    d = (cand - base).astype(float)
    assert row.clusters == ItemClusters(60, "passage")
    assert row.se == pytest.approx(float(d.std(ddof=1)) / math.sqrt(60), rel=1e-9)


def test_lower_is_better_turns_fixed_and_broken_round(compare: Compare) -> None:
    row = compare(*outcomes(5, 4, 1, 20), higher_is_better={"acc": False})
    assert not row.higher_is_better
    assert row.delta == pytest.approx(3 / 30)
    assert row.counts is not None
    assert (row.counts.fixed, row.counts.broken) == (1, 4)


def test_aggregate_metric_goes_through_the_aggregation(
    make_run: MakeRun, runtime: Runtime, rows_of: RowsOf
) -> None:
    """Weighted perplexity exp(−Σll/Σwords) of (ll, words) pairs."""
    rng = np.random.default_rng(1)
    parts = [[[-float(w * x), int(w)] for w, x in zip(rng.integers(3, 9, 50), loss, strict=True)]
             for loss in (rng.uniform(1, 2, 50), rng.uniform(0.5, 1.5, 50))]  # fmt: skip
    fields = {
        "aggregations": {"ppl": "weighted_perplexity"},
        "higher_is_better": {"ppl": False},
    }
    runs = [
        make_run(name, rows_of(one, metric="ppl"), **fields)
        for name, one in zip("ab", parts, strict=True)
    ]

    def weighted_perplexity(records: list[Any]) -> float:
        return math.exp(-sum(r[0] for r in records) / sum(r[1] for r in records))

    results = pair_runs(
        [runs[0]],
        [runs[1]],
        pair=("a", "b"),
        runtime=runtime,
        aggregation={"weighted_perplexity": weighted_perplexity}.get,
    )
    row = results.rows[0]
    expected = [weighted_perplexity(one) for one in parts]
    assert (row.baseline, row.candidate) == pytest.approx(tuple(expected))
    assert row.lower < row.delta < row.upper < 0
    assert "bootstrap" in row.method
    assert not results.items


def test_q_is_benjamini_hochberg_over_primary_rows_only(
    make_run: MakeRun, runtime: Runtime, sample_row: Callable[..., dict[str, Any]]
) -> None:
    tables = {"x": (20, 9, 1, 10), "y": (20, 5, 4, 10), "z": (20, 2, 9, 10)}
    sides: tuple[list[TaskRun], list[TaskRun]] = ([], [])
    for task, table in tables.items():
        for side, name, values in zip(sides, "ab", outcomes(*table), strict=True):
            rows = [sample_row(i, {"acc_norm": v, "acc": 1 - v}) for i, v in enumerate(values)]
            side.append(make_run(name, rows, task=task))
    results = pair_runs(*sides, pair=("a", "b"), runtime=runtime)
    primary = [row for row in results.rows if row.primary]
    assert [row.metric for row in primary] == ["acc_norm"] * 3
    expected = multipletests([row.p for row in primary], method="fdr_bh")[1]
    assert [row.q for row in primary] == pytest.approx(expected)
    assert all(row.q is None for row in results.rows if not row.primary)
    assert {item.metric for item in results.items} == {"acc_norm"}


def test_group_row_is_the_stratified_difference(
    make_run: MakeRun, runtime: Runtime, rows_of: RowsOf
) -> None:
    tables = {"x": (20, 9, 1, 10), "y": (50, 5, 4, 10)}
    sides: tuple[list[TaskRun], list[TaskRun]] = ([], [])
    for task, table in tables.items():
        for side, name, values in zip(sides, "ab", outcomes(*table), strict=True):
            side.append(make_run(name, rows_of(values), task=task))
    results = pair_runs(*sides, pair=("a", "b"), runtime=runtime, groups={"all": ("x", "y")})
    x, y, group = results.rows
    assert (group.task, group.primary, group.n) == ("all", False, x.n + y.n)
    assert group.delta == pytest.approx((8 + 1) / (x.n + y.n))
    weights = np.array([x.n, y.n]) / (x.n + y.n)
    assert group.se == pytest.approx(math.hypot(*(weights * [x.se, y.se])))


def test_limit_is_stamped(make_run: MakeRun, runtime: Runtime, rows_of: RowsOf) -> None:
    left, right = outcomes(3, 1, 1, 3)
    runs = make_run("a", rows_of(left), limit=8), make_run("b", rows_of(right), limit=8)
    results = pair_runs([runs[0]], [runs[1]], pair=("a", "b"), runtime=runtime)
    assert results.limit == 8
    assert results.notes[0] == "limit=8: smoke, not gateable"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "2.0"}, "version differs"),
        ({"num_fewshot": 5}, "num_fewshot differs"),
        ({"limit": 4.0}, "limit differs"),
    ],
)
def test_incomparable_runs_are_failures_and_the_others_go_on(
    make_run: MakeRun, runtime: Runtime, change: dict[str, Any], words: str, rows_of: RowsOf
) -> None:
    left, right = outcomes(3, 1, 1, 3)
    good = make_run("a", rows_of(left), task="good"), make_run("b", rows_of(right), task="good")
    bad = make_run("a", rows_of(left)), make_run("b", rows_of(right), **change)
    results = pair_runs(
        [bad[0], good[0]],
        [bad[1], good[1]],
        pair=("a", "b"),
        runtime=runtime,
        failures=[TaskFailure("offline", "needs the Hub")],
    )
    assert [row.task for row in results.rows] == ["good"]
    assert [f.task for f in results.failures] == ["offline", "toy"]
    assert words in results.failures[1].reason


def test_a_task_with_one_run_is_a_failure(
    make_run: MakeRun, runtime: Runtime, rows_of: RowsOf
) -> None:
    run = make_run("a", rows_of([1, 0]))
    results = pair_runs([run], [], pair=("a", "b"), runtime=runtime)
    assert "no run of the candidate" in results.failures[0].reason


def test_values_that_are_not_numbers_are_a_failure(
    make_run: MakeRun, runtime: Runtime, rows_of: RowsOf
) -> None:
    runs = make_run("a", rows_of([1.0, 0.5])), make_run("b", rows_of([1.0, math.nan]))
    results = pair_runs([runs[0]], [runs[1]], pair=("a", "b"), runtime=runtime)
    assert "1 of 2 items were not scored" in results.failures[0].reason


def test_an_unreadable_sample_file_is_named(
    make_run: MakeRun, runtime: Runtime, rows_of: RowsOf
) -> None:
    runs = make_run("a", rows_of([1, 0])), make_run("b", rows_of([1, 0]))
    with runs[1].samples_path.open("a") as stream:
        stream.write("{half a row")
    results = pair_runs([runs[0]], [runs[1]], pair=("a", "b"), runtime=runtime)
    assert "samples.jsonl line 3 is not an lm-eval sample" in results.failures[0].reason


def test_results_round_trip_and_keep_both_sample_files(
    make_run: MakeRun, runtime: Runtime, rows_of: RowsOf
) -> None:
    left, right = outcomes(3, 1, 1, 3)
    runs = make_run("org/a", rows_of(left), task="toy"), None
    second = make_run("b", rows_of(right), task="toy")
    results = pair_runs([runs[0]], [second], pair=("org/a", "b"), runtime=runtime)
    save_artifact(results, runtime.workdir)
    assert load_artifact(BenchmarkResults, runtime.workdir) == results
    kept = runtime.workdir / "samples_toy_org__a.jsonl"
    assert [json.loads(line)["acc"] for line in kept.read_text().splitlines()] == left
    assert (runtime.workdir / "samples_toy_b.jsonl").exists()
