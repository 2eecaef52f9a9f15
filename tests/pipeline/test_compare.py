"""From two results to a report: known numbers, parity with a run, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from modeldiff_harness.artifacts import (
    BenchmarkRow,
    EffectSize,
    ImportedResults,
    ItemClusters,
    MeasuredTask,
    PairedCounts,
    RerunNoise,
    TaskSample,
)
from modeldiff_harness.benchmarks.pairing.task import PairingOptions
from modeldiff_harness.contracts import Component
from modeldiff_harness.errors import UsageError
from modeldiff_harness.hookspecs import hookimpl
from modeldiff_harness.pipeline.compare import (
    CompareRequest,
    Comparison,
    compare,
    results_of_run,
    write_comparison,
)
from modeldiff_harness.plugins import load_registry
from modeldiff_harness.report.schema import read_report
from modeldiff_harness.testing.result_files import (
    ResultItem,
    inspect_log,
    inspect_sample,
    items_of,
    lm_eval_row,
    write_inspect_eval,
    write_lighteval,
    write_lm_eval,
)

Values = Sequence[float]


def table(both: int, fixed: int, broken: int, neither: int) -> tuple[list[int], list[int]]:
    baseline = [1] * both + [0] * fixed + [1] * broken + [0] * neither
    candidate = [1] * both + [1] * fixed + [0] * broken + [0] * neither
    return baseline, candidate


def as_lm_eval(folder: Path, name: str, values: Values) -> Path:
    rows = [lm_eval_row(item) for item in items_of(values)]
    return write_lm_eval(folder, {"gsm8k": rows}, model=name)


def as_inspect(folder: Path, name: str, values: Values) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    log = inspect_log([inspect_sample(item) for item in items_of(values)], model=name)
    return write_inspect_eval(folder / f"{name}.eval", log)


def as_lighteval(folder: Path, name: str, values: Values) -> Path:
    return write_lighteval(folder, {"gsm8k|0": items_of(values)}, model=name)


WRITERS: dict[str, Callable[[Path, str, Values], Path]] = {
    "lm-eval": as_lm_eval,
    "inspect": as_inspect,
    "lighteval": as_lighteval,
}


def run(
    folder: Path, left: Values, right: Values, how: str = "lm-eval", **fields: Any
) -> Comparison:
    write = WRITERS[how]
    paths = write(folder / "a", "before", left), write(folder / "b", "after", right)
    return compare(CompareRequest(*paths, **fields))


def only(found: Comparison) -> BenchmarkRow:
    (row,) = found.report.benchmarks.rows
    return row


@pytest.mark.parametrize("how", WRITERS)
def test_the_known_case_through_every_format(how: str, tmp_path: Path) -> None:
    """n = 1,319, Δ −6.2 points, 155 lost and 73 gained: paired SE 1.13 against unpaired 1.84."""
    found = run(tmp_path, *table(755, 73, 155, 336), how)
    row = only(found)
    assert (row.n, row.task, row.counts) == (1319, "gsm8k", PairedCounts(755, 336, 73, 155))
    assert row.delta == pytest.approx(-82 / 1319)
    assert row.se == pytest.approx(0.0113, abs=5e-5)
    assert row.unpaired.difference == pytest.approx(0.0184, abs=5e-5)
    exact = mcnemar([[755, 155], [73, 336]], exact=True).pvalue
    assert row.p == pytest.approx(exact - stats.binom.pmf(73, 228, 0.5), rel=1e-9)
    assert row.effect == EffectSize(pytest.approx(math.log(73.5 / 155.5)), "log odds ratio")
    pair = found.report.pair
    assert (pair.baseline.name, pair.candidate.name) == ("before", "after")
    assert found.report.preferences.status == "not measured"
    assert found.report.capabilities[0].capability


def test_different_formats_of_the_same_results_agree(tmp_path: Path) -> None:
    values = table(30, 7, 15, 20)
    rows = [only(run(tmp_path / how, *values, how)) for how in WRITERS]
    numbers = [(r.n, r.baseline, r.candidate, r.delta, r.se, r.lower, r.upper, r.p) for r in rows]
    assert numbers[0] == numbers[1] == numbers[2]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_swapping_negates_and_the_order_of_items_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    n = data.draw(st.integers(6, 40))
    value = st.sampled_from([0.0, 1.0] if data.draw(st.booleans()) else [0.0, 0.25, 0.5, 1.0])
    left, right = (data.draw(st.lists(value, min_size=n, max_size=n)) for _ in range(2))
    order = data.draw(st.permutations(range(n)))
    folder = tmp_path_factory.mktemp("swap")
    items = items_of(left), items_of(right)
    rows = [[lm_eval_row(item) for item in side] for side in items]
    shuffled = [[side[i] for i in order] for side in rows]
    a, b = (write_lm_eval(folder / w, {"t": r}, model=w) for w, r in zip("ab", rows, strict=True))
    c, d = (
        write_lm_eval(folder / w, {"t": r}, model=w) for w, r in zip("cd", shuffled, strict=True)
    )
    constant = len({y - x for x, y in zip(left, right, strict=True)}) == 1
    if constant and left[0] != right[0] and not {*left, *right} <= {0.0, 1.0}:
        # Nothing varies and nothing bounds it: said, not estimated.
        with pytest.raises(UsageError, match="has no interval"):
            compare(CompareRequest(a, b))
        return
    forth = only(compare(CompareRequest(a, b)))
    back, mixed = only(compare(CompareRequest(b, a))), only(compare(CompareRequest(c, d)))
    assert back.delta == pytest.approx(-forth.delta)
    assert back.p == pytest.approx(forth.p, abs=0.02)
    assert (forth.counts is None) == (back.counts is None)
    if forth.counts is not None and back.counts is not None:
        there, here = forth.counts, back.counts
        assert (here.fixed, here.broken) == (there.broken, there.fixed)
        assert (back.lower, back.upper) == pytest.approx((-forth.upper, -forth.lower))
        assert forth.effect is not None
        assert back.effect is not None
        assert forth.effect.size == pytest.approx(-back.effect.size)
    assert mixed == forth


def test_repeats_are_averaged_and_the_item_is_the_unit(tmp_path: Path) -> None:
    """Four epochs an item: the interval is that of 50 means and not of 200 answers."""
    rng = np.random.default_rng(3)
    chance = rng.uniform(0.1, 0.9, 50)
    drawn = {who: rng.random((50, 4)) < chance[:, None] + shift
             for who, shift in (("before", 0.0), ("after", 0.1))}  # fmt: skip
    paths = []
    for who, grid in drawn.items():
        samples = [
            inspect_sample(ResultItem(i, int(grid[i, e]), answer=str(grid[i, e]), epoch=e + 1))
            for i in range(50)
            for e in range(4)
        ]
        paths.append(write_inspect_eval(tmp_path / f"{who}.eval", inspect_log(samples, model=who)))
    found = compare(CompareRequest(*paths))
    row = only(found)
    item = next(i for i in found.results.items if i.baseline != i.candidate)
    assert item.baseline_response != item.candidate_response, "the answers that differ are shown"
    means = [grid.mean(axis=1) for grid in drawn.values()]
    expected = stats.ttest_rel(means[1], means[0])
    assert (row.n, row.samples_per_item) == (50, 4.0)
    assert row.delta == pytest.approx(float((means[1] - means[0]).mean()))
    assert row.se == pytest.approx(float((means[1] - means[0]).std(ddof=1)) / math.sqrt(50))
    assert row.p == pytest.approx(float(expected.pvalue), abs=0.02)


def test_unnumbered_repeats_need_a_word(tmp_path: Path) -> None:
    rows = [lm_eval_row(i) for i in items_of([1, 0, 1])]
    twice = [*rows, lm_eval_row(ResultItem(0, 0, answer="no"))]
    a = write_lm_eval(tmp_path / "a", {"t": rows}, model="a")
    b = write_lm_eval(tmp_path / "b", {"t": twice}, model="b")
    with pytest.raises(UsageError, match=r"item 0 occurs twice.*--average_repeats"):
        compare(CompareRequest(a, b))
    found = compare(CompareRequest(a, b, options=PairingOptions(average_repeats=True)))
    assert only(found).candidate == pytest.approx((0.5 + 0 + 1) / 3)


def test_items_that_are_missing_changed_or_repeated_are_counted_and_named(tmp_path: Path) -> None:
    rows = [lm_eval_row(item) for item in items_of([1, 0] * 200)]
    changed = lm_eval_row(ResultItem(7, 0, question="Rewritten?", answer="no"))
    other = [*rows[:7], changed, *rows[8:-1], rows[3]]
    a = write_lm_eval(tmp_path / "a", {"t": rows}, model="a")
    b = write_lm_eval(tmp_path / "b", {"t": other}, model="b")
    found = compare(CompareRequest(a, b))
    (alignment,) = found.report.benchmarks.alignments
    assert (alignment.n_paired, alignment.n_only_baseline, alignment.n_only_candidate) == (
        398,
        1,
        0,
    )
    assert (alignment.n_changed, alignment.n_duplicates) == (1, 1)
    assert "7: another document" in alignment.named
    assert "399: only the baseline answered" in alignment.named
    assert only(found).n_unmatched == 2
    many = write_lm_eval(tmp_path / "c", {"t": other[:300]}, model="c")
    with pytest.raises(UsageError, match=r"items have no partner, more than 1 %.*allow_unmatched"):
        compare(CompareRequest(a, many))
    allowed = compare(CompareRequest(a, many, options=PairingOptions(allow_unmatched=True)))
    assert only(allowed).n == 299


def test_differing_prompts_are_a_warning(tmp_path: Path) -> None:
    rows = [lm_eval_row(item) for item in items_of([1, 0, 1, 0])]
    chat = [{**row, "prompt_hash": "chat"} for row in rows[:2]] + rows[2:]
    a = write_lm_eval(tmp_path / "a", {"t": rows}, model="a")
    b = write_lm_eval(tmp_path / "b", {"t": chat}, model="b")
    report = compare(CompareRequest(a, b)).report
    assert report.benchmarks.rows[0].prompts_differ
    (check,) = [c for c in report.comparability if c.check == "prompts"]
    assert (check.status, check.detail) == ("warning", "2 of 4 prompts differ between the models")


def test_clusters_by_a_key_of_the_document(tmp_path: Path) -> None:
    """Every question five times: the honest n is 60."""
    rng = np.random.default_rng(8)
    sides = rng.integers(0, 2, (2, 60))
    paths = []
    for name, values in zip("ab", sides, strict=True):
        rows = [
            lm_eval_row(
                ResultItem(i, int(values[i // 5]), doc={"meta": {"passage": i // 5}, "i": i})
            )
            for i in range(300)
        ]
        paths.append(write_lm_eval(tmp_path / name, {"t": rows}, model=name))
    alone = only(compare(CompareRequest(*paths)))
    options = PairingOptions(clusters={"t*": "meta.passage"})
    row = only(compare(CompareRequest(*paths, options=options)))
    d = (sides[1] - sides[0]).astype(float)
    assert (row.clusters, row.df) == (ItemClusters(60, "meta.passage"), 59)
    assert row.se == pytest.approx(float(d.std(ddof=1)) / math.sqrt(60), rel=1e-9)
    assert row.se > 2 * (alone.se or 0)
    wrong = PairingOptions(clusters={"t": "meta.page"})
    with pytest.raises(UsageError, match=r"'meta.page' is not in the document of item 0"):
        compare(CompareRequest(*paths, options=wrong))


def test_the_same_question_in_three_languages_counts_once(tmp_path: Path) -> None:
    """belebele: the group's error is that of 80 passages, not of 240 items."""
    rng = np.random.default_rng(5)
    sides = rng.integers(0, 2, (2, 80))
    names = ["belebele_deu", "belebele_eng", "belebele_fra"]
    paths = []
    for who, values in zip("ab", sides, strict=True):
        tasks = {
            name: [
                lm_eval_row(ResultItem(i, int(v), question=f"{name} {i}", doc={"link": f"w/{i}"}))
                for i, v in enumerate(values)
            ]
            for name in names
        }
        paths.append(write_lm_eval(tmp_path / who, tasks, model=who, groups={"belebele": names}))
    rows = {row.task: row for row in compare(CompareRequest(*paths)).report.benchmarks.rows}
    d = (sides[1] - sides[0]).astype(float)
    group = rows["belebele"]
    assert (group.n, group.clusters) == (240, ItemClusters(80, "link"))
    assert group.se == pytest.approx(float(d.std(ddof=1)) / math.sqrt(80), rel=1e-9)
    assert rows["belebele_deu"].clusters is None
    apart = PairingOptions(clusters={"belebele*": "none"})
    found = compare(CompareRequest(*paths, options=apart)).report.benchmarks.rows
    assert [r.clusters for r in found if r.task == "belebele"] == [None]


