"""The tiny pair end to end: arms, selections, designs, repetition, the Python face."""

from __future__ import annotations

import json

import pytest

import modeldiff_harness
from modeldiff_harness.report.schema import read_report, report_digest

ARMS = ("benchmarks", "preferences", "latents")


def states(report) -> dict[str, str]:
    return {arm: report[arm]["status"] for arm in ARMS}


def stage_states(report) -> set[str]:
    return {stage["state"] for stage in report["provenance"]["stages"]}


def test_one_command_measures_three_arms_and_writes_three_files(finished, mdh):
    assert states(finished.report) == dict.fromkeys(ARMS, "measured")
    for name in ("report.json", "report.md", "report.html"):
        assert (finished.output / name).stat().st_size > 1000, name
    assert list((finished.output / "lm_eval").rglob("*")), "results in lm-eval's own shape"
    assert finished.report["pair"]["null_twin"]["name"] == "tiny-sft-b"
    for row in finished.report["benchmarks"]["rows"]:
        assert (row["task"], row["n"], row["capability"]) == ("mdh_math", 20, "math_reasoning")
    assert finished.report["preferences"]["deltas"]["n_prompts"] == 12
    (dictionary,) = finished.report["latents"]["dictionaries"]
    assert sum(dictionary["counts"]["calibrated"].values()) == 64
    assert dictionary["null_counts"], "the null twin was trained beside it"
    assert "above_null" in dictionary["counts"]
    assert "report.html" in finished.said.out


def test_a_finished_run_repeats_from_the_store(finished, mdh, flags, tmp_path):
    said = mdh("evaluate", *flags, "--output_path", tmp_path, "--format", "json")
    assert said.code == 0, said.err
    again = json.loads(said.out)
    assert stage_states(again) == {"reused"}
    assert json.loads(mdh("report", "latest", "--format", "json").out) == again
    first = {(s["verb"], s["key"]) for s in finished.report["provenance"]["stages"]}
    assert {(s["verb"], s["key"]) for s in again["provenance"]["stages"]} == first
    digests = {report_digest(read_report(p / "report.json")) for p in (finished.output, tmp_path)}
    assert len(digests) == 1


def test_a_stage_is_timed_and_logged_after_what_it_rests_on(finished):
    lines = [line for line in finished.said.err.splitlines() if line.startswith(
        ("harvest", "train ", "score ", "bench", "battle", "rank"))]  # fmt: skip
    at = {line.split()[0]: number for number, line in reversed(list(enumerate(lines)))}
    assert at["battle"] < at["rank"]
    assert at["harvest"] < at["train"]
    titles = [line.split(maxsplit=1)[1] for line in lines if line.startswith("bench")]
    assert titles[-1].startswith("pair "), titles


@pytest.mark.parametrize(
    ("tasks", "measured"),
    [
        (["mdh_math"], {"benchmarks"}),
        (["model_diff"], {"latents"}),
        (["style-preference"], {"preferences"}),
        (["mdh_math,style_preference"], {"benchmarks", "preferences"}),
        (["mdh_math", "model_diff"], {"benchmarks", "latents"}),
    ],
)
def test_naming_tasks_selects_arms(finished, mdh, flags, tasks, measured):
    said = mdh("evaluate", *flags, "--tasks", *tasks, "--format", "json")
    assert said.code == 0, said.err
    report = json.loads(said.out)
    assert {arm for arm, state in states(report).items() if state == "measured"} == measured
    assert stage_states(report) <= {"reused", "computed"}
    for arm in set(ARMS) - measured:
        assert report[arm]["reason"]
    computed = {s["verb"] for s in report["provenance"]["stages"] if s["state"] == "computed"}
    assert computed <= {"preflight"}, "everything else was there already"


def test_via_base_with_several_sites_and_replicates_and_no_null(finished, mdh, flags):
    said = mdh(
        "evaluate", *flags, "--tasks", "model_diff", "--design", "via-base", "--null", "none",
        "--replicates", 2, "--sites", "resid_post.1", "resid_post.2",
        "--learner-args", "steps=40", "--format", "json",
    )  # fmt: skip
    assert said.code == 0, said.err
    latents = json.loads(said.out)["latents"]
    dictionaries = latents["dictionaries"]
    assert len({d["dictionary_id"] for d in dictionaries}) == len(dictionaries) == 8
    assert {tuple(d["sites"]) for d in dictionaries} == {("resid_post.1",), ("resid_post.2",)}
    assert {d["replicate"] for d in dictionaries} == {0, 1}
    assert all("tiny-base" in d["models"] and len(d["models"]) == 2 for d in dictionaries)
    assert all(d["null_counts"] is None for d in dictionaries)
    assert all("above_null" in d["rules_skipped"] for d in dictionaries)
    assert {e["site"] for e in latents["difference_energy"]} == {"resid_post.1", "resid_post.2"}


def test_flags_override_the_file(finished, mdh, flags):
    said = mdh("evaluate", *flags, "--tasks", "mdh_math", "--limit", 5, "--format", "json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["benchmarks"]["rows"][0]["n"] == 5


def test_the_command_in_the_report_makes_the_report_again(finished, mdh):
    import shlex

    words = shlex.split(finished.report["provenance"]["command"])
    assert words[:2] == ["mdh", "evaluate"]
    said = mdh(*words[1:], "--format", "json")
    assert said.code == 0, said.err
    assert stage_states(json.loads(said.out)) == {"reused"}


def test_the_python_face_gives_the_same_report(finished, tiny, monkeypatch):
    for name, setting in tiny.environment.items():
        monkeypatch.setenv(name, setting)
    report = modeldiff_harness.evaluate(("tiny-sft", "tiny-simpo"), config=tiny.config)
    assert report_digest(report) == report_digest(read_report(finished.output / "report.json"))
    assert {stage.state for stage in report.provenance.stages} == {"reused"}
    assert {"benchmarks", "latents"} <= set(report.to_pandas())
