"""run.json: what a run names, `mdh gc` keeps, however the run ended."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from modeldiff_harness.errors import RunError
from modeldiff_harness.pipeline.record import RunRecord


@pytest.fixture
def place(tiny, finished, tmp_path):
    """A store of its own with everything that the tiny run made, and no record of it."""
    store = tmp_path / "store"
    shutil.copytree(tiny.store, store)
    shutil.rmtree(store / "data")
    return store


def objects(store):
    return {(p.parent.parent.name, p.parent.name) for p in store.glob("objects/*/*/manifest.json")}


def records(store):
    return [json.loads(p.read_text("utf-8")) for p in store.glob("data/runs/*/run.json")]


def test_gc_after_a_single_verb_keeps_what_it_made(place, mdh, flags):
    here = {"MDH_STORE": str(place)}
    assert mdh("train", *flags, environment=here).code == 0
    (record,) = records(place)
    assert (record["state"], record["verb"]) == ("finished", "train")
    named = {(stage["verb"], stage["key"]) for stage in record["graph"]}
    assert {verb for verb, _ in named} == {"harvest", "train"}
    before = objects(place)
    assert mdh("gc", environment=here).code == 0
    assert objects(place) == named <= before
    assert mdh("evaluate", *flags, environment=here).code == 0
    assert mdh("train", *flags, environment=here).code == 0
    assert {record["state"] for record in records(place)} == {"finished"}
    assert len(records(place)) == 2, "a verb alone does not write over the whole run's record"


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), RunError("the disk broke")])
def test_gc_after_a_run_that_broke_off_keeps_all_of_it(place, mdh, flags, monkeypatch, stop):
    here = {"MDH_STORE": str(place)}
    before = objects(place)

    def fail(*_args, **_kwargs):
        raise stop

    monkeypatch.setattr("modeldiff_harness.pipeline.arms.latents.arm.latent_findings", fail)
    assert mdh("evaluate", *flags, environment=here).code in (4, 130)
    (record,) = records(place)
    assert record["state"] == "failed"
    kept = {(stage["verb"], stage["key"]) for stage in record["graph"]}
    assert mdh("gc", environment=here).code == 0
    assert objects(place) == before & kept
    assert {verb for verb, _ in objects(place)} >= {"bench", "battle", "harvest", "train"}


def test_unfinished_work_that_a_run_names_is_kept_and_a_strangers_goes(place, mdh, flags):
    here = {"MDH_STORE": str(place)}
    assert mdh("train", *flags, environment=here).code == 0
    (record,) = records(place)
    (key,) = [s["key"] for s in record["graph"] if s["verb"] == "train"][:1]
    begun = place / "objects" / "train" / f"{key}.partial"
    stray = place / "objects" / "train" / f"{'0' * 32}.partial"
    for folder in (begun, stray):
        folder.mkdir()
        (folder / "checkpoint").write_text("half", encoding="utf-8")
    assert mdh("gc", environment=here).code == 0
    assert begun.exists()
    assert not stray.exists()


def test_other_commands_find_items_by_reference(place, mdh, flags):
    here = {"MDH_STORE": str(place)}
    assert mdh("evaluate", *flags, environment=here).code == 0
    (record,) = records(place)
    found = record["artifacts"]["benchmarks"]
    assert (place / "objects" / found["verb"] / found["key"] / "manifest.json").exists()
    assert mdh("flips", "latest", environment=here).code == 0


def broken_off(place, mdh, flags, monkeypatch, *more):
    """Run a finished comparison again, up to a failure in its last step; return what was there."""
    here = {"MDH_STORE": str(place)}
    before = objects(place)

    def fail(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", str(place))

    monkeypatch.setattr("modeldiff_harness.pipeline.run.build_report", fail)
    said = mdh("evaluate", *flags, *more, environment=here)
    assert said.code == 4, said.err
    assert "mdh gc" not in said.err
    monkeypatch.undo()
    return before


def test_gc_after_a_rerun_that_fails_late_removes_nothing_of_the_run(
    place, mdh, flags, monkeypatch
):
    here = {"MDH_STORE": str(place)}
    assert mdh("evaluate", *flags, environment=here).code == 0
    assert mdh("gc", environment=here).code == 0
    before = broken_off(place, mdh, flags, monkeypatch)
    assert [record["state"] for record in records(place)] == ["failed"]
    assert mdh("gc", environment=here).code == 0
    assert objects(place) == before


@pytest.mark.parametrize("output", ["/etc/passwd", "/proc/mdh", "x" * 300])
def test_an_output_path_is_looked_at_before_any_work(output, mdh, flags, tmp_path):
    here = {"MDH_STORE": str(tmp_path / "store")}
    said = mdh("evaluate", *flags, "--output_path", output, environment=here)
    assert said.code == 2
    assert "--output_path" in said.error_line()
    assert not (tmp_path / "store" / "objects").exists()


def test_a_full_disk_that_takes_the_record_as_well_costs_no_object(place, mdh, flags, monkeypatch):
    here = {"MDH_STORE": str(place)}
    before = objects(place)
    write = RunRecord.write

    def full(self, state):
        if state != "running":
            raise OSError(errno.ENOSPC, "No space left on device", str(self.folder))
        write(self, state)

    monkeypatch.setattr(RunRecord, "write", full)
    said = mdh("evaluate", *flags, environment=here)
    assert said.code == 4
    assert "No space left on device" in said.error_line()
    monkeypatch.undo()
    (record,) = records(place)
    kept = {(stage["verb"], stage["key"]) for stage in record["graph"]}
    assert mdh("gc", environment=here).code == 0
    assert objects(place) == before & kept


def test_what_an_earlier_run_of_the_name_made_stays_named_until_this_one_is_finished(
    place, mdh, flags, monkeypatch
):
    here = {"MDH_STORE": str(place)}
    assert mdh("evaluate", *flags, environment=here).code == 0
    (file,) = place.glob("data/runs/*/run.json")
    record = json.loads(file.read_text("utf-8"))
    earlier = {"verb": "label", "key": "e" * 32}
    file.write_text(json.dumps({**record, "graph": [*record["graph"], earlier]}), encoding="utf-8")
    broken_off(place, mdh, flags, monkeypatch)
    assert earlier in records(place)[0]["graph"]
    assert mdh("evaluate", *flags, environment=here).code == 0
    assert earlier not in records(place)[0]["graph"]


@pytest.mark.parametrize("content", ["", "null", "[1]", "{}", "{"])
def test_gc_stops_at_a_record_that_it_cannot_read_and_others_go_on(content, place, mdh):
    here = {"MDH_STORE": str(place)}
    before = objects(place)
    folder = place / "data" / "runs" / "broken"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(content, encoding="utf-8")
    said = mdh("gc", environment=here)
    assert said.code == 4
    assert "nothing was removed" in said.error_line()
    assert str(folder) in said.error_line()
    assert objects(place) == before
    said = mdh("runs", environment=here)
    assert said.code == 0
    assert "unreadable" in said.out
    listed = json.loads(mdh("runs", "--json", environment=here).out)
    assert [run["state"] for run in listed] == ["unreadable"]
    for command in (
        ("flips", "broken"),
        ("dictionaries", "export", "broken", "--output", place / "to"),
    ):
        said = mdh(*command, environment=here)
        assert said.code in (2, 4)
        assert "run.json" in said.error_line()


SLOW_STAGE = """
import os, sys, time
from modeldiff_harness.cli import main
import modeldiff_harness.pipeline.arms.latents.arm as arm
def wait(*_args, **_more):
    print("ready", file=sys.stderr, flush=True)
    time.sleep(120)
