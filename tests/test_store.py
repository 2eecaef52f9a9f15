"""The store: one computation a key, nothing half-written taken for whole."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldiff_harness.artifacts.arrays import NDArray
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.store import (
    Store,
    canonical_json,
    digest_of,
    existing_folder,
    resolve_run_folder,
    write_atomically,
)


@dataclass(frozen=True)
class Thing:
    SCHEMA_VERSION: ClassVar[int] = 1

    name: str
    values_L: NDArray[np.float64]
    folder: Path = field(default=Path(), compare=False, metadata={"transient": True})


def make_thing(workdir: Path) -> Thing:
    (workdir / "extra.bin").write_bytes(b"x" * 1000)
    return Thing("a", np.arange(5.0))


def test_an_object_is_made_once_and_read_back(tmp_path):
    store = Store(tmp_path)
    calls = []

    def make(workdir):
        calls.append(workdir)
        return make_thing(workdir)

    first, found = store.compute("train", {"seed": 1}, Thing, make)
    again, found_again = store.compute("train", {"seed": 1}, Thing, make)
    assert len(calls) == 1
    assert not found.reused
    assert found_again.reused
    assert again.name == first.name == "a"
    np.testing.assert_array_equal(again.values_L, np.arange(5.0))
    assert (again.folder / "extra.bin").stat().st_size == 1000
    assert store.has("train", {"seed": 1})
    assert not store.has("train", {"seed": 2})


def test_a_failure_leaves_checkpoints_for_the_next_call(tmp_path):
    store = Store(tmp_path)

    def failing(workdir):
        (workdir / "checkpoint").write_text("half")
        raise ValueError("killed")

    def continuing(workdir):
        assert (workdir / "checkpoint").read_text() == "half"
        (workdir / "checkpoint").unlink()
        return Thing("done", np.zeros(1))

    with pytest.raises(ValueError, match="killed"):
        store.compute("train", {}, Thing, failing)
    assert not store.has("train", {})
    thing, _ = store.compute("train", {}, Thing, continuing)
    assert thing.name == "done"
    assert not (thing.folder / "checkpoint").exists()


MANIFESTS = {
    "cut": '{"verb": "sco',
    "no mapping": "[]",
    "no files": '{"verb": "score", "recipe": {}, "seconds": 1, "files": ["extra.bin"]}',
    "no size": '{"verb": "score", "recipe": {}, "seconds": 1, "files": {"extra.bin": {}}}',
}


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "json", *MANIFESTS])
def test_damage_is_found_and_the_object_rebuilt(tmp_path, damage):
    store = Store(tmp_path)
    thing, found = store.compute("score", {}, Thing, make_thing)
    victim = thing.folder / "extra.bin"
    if damage == "flip":
        victim.write_bytes(b"x" * 999 + b"y")
    elif damage == "truncate":
        victim.write_bytes(b"x" * 10)
    elif damage == "remove":
        victim.unlink()
    elif damage == "json":
        (thing.folder / "artifact.json").write_text("{}")
    else:
        (thing.folder / "manifest.json").write_text(MANIFESTS[damage])
    assert store.verify(), "verify must name the damage"
    with pytest.raises(RunError, match="no usable"):
        store.load("score", found.key, Thing)
    rebuilt, found = store.compute("score", {}, Thing, make_thing)
    assert not found.reused
    assert (rebuilt.folder / "extra.bin").read_bytes() == b"x" * 1000
    assert store.verify() == []


def test_verify_checks_that_the_recipe_gives_the_key(tmp_path):
    store = Store(tmp_path)
    thing, _ = store.compute("score", {"k": 1}, Thing, make_thing)
    manifest = thing.folder / "manifest.json"
    content = json.loads(manifest.read_text())
    content["recipe"] = {"k": 2}
    manifest.write_text(json.dumps(content))
    assert [p.problem for p in store.verify()] == ["the recipe does not give the key"]


def _slow_count(root: str, counter: str) -> None:
    def make(workdir: Path) -> Thing:
        with open(counter, "a") as stream:
            stream.write("made\n")
        time.sleep(0.5)
        return make_thing(workdir)

    Store(Path(root)).compute("train", {"shared": True}, Thing, make)


def test_two_processes_on_one_key_do_the_work_once(tmp_path):
    counter = tmp_path / "count"
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_slow_count, args=(str(tmp_path / "s"), str(counter)))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert counter.read_text() == "made\n"


def _hang_after_checkpoint(root: str) -> None:
    def make(workdir: Path) -> Thing:
        (workdir / "checkpoint").write_text("half")
        time.sleep(60)
        raise AssertionError

    Store(Path(root)).compute("train", {}, Thing, make)


def test_kill_9_leaves_no_object_and_no_lock(tmp_path):
    context = multiprocessing.get_context("spawn")
    worker = context.Process(target=_hang_after_checkpoint, args=(str(tmp_path),))
    worker.start()
    deadline = time.monotonic() + 30
    while not list(tmp_path.rglob("checkpoint")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(30)
    store = Store(tmp_path)
    assert not store.has("train", {})
    thing, found = store.compute("train", {}, Thing, make_thing)
    assert not found.reused
    assert thing.name == "a"


def test_a_full_disk_is_one_clear_error(tmp_path):
    def make(workdir):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RunError, match=r"No space left on device.*finished work is kept"):
        Store(tmp_path).compute("train", {}, Thing, make)


def test_gc_keeps_what_runs_name_and_removes_leftovers(tmp_path):
    store = Store(tmp_path)
    _, kept = store.compute("train", {"n": 1}, Thing, make_thing)
    _, dropped = store.compute("train", {"n": 2}, Thing, make_thing)
    (store.objects / "train" / "deadbeef.partial").mkdir()
    named = [("train", kept.key)]
    removed, n_bytes = store.collect_garbage(named, dry_run=True)
    assert {key for _, key in removed} == {dropped.key, "deadbeef.partial"}
    assert n_bytes >= 1000
    assert store.has("train", {"n": 2})
    store.collect_garbage(named, dry_run=False)
    assert list(store.finished()) == [("train", kept.key)]


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), plain, max_size=4))
def test_the_key_ignores_order_and_nothing_else(recipe):
    shuffled = dict(reversed(list(recipe.items())))
    assert digest_of(shuffled) == digest_of(recipe)
    assert digest_of({**recipe, "more": 1}) != digest_of({**recipe, "more": 2})
    assert json.loads(canonical_json(recipe)) == recipe


def test_a_recipe_must_be_plain():
    with pytest.raises(ValueError, match="JSON compliant"):
        digest_of({"x": float("nan")})
    with pytest.raises(TypeError):
        digest_of({"x": {1, 2}})


def test_atomic_write_replaces_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "report.json"
    write_atomically(path, "one")
    write_atomically(path, "two")
    assert path.read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_runs_resolve_by_name_folder_and_latest(tmp_path):
    for age, name in ((100, "old"), (0, "new")):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
        stamp = time.time() - age
        os.utime(folder / "run.json", (stamp, stamp))
    assert resolve_run_folder(tmp_path, "old").name == "old"
    assert resolve_run_folder(tmp_path, "latest").name == "new"
    assert resolve_run_folder(tmp_path, str(tmp_path / "runs" / "old")).name == "old"
    with pytest.raises(UsageError, match="mdh runs"):
        resolve_run_folder(tmp_path, "none")


def test_a_store_that_is_not_there_yet_lies_in_the_innermost_folder_that_is(tmp_path, monkeypatch):
    assert existing_folder(tmp_path / "a" / "b") == tmp_path
    assert existing_folder(tmp_path) == tmp_path
    monkeypatch.chdir(tmp_path)
    assert existing_folder(Path("a")) == tmp_path
