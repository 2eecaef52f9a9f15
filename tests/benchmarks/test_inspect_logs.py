"""Inspect's logs: epochs as the log reduces them, runs that are not whole, tasks with arguments."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeldiff_harness.artifacts import ImportedResults, MeasuredTask
from modeldiff_harness.benchmarks.epoch_reducers import epoch_reducer
from modeldiff_harness.benchmarks.pairing.task import PairingOptions
from modeldiff_harness.builtin import import_results_inspect
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.pipeline.compare import CompareRequest, compare
from modeldiff_harness.testing.result_files import (
    ResultItem,
    inspect_log,
    inspect_sample,
    items_of,
    write_inspect_eval,
)

EPOCHS = [[1, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 1]]
"""Item → value in each of four epochs."""


def log_of(
    epochs: Sequence[Sequence[float]], reducers: Sequence[str] | None, **changes: Any
) -> dict[str, Any]:
    """A log of these values whose table has a line a reducer."""
    samples = [
        inspect_sample(ResultItem(i, value, epoch=e))
        for i, values in enumerate(epochs)
        for e, value in enumerate(values, start=1)
    ]
    log = inspect_log(samples, **changes)
    log["eval"]["config"] = {"epochs": len(epochs[0]), "epochs_reducer": reducers}
    if reducers:
        log["results"]["scores"] = [
            {"name": "match", "scorer": "match", "reducer": one, "metrics": {}} for one in reducers
        ]
    return log


def read(path: Path) -> ImportedResults:
    return import_results_inspect.create().read(path)


def one_task(tmp_path: Path, log: dict[str, Any]) -> MeasuredTask:
    (task,) = read(write_inspect_eval(tmp_path / "log.eval", log)).tasks
    return task


def drawn(values: Sequence[float], k: int, passes: Any) -> float:
    """The share of all ways to draw k epochs that pass: what the closed forms stand for."""
    draws = list(combinations(values, k))
    return sum(bool(passes(draw)) for draw in draws) / len(draws)


EXPECTED = {
    "max": [max(values) for values in EPOCHS],
    "median": [0.5, 0, 0, 1, 1],
    "mode": [1, 0, 0, 1, 1],
    "at_least_2": [1, 0, 0, 1, 1],
    "at_least_4": [0, 0, 0, 1, 0],
    "pass_at_2": [drawn(values, 2, any) for values in EPOCHS],
    "pass_at_4": [1, 1, 0, 1, 1],
    "pass_k_2": [drawn(values, 2, all) for values in EPOCHS],
}


@pytest.mark.parametrize("reducer", EXPECTED)
def test_epochs_are_reduced_as_the_log_does(reducer: str, tmp_path: Path) -> None:
    log = log_of(EPOCHS, [reducer])
    mean = float(np.mean(EXPECTED[reducer]))
    log["results"]["scores"][0]["metrics"] = {"accuracy": {"name": "accuracy", "value": mean}}
    task = one_task(tmp_path, log)
    name = f"match/{reducer}"
    assert [s.values for s in task.samples] == [
        {name: pytest.approx(value)} for value in EXPECTED[reducer]
    ]
    assert {s.repeat for s in task.samples} == {0}
    assert task.primary_metrics == (name,)
    assert task.printed[f"{name},none"] == mean


def test_two_reducers_give_two_metrics_and_the_mean_keeps_its_name(tmp_path: Path) -> None:
    task = one_task(tmp_path, log_of(EPOCHS, ["mean", "max"]))
    assert task.samples[0].values == {"match": 0.5, "match/max": 1.0}
    assert task.primary_metrics == ("match", "match/max")


def test_a_reducer_of_ones_own_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="epochs are reduced by 'my_vote', which is not one of"):
        one_task(tmp_path, log_of(EPOCHS, ["my_vote"]))
    task_with_mean = read(
        write_inspect_eval(tmp_path / "two.eval", log_of(EPOCHS, ["mean", "collect"]))
    )
    assert "match left out: its epochs are reduced by 'collect'" in task_with_mean.notes[0]


@pytest.mark.parametrize("reducer", ["mean", "max", "median", "mode"])
def test_one_epoch_needs_no_reducer(reducer: str, tmp_path: Path) -> None:
    task = one_task(tmp_path, log_of([[1], [0]], [reducer]))
    assert [s.values for s in task.samples] == [{"match": 1.0}, {"match": 0.0}]


def test_epochs_without_a_score_are_left_out_of_the_reduction(tmp_path: Path) -> None:
    log = log_of([[1, 0, 1]], ["max"])
    log["samples"][0]["scores"]["match"]["value"] = float("nan")
    log["samples"][2]["scores"] = {}
    assert one_task(tmp_path, log).samples[0].values == {"match/max": 0.0}
    log["samples"][1]["scores"] = None
    unscored = one_task(tmp_path, log).samples[0].values
    assert not any(math.isfinite(value) for value in unscored.values())


def test_pass_at_k_of_fewer_epochs_is_not_defined() -> None:
    reduce = epoch_reducer("pass_at_5")
    assert reduce is not None
    assert math.isnan(reduce([1, 1], float))
    assert epoch_reducer("pass_at_0") is None


def test_printed_and_shown_are_one_number(tmp_path: Path) -> None:
    """40 items, 3 epochs, by the best: what the logs print is what the report shows."""
    generator = np.random.default_rng(0)
    shown = []
    for name, chance in (("old", 0.4), ("new", 0.6)):
        values = (generator.random((40, 3)) < chance).astype(int).tolist()
        log = log_of(values, ["max"], model=f"provider/{name}")
        best = float(np.max(values, axis=1).mean())
        log["results"]["scores"][0]["metrics"] = {"accuracy": {"name": "accuracy", "value": best}}
        write_inspect_eval(tmp_path / f"{name}.eval", log)
        shown.append(best)
    results = compare(CompareRequest(tmp_path / "old.eval", tmp_path / "new.eval")).results
    assert (results.rows[0].baseline, results.rows[0].candidate) == pytest.approx(tuple(shown))


# ── tasks and samples ────────────────────────────────────────────────────────────────────────


def test_one_task_with_several_arguments_is_several_tasks(tmp_path: Path) -> None:
    for language, value in (("en", 1), ("fr", 0)):
        log = inspect_log([inspect_sample(ResultItem(0, value))])
        log["eval"]["task_args"] = {"language": language, "shots": 5}
        write_inspect_eval(tmp_path / f"{language}.eval", log)
    found = {task.task: task.samples[0].values["match"] for task in read(tmp_path).tasks}
    assert found == {"gsm8k [language=en]": 1.0, "gsm8k [language=fr]": 0.0}


def test_two_sides_with_other_arguments_are_not_one_task(tmp_path: Path) -> None:
    paths = []
    for language in ("en", "fr"):
        log = inspect_log([inspect_sample(i) for i in items_of([1, 0, 1])], model=language)
        log["eval"]["task_args"] = {"language": language}
        paths.append(write_inspect_eval(tmp_path / f"{language}.eval", log))
    with pytest.raises(UsageError, match=r"version differs.*language=en and 0 with language=fr"):
        compare(CompareRequest(*paths))


def test_the_newest_log_is_the_latest_moment_not_the_largest_text(tmp_path: Path) -> None:
    for name, created, value in (
        ("a", "2025-11-03T23:00:00+02:00", 0),
        ("b", "2025-11-03T22:00:00+00:00", 1),
    ):
        log = inspect_log([inspect_sample(ResultItem(0, value))], created=created)
        write_inspect_eval(tmp_path / f"{name}.eval", log)
    assert read(tmp_path).tasks[0].samples[0].values == {"match": 1.0}


def test_local_models_have_one_name_and_several_paths(tmp_path: Path) -> None:
    for name in ("a", "b"):
        log = inspect_log([inspect_sample(ResultItem(0, 1))], model="hf/local", task=name)
        log["eval"]["model_args"] = {"model_path": f"/checkpoints/{name}"}
        write_inspect_eval(tmp_path / f"{name}.eval", log)
    with pytest.raises(UsageError, match=r"several models: hf/local .model_path=/checkpoints/a"):
        read(tmp_path)


def test_the_one_score_of_version_1_is_read(tmp_path: Path) -> None:
    log = inspect_log([inspect_sample(i) for i in items_of([1, 0])], version=1)
    for sample in log["samples"]:
        (sample["score"],) = sample.pop("scores").values()
    log["results"] = {
        "scorer": {"name": "includes", "params": {}},
        "metrics": {"accuracy": {"name": "accuracy", "value": 0.5}},
    }
    (tmp_path / "log.json").write_text(json.dumps(log))
    (task,) = read(tmp_path).tasks
    assert [s.values for s in task.samples] == [{"includes": 1.0}, {"includes": 0.0}]
    assert task.printed["includes,none"] == 0.5


@pytest.mark.parametrize(
    ("ids", "expected"),
    [((1, "1"), [1, 1]), (("7", 7), [7, 7]), (("01", 1), ["01", 1]), (("-3", "x"), [-3, "x"])],
)
def test_an_id_is_its_text(ids: tuple[Any, Any], expected: list[Any], tmp_path: Path) -> None:
    samples = [inspect_sample(ResultItem(i, 1)) for i in (0, 1)]
    for sample, one in zip(samples, ids, strict=True):
        sample["id"] = one
    (tmp_path / "log.json").write_text(json.dumps(inspect_log(samples)))
    assert [s.doc_id for s in read(tmp_path).tasks[0].samples] == expected


# ── runs that are not whole ──────────────────────────────────────────────────────────────────

TOTAL = {"total_samples": 10, "completed_samples": 10, "scores": []}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"status": "error"}, "ended as 'error' with 5 of 5 samples"),
        ({"status": "error", "results": None}, "ended as 'error' with 5 of 5 samples"),
        ({"status": "cancelled", "results": TOTAL}, "ended as 'cancelled' with 5 of 10 samples"),
        ({"status": "started"}, "ended as 'started' with 5 of 5 samples"),
        ({"results": TOTAL}, "holds only 5 of 10 samples"),
        ({"results": {**TOTAL, "total_samples": 0}}, "holds only 5 of 10 samples"),
        ({"invalidated": True}, "was marked as invalid, with 5 of 5 samples"),
    ],
)
def test_a_run_that_is_not_whole_is_refused_by_its_count_unless_it_is_allowed(
    changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    items = items_of([1, 0, 0, 1, 1])
    paths = [
        write_inspect_eval(
            tmp_path / f"{name}.eval",
            inspect_log([inspect_sample(i) for i in items], model=name, **more),
        )
        for name, more in (("old", {}), ("new", changes))
    ]
    with pytest.raises(UsageError, match=f"the candidate's run {says}"):
        compare(CompareRequest(*paths))
    allowed = CompareRequest(*paths, options=PairingOptions(allow_unmatched=True))
    results = compare(allowed).results
    assert results.rows[0].n == 5
    assert any(says in note for note in results.notes)


def test_a_run_that_stopped_early_by_its_own_rule_is_whole(tmp_path: Path) -> None:
    stopped = {**TOTAL, "completed_samples": 5, "early_stopping": {"manager": "x"}}
    log = inspect_log([inspect_sample(i) for i in items_of([1, 0, 0, 1, 1])], results=stopped)
    assert one_task(tmp_path, log).unfinished == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epoch": 1.0}, "entry 'samples/0_epoch_1.0.json' is among the samples"),
        ({"epoch": "1"}, "sample 0 has no id and epoch"),
        ({"epoch": True}, "entry 'samples/0_epoch_True.json' is among the samples"),
        ({"scores": [1]}, "sample 0 has scores that are list, not an object"),
    ],
)
def test_samples_of_wrong_types_are_named(
    change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    sample = {**inspect_sample(ResultItem(0, 1)), **change}
    with pytest.raises(UsageError, match=says):
        one_task(tmp_path, inspect_log([sample]))


def test_unpaired_runs_raise_one_line() -> None:
    """The rule is pairing's, whichever importer says so."""
    from modeldiff_harness.benchmarks.pairing.task import pair_task

    task = MeasuredTask("t", (), unfinished="ended as 'error' with 1 of 2 samples")
    with pytest.raises(RunError, match="the baseline's run ended as 'error' with 1 of 2 samples"):
        pair_task(task, task)
