"""run.json: what a run names, `mdh gc` keeps, however the run ended."""

from __future__ import annotations

import json
import shutil

import pytest

from modeldiff_harness.errors import RunError


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