def test_reruns_of_the_baseline_give_the_noise_floor(tmp_path: Path) -> None:
    left, right = table(60, 10, 14, 16)
    again = [1 - v if i in (0, 50, 99) else v for i, v in enumerate(left)]
    rerun = as_lm_eval(tmp_path / "r", "before", again)
    row = only(run(tmp_path, left, right, reruns=(rerun,)))
    assert row.noise == RerunNoise(1, 0.03, pytest.approx(math.sqrt(0.03 / 100)))
    plain = only(run(tmp_path / "x", left, right))
    assert plain.noise is None
    assert replace(row, noise=None) == plain


def test_a_rerun_of_other_items_is_not_used(tmp_path: Path) -> None:
    left, right = table(60, 10, 14, 16)
    rerun = as_lm_eval(tmp_path / "r", "before", left[:50])
    found = run(tmp_path, left, right, reruns=(rerun,))
    assert only(found).noise is None
    assert any("rerun 1 of the baseline has 50% of the items" in n for n in found.results.notes)


def test_direction_and_primary_metric_can_be_given(tmp_path: Path) -> None:
    def rows(values: Sequence[int]) -> list[dict[str, Any]]:
        made = [lm_eval_row(item, "errors") for item in items_of(values)]
        return [{**r, "metrics": ["errors", "other"], "other": 1 - r["errors"]} for r in made]

    a = write_lm_eval(tmp_path / "a", {"t": rows([1, 0, 0, 1, 0, 0])}, model="a")
    b = write_lm_eval(tmp_path / "b", {"t": rows([0, 1, 1, 1, 0, 0])}, model="b")
    plain = compare(CompareRequest(a, b)).report.benchmarks.rows[0]
    assert (plain.metric, plain.higher_is_better) == ("errors", True)
    assert plain.counts is not None
    assert (plain.counts.fixed, plain.counts.broken) == (2, 1)
    options = PairingOptions(directions={"t:errors": False})
    turned = compare(CompareRequest(a, b, options=options)).report.benchmarks.rows[0]
    assert not turned.higher_is_better
    assert turned.counts is not None
    assert (turned.counts.fixed, turned.counts.broken) == (1, 2)
    assert turned.delta == plain.delta
    chosen = compare(CompareRequest(a, b, metrics={"t": "other"})).report.benchmarks.rows[0]
    assert (chosen.metric, chosen.primary) == ("other", True)
    with pytest.raises(UsageError, match=r"given for 'u', which is not compared"):
        compare(CompareRequest(a, b, metrics={"u": "other"}))


