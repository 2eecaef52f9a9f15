"""Reruns of the baseline: another batch size, another seed for what is sampled, nothing else."""

from __future__ import annotations

import json

import pytest

from modeldiff_harness.artifacts import load_artifact
from modeldiff_harness.benchmarks.records import TaskRun
from modeldiff_harness.benchmarks.rerun import rerun_batch_size
from modeldiff_harness.benchmarks.samples import read_samples


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8, 32])
def test_every_rerun_has_a_batch_size_of_its_own(batch_size):
    sizes = [rerun_batch_size(batch_size, number) for number in range(1, 6)]
    assert len({batch_size, *sizes}) == 6
    assert min(sizes) >= 1
    if batch_size > 1:
        assert sizes[0] == batch_size // 2, "memory that was enough stays enough"


def runs_of(report, tiny) -> dict[str, TaskRun]:
    """Title → the task runs of a report, from the store."""
    found = {}
    for stage in report["provenance"]["stages"]:
        if stage["verb"] == "bench" and not stage["title"].startswith("pair "):
            folder = tiny.store / "objects" / "bench" / stage["key"]
            found[stage["title"]] = load_artifact(TaskRun, folder)
    return found


def test_reruns_fill_the_noise_floor(mdh, flags, tiny, tmp_path):
    """A sampled task: two reruns answer otherwise, on the same prompts."""
    words = ("evaluate", *flags, "--tasks", "mdh_structured", "--limit", "6", "--gen_kwargs",
             "do_sample=True,temperature=1.5,max_gen_toks=6", "--batch_size", "4",
             "--format", "json")  # fmt: skip
    said = mdh(*words, "--reruns", "2")
    assert said.code == 0, said.err
    report = json.loads(said.out)
    rows = report["benchmarks"]["rows"]
    assert {row["noise"]["n_reruns"] for row in rows} == {2}
    assert all(0 <= row["noise"]["flip_rate"] <= 1 for row in rows)
    runs = runs_of(report, tiny)
    first = runs["mdh_structured with tiny-sft"]
    again = [runs[f"mdh_structured with tiny-sft, rerun {number}"] for number in (1, 2)]
    assert "mdh_structured with tiny-simpo, rerun 1" not in runs, "the baseline alone is rerun"
    assert [run.batch_size for run in (first, *again)] == [4, 2, 1]
    assert [run.seeds for run in (first, *again)] == [
        (0, 1234, 1234, 1234), (0, 1234, 1235, 1234), (0, 1234, 1236, 1234)]  # fmt: skip
    sides = [read_samples(run.samples_path) for run in (first, *again)]
    assert len({tuple(s.prompt_hash for s in side) for side in sides}) == 1
    assert len({tuple((s.generation, s.response) for s in side) for side in sides}) == 3
    plain = json.loads(mdh(*words).out)["benchmarks"]["rows"]
    assert {row["noise"] for row in plain} == {None}
    assert [row["delta"] for row in plain] == [row["delta"] for row in rows]


def test_a_negative_number_of_reruns_is_refused(mdh, flags):
    said = mdh("evaluate", *flags, "--tasks", "mdh_math", "--reruns", "-1")
    assert said.code == 2
    assert "-1; it takes 0 to 100" in said.error_line()


def test_a_cluster_key_of_the_configuration_is_checked_before_any_work(mdh, flags, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("benchmarks: {tasks: [mdh_math], clusters: {mdh_math: 'a b('}}\n")
    said = mdh("evaluate", "--pair", "tiny-sft,tiny-simpo", "--config", file)
    assert said.code == 2
    assert "is not a cluster key" in said.error_line()
