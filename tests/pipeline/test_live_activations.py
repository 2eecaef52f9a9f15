"""The latent arm without a cache: the same findings, no activations on disk, exact resume."""

from __future__ import annotations

import json
import os
import shutil
import signal
from types import SimpleNamespace

import pytest
import yaml

import modeldiff_harness
from modeldiff_harness.errors import UsageError
from modeldiff_harness.hookspecs import hookimpl
from modeldiff_harness.pipeline.arms.latents import cost
from modeldiff_harness.plugins import load_registry

LIVE = ("--tasks", "model_diff", "--activations", "stream", "--buffer_tokens", 600)
BELOW = ("harvest", "train")
QUICK = ("--learner_args", "steps=60,checkpoint_every_seconds=0.02", "--null", "none")


@pytest.fixture(scope="module")
def live(tiny, mdh, flags, tmp_path_factory):
    """A live run in a store of its own: (report, store)."""
    store = tmp_path_factory.mktemp("live")
    said = mdh("evaluate", *flags, *LIVE, "--format", "json", environment={"MDH_STORE": str(store)})
    assert said.code == 0, said.err
    return json.loads(said.out), store


def arrays(store):
    return {p.parent.name: p.read_bytes() for p in store.glob("objects/train/*/arrays.safetensors")}


def test_a_live_run_finds_what_a_cached_one_finds_and_stores_no_activations(live, finished):
    report, store = live
    assert not list(store.rglob("activations.*"))
    assert not list(store.rglob("live-stream-*"))
    ours, theirs = report["latents"], finished.report["latents"]
    assert ours["status"] == "measured"
    for mine, cached in zip(ours["difference_energy"], theirs["difference_energy"], strict=True):
        for one, other in zip(mine["rows"], cached["rows"], strict=True):
            assert one["n_tokens"] == other["n_tokens"]
            mine_energy, cached_energy = one["relative_energy"], other["relative_energy"]
            for name in ("estimate", "lower", "upper", "se", "df"):
                assert mine_energy[name] == pytest.approx(cached_energy[name], rel=1e-5), name
            assert mine_energy["method"] == cached_energy["method"]
    (mine,), (cached,) = ours["dictionaries"], theirs["dictionaries"]
    assert mine["null_counts"], "the null twin is run live as well"
    assert sum(mine["counts"]["calibrated"].values()) == 64
    for model, fve in cached["fve"].items():
        assert mine["fve"][model] == pytest.approx(fve, abs=0.05)


def test_swapping_the_pair_runs_and_trains_nothing_again(live, tiny, mdh):
    report, store = live
    said = mdh("evaluate", "--pair", "tiny-simpo,tiny-sft", "--config", tiny.config, *LIVE,
               "--format", "json", environment={"MDH_STORE": str(store)})  # fmt: skip
    assert said.code == 0, said.err
    below = [
        {
            (s["verb"], s["key"])
            for s in r["provenance"]["stages"]
            if s["verb"] in ("harvest", "train")
        }
        for r in (report, json.loads(said.out))
    ]
    assert below[0] == below[1]


@pytest.mark.slow
def test_a_broken_off_live_training_ends_with_the_same_bits(mdh, flags, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert mdh("train", *flags, *LIVE, *QUICK, environment={"MDH_STORE": str(whole)}).code == 0
    seen = []

    @hookimpl
    def mdh_train_step(event):
        seen.append(event.step)
        if event.step == 40 and not broken.joinpath("once").exists():
            broken.joinpath("once").touch()
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(
            "modeldiff_harness.pipeline.run.load_registry",
            lambda: load_registry({"break": SimpleNamespace(mdh_train_step=mdh_train_step)}),
        )
        said = mdh("train", *flags, *LIVE, *QUICK, environment={"MDH_STORE": str(broken)})
        assert said.code == 130
        (record,) = broken.rglob("live-stream-*.json")
        assert record.stat().st_size < 2000, "numbers of outliers, no activations"
        assert not list(broken.rglob("activations.*"))
        said = mdh("train", *flags, *LIVE, *QUICK, environment={"MDH_STORE": str(broken)})
        assert said.code == 0, said.err
    assert seen[-1] == 60
    assert seen.count(10) == 1, "it did not begin anew"
    assert arrays(whole) == arrays(broken) != {}


def test_buffer_and_its_type_make_other_dictionaries_of_the_same_statistics(
    live, mdh, flags, tiny, tmp_path
):
    _, store = live
    shutil.copytree(store, tmp_path / "store")
    before = arrays(tmp_path / "store")
    n_harvests = len(list((tmp_path / "store").glob("objects/harvest/*/manifest.json")))
    config = tmp_path / "narrow.yaml"
    given = yaml.safe_load(tiny.config.read_text(encoding="utf-8"))
    given["latents"] |= {"buffer_dtype": "bfloat16", "null": "none"}
    config.write_text(yaml.safe_dump(given), encoding="utf-8")
    said = mdh("train", *flags[:2], "--config", config, *LIVE,
               environment={"MDH_STORE": str(tmp_path / "store")})  # fmt: skip
    assert said.code == 0, said.err
    after = arrays(tmp_path / "store")
    assert len(after) == len(before) + 1
    assert len(list((tmp_path / "store").glob("objects/harvest/*/manifest.json"))) == n_harvests


@pytest.mark.parametrize("mode", ["cached", "stream"])
def test_the_plan_states_both_ways_and_what_is_short(mode, mdh, flags, monkeypatch, tmp_path):
    environment = {"MDH_STORE": str(tmp_path)}
    asked = ("evaluate", *flags, "--activations", mode, "--plan")
    said = mdh(*asked, environment=environment)
    assert "activations cached" in said.out
    assert "activations stream" in said.out
    assert f"activations {mode} (chosen)" in said.out
    assert "warning" not in said.out
    free = SimpleNamespace(free=1000, total=2000, used=1000)
    monkeypatch.setattr(cost.shutil, "disk_usage", lambda _path: free)
    monkeypatch.setattr(
        cost.psutil, "virtual_memory", lambda: SimpleNamespace(available=1000, total=2000)
    )
    said = mdh(*asked, environment=environment)
    assert said.code == 0
    warnings = [line for line in said.out.splitlines() if line.startswith("warning")]
    assert any("memory" in line for line in warnings)
    assert any("--activations stream" in line for line in warnings) == (mode == "cached")


def test_a_full_disk_is_refused_before_the_first_harvest(mdh, flags, monkeypatch, tmp_path):
    free = SimpleNamespace(free=1000, total=2000, used=1000)
    monkeypatch.setattr(cost.shutil, "disk_usage", lambda _path: free)
    said = mdh("harvest", *flags, environment={"MDH_STORE": str(tmp_path)})
    assert said.code == 4
    assert "--activations stream" in said.error_line()
    assert not list(tmp_path.rglob("activations.partial"))


def test_unknown_ways_are_refused(tiny, monkeypatch):
    for name, setting in tiny.environment.items():
        monkeypatch.setenv(name, setting)
    for latents in ({"activations": "streamed"}, {"buffer_dtype": "int8"}):
        with pytest.raises(UsageError, match=next(iter(latents.values()))):
            modeldiff_harness.evaluate("tiny-sft,tiny-simpo", config=tiny.config, latents=latents)