def test_aggregates_go_through_lm_evals_aggregations(tmp_path: Path) -> None:
    """Word perplexity of (log-likelihood, words) pairs, without lm-eval."""
    rng = np.random.default_rng(1)
    paths, expected = [], []
    for who, low in (("a", 1.0), ("b", 0.6)):
        words, losses = rng.integers(3, 9, 60), rng.uniform(low, low + 1, 60)
        parts = [[-float(w * x), int(w)] for w, x in zip(words, losses, strict=True)]
        rows = [
            {**lm_eval_row(ResultItem(i, 0), "word_perplexity"), "word_perplexity": part}
            for i, part in enumerate(parts)
        ]
        changes = {"higher_is_better": {"t": {"word_perplexity": False}}}
        paths.append(write_lm_eval(tmp_path / who, {"t": rows}, model=who, changes=changes))
        expected.append(math.exp(-sum(p[0] for p in parts) / sum(p[1] for p in parts)))
    row = only(compare(CompareRequest(*paths)))
    assert (row.baseline, row.candidate) == pytest.approx(tuple(expected))
    assert row.lower < row.delta < row.upper < 0
    assert not row.higher_is_better
    assert row.method == "joint document bootstrap"


def test_a_mean_that_was_not_printed_is_left_out(tmp_path: Path) -> None:
    """Inspect may aggregate otherwise than by the mean: then there is no number to trust."""
    paths = []
    for name, values in (("a", [1, 0, 1, 0, 1]), ("b", [0, 0, 1, 0, 1])):
        log = inspect_log([inspect_sample(i) for i in items_of(values)], model=name, accuracy=0.1)
        paths.append(write_inspect_eval(tmp_path / f"{name}.eval", log))
    with pytest.raises(UsageError, match=r"mean over items is 0.6 but 0.1 was printed"):
        compare(CompareRequest(*paths))