arm.latent_findings = wait
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "code", "state"),
    [("SIGINT", 130, "failed"), ("SIGTERM", 143, "failed"), ("SIGHUP", 129, "failed"),
     ("SIGKILL", -9, "running")],
)  # fmt: skip
def test_gc_beside_a_run_and_after_every_end_of_it_removes_nothing_of_it(
    name, code, state, place, tiny, mdh, flags
):
    here = {**tiny.environment, "MDH_STORE": str(place)}
    before = objects(place)
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_STAGE, "evaluate", *flags],
        stderr=subprocess.PIPE, text=True, env={**os.environ, **here},
    ) as process:  # fmt: skip
        while process.stderr.readline() not in ("ready\n", ""):
            pass
        assert mdh("gc", environment=here).code == 0
        beside = objects(place)
        process.send_signal(getattr(signal, name))
        assert process.wait(60) == code
    (record,) = records(place)
    assert record["state"] == state
    kept = {(stage["verb"], stage["key"]) for stage in record["graph"]}
    assert beside == before & kept
    assert {verb for verb, _ in beside} >= {"bench", "battle", "harvest", "train", "score"}
    assert mdh("gc", environment=here).code == 0
    assert objects(place) == beside


def test_long_names_of_models_make_a_folder_that_every_file_system_takes(mdh, flags, tmp_path):
    from modeldiff_harness.config import resolve_config

    long = ["é" * 200, "/".join(["folder"] * 60)]
    context = SimpleNamespace(config=resolve_config(overrides={"pair": long}))
    name = RunRecord(context, {}, []).folder.name
    assert len(name.encode()) <= 255
    other = SimpleNamespace(config=resolve_config(overrides={"pair": [long[0] + "é", long[1]]}))
    assert RunRecord(other, {}, []).folder.name != name


@pytest.mark.long
def test_a_break_between_train_and_score_changes_no_bit(tiny, flags, tmp_path):
    def run(store, *commands):
        for command in commands:
            subprocess.run(
                [sys.executable, "-c", "from modeldiff_harness.cli import main; main()",
                 command, *flags],
                check=True, capture_output=True,
                env={**os.environ, **tiny.environment, "MDH_STORE": str(store)},
            )  # fmt: skip
        found = store.glob("objects/score/*/arrays.safetensors")
        return {path.parent.name: path.read_bytes() for path in found}

    unbroken = run(tmp_path / "one", "score")
    assert unbroken
    assert run(tmp_path / "two", "train", "score") == unbroken