def test_failed_samples_are_counted_and_more_than_one_percent_refused(tmp_path: Path) -> None:
    paths = []
    for name, n_failed in (("a", 0), ("b", 1)):
        samples = [inspect_sample(i) for i in items_of([1, 0] * 100)]
        for sample in samples[:n_failed]:
            del sample["scores"]
            sample["error"] = {"message": "the sandbox died"}
        log = inspect_log(samples, model=name)
        paths.append(write_inspect_eval(tmp_path / f"{name}.eval", log))
    report = compare(CompareRequest(*paths)).report
    (alignment,) = report.benchmarks.alignments
    assert (alignment.n_not_numbers, report.benchmarks.rows[0].n) == (1, 199)
    faults = {one.model: one.n_errors for one in report.benchmarks.answer_faults}
    assert faults == {"baseline": 0, "candidate": 1}
    samples = [inspect_sample(i) for i in items_of([1, 0] * 100)]
    for sample in samples[:5]:
        del sample["scores"]
    bad = write_inspect_eval(tmp_path / "c.eval", inspect_log(samples, model="c"))
    with pytest.raises(UsageError, match="5 of 200 items were not scored"):
        compare(CompareRequest(paths[0], bad))


def test_no_common_task_and_the_same_folder_are_refused(tmp_path: Path) -> None:
    rows = [lm_eval_row(item) for item in items_of([1, 0])]
    a = write_lm_eval(tmp_path / "a", {"arc_easy": rows}, model="a")
    b = write_lm_eval(tmp_path / "b", {"gsm8k": rows}, model="b")
    with pytest.raises(UsageError, match="no task in common: arc_easy and gsm8k"):
        compare(CompareRequest(a, b))
    with pytest.raises(UsageError, match="baseline and candidate are the same"):
        compare(CompareRequest(a, a))


def test_a_task_that_cannot_be_paired_does_not_stop_the_others(tmp_path: Path) -> None:
    rows = [lm_eval_row(item) for item in items_of([1, 0, 1, 0])]
    a = write_lm_eval(tmp_path / "a", {"good": rows, "only_a": rows, "old": rows}, model="a")
    changes = {"versions": {"good": 1.0, "old": 2.0}}
    b = write_lm_eval(tmp_path / "b", {"good": rows, "old": rows}, model="b", changes=changes)
    section = compare(CompareRequest(a, b)).report.benchmarks
    assert [row.task for row in section.rows] == ["good"]
    reasons = {failure.task: failure.reason for failure in section.failures}
    assert "no run of the candidate" in reasons["only_a"]
    assert "version differs" in reasons["old"]
    assert not section.gateable


def test_a_written_comparison_is_a_report_and_keeps_every_item(tmp_path: Path) -> None:
    found = run(tmp_path, *table(30, 7, 15, 20))
    write_comparison(found, tmp_path / "out", load_registry().sections())
    assert read_report(tmp_path / "out" / "report.json") == found.report
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    assert document["benchmarks"]["rows"][0]["counts"]["broken"] == 15
    assert results_of_run(tmp_path / "out").items == found.results.items
    assert found.report.benchmarks.gateable
    assert str(tmp_path) not in json.dumps(document["provenance"]["config"])


def test_an_importer_of_a_plugin_is_asked(tmp_path: Path) -> None:
    """A stranger's format: one number a line."""

    class Lines:
        def recognises(self, path: Path) -> bool:
            return path.suffix == ".scores"

        def read(self, path: Path) -> ImportedResults:
            values = [float(line) for line in path.read_text().split()]
            samples = [
                TaskSample.of(i, item=i, target="", prompt="", response="", values={"score": v})
                for i, v in enumerate(values)
            ]
            return ImportedResults(path.stem, "lines", (MeasuredTask("mine", tuple(samples)),))

    @hookimpl
    def mdh_components() -> list[Component]:
        return [Component("result_importer", "lines", Lines, "one number a line")]

    registry = load_registry({"lines": SimpleNamespace(mdh_components=mdh_components)})
    for name, values in (("old", [1, 2, 3, 4]), ("new", [2, 2, 5, 4])):
        (tmp_path / f"{name}.scores").write_text("\n".join(map(str, values)))
    request = CompareRequest(tmp_path / "old.scores", tmp_path / "new.scores")
    row = only(compare(request, registry=registry))
    assert (row.task, row.metric, row.n, row.delta) == ("mine", "score", 4, 0.75)
    size = 0.75 / np.std([1, 0, 2, 0], ddof=1)
    assert row.effect == EffectSize(pytest.approx(size), "Cohen's dz")


def test_simultaneous_intervals_hold_the_rows_own_shape(tmp_path: Path) -> None:
    tasks = {name: table(40, a, b, 20) for name, a, b in (("x", 9, 1), ("y", 3, 3), ("z", 2, 9))}
    paths = [
        write_lm_eval(
            tmp_path / who,
            {name: [lm_eval_row(i) for i in items_of(both[side])] for name, both in tasks.items()},
            model=who,
        )
        for side, who in enumerate("ab")
    ]
    rows = compare(CompareRequest(*paths)).report.benchmarks.rows
    wider = stats.norm.isf(0.025 / 3) / stats.norm.isf(0.025)
    for row in rows:
        assert row.simultaneous is not None
        assert row.simultaneous.lower - row.delta == pytest.approx((row.lower - row.delta) * wider)
        assert row.counts is not None
        exact = mcnemar([[40, row.counts.broken], [row.counts.fixed, 20]], exact=True).pvalue
        assert row.p_exact == pytest.approx(exact)
        assert (row.counts.both_right, row.counts.both_wrong) == (40, 20)
