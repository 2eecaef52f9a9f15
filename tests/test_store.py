"""The store: one computation a key, nothing half-written taken for whole."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
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
    named_objects,
    point_to_run,
    read_run,
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


# ── records that are not what they should be ─────────────────────────────────────────────────

RUN = {"pair": ["a", "b"], "state": "finished", "stages": [{"verb": "train", "key": "0" * 32}]}
RECORDS = {
    "a list": b"[]",
    "null": b"null",
    "text": b"hello",
    "empty": b"",
    "cut": json.dumps(RUN).encode()[:-9],
    "binary": bytes(range(256)),
    "deep": b"[" * 100_000,
    "deep object": b'{"stages":' * 100_000,
    "no stages": json.dumps({"pair": ["a", "b"], "state": "finished"}).encode(),
    "no key": json.dumps({**RUN, "stages": [{"verb": "train"}]}).encode(),
    "stages is text": json.dumps({**RUN, "stages": "train"}).encode(),
    "running without its graph": json.dumps({**RUN, "state": "running"}).encode(),
    "surrogate": b'{"pair": ["\\ud800", "b"], "state": "finished", "stages": []}',
}


def write(place, content) -> None:
    """Put bytes, a folder or a pipe in the place of a record."""
    place.unlink(missing_ok=True)
    if content == "folder":
        place.mkdir()
    elif content == "pipe":
        os.mkfifo(place)
    else:
        place.write_bytes(content)


@pytest.mark.parametrize("name", [*RECORDS, "folder", "pipe"])
def test_a_record_that_cannot_be_read_is_named_and_stops_gc(name, tmp_path):
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    write(folder / "run.json", RECORDS.get(name, name))
    for read in (lambda: read_run(folder / "run.json"), lambda: named_objects(tmp_path)):
        with pytest.raises(RunError, match=r"one/run\.json") as error:
            read()
        assert len(str(error.value)) < 1000
        assert "\n" not in str(error.value)


def test_a_record_names_what_was_done_what_is_to_be_done_and_what_others_find(tmp_path):
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    names = {n: {"verb": "train", "key": n * 32} for n in "abc"}
    record = {**RUN, "state": "failed", "stages": [names["a"]], "graph": [names["b"]],
              "artifacts": {"benchmarks": names["c"]}, "config": {"x": [1]}}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert named_objects(tmp_path) == {("train", n * 32) for n in "abc"}


def test_a_store_knows_the_runs_whose_records_lie_elsewhere(tmp_path):
    store, data = tmp_path / "store", tmp_path / "data"
    folder = data / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(RUN), encoding="utf-8")
    assert named_objects(store / "data", store) == set()
    point_to_run(store, folder)
    assert named_objects(store / "data", store) == {("train", "0" * 32)}
    shutil.rmtree(folder)
    assert named_objects(store / "data", store) == set(), "a run that was removed is given up"
    shutil.rmtree(data)
    with pytest.raises(RunError, match="cannot be reached"):
        named_objects(store / "data", store)


@pytest.mark.parametrize("name", [*RECORDS, "folder", "pipe"])
def test_an_object_whose_manifest_cannot_be_read_is_reported_kept_by_gc_and_rebuilt(name, tmp_path):
    store = Store(tmp_path)
    _, found = store.compute("train", {"n": 1}, Thing, make_thing)
    write(found.folder / "manifest.json", RECORDS.get(name, name))
    assert [(p.key, p.problem) for p in store.verify()] == [(found.key, "unreadable manifest")]
    assert store.collect_garbage([], dry_run=False) == ([], 0)
    assert found.folder.is_dir()
    _, again = store.compute("train", {"n": 1}, Thing, make_thing)
    assert not again.reused
    assert store.verify() == []


LIES = {
    "leads out": ("files", {"../../../x": {"sha256": "0", "bytes": 1}}, "is not in the object"),
    "absolute": ("files", {"/etc/passwd": {"sha256": "0", "bytes": 1}}, "is not in the object"),
    "a folder": ("files", {".": {"sha256": "0", "bytes": 1}}, "has changed"),
    "recipe": ("recipe", {"n": 2}, "the recipe does not give the key"),
}


@pytest.mark.parametrize("name", LIES)
def test_what_a_manifest_says_is_not_believed(name, tmp_path):
    store = Store(tmp_path)
    _, found = store.compute("train", {"n": 1}, Thing, make_thing)
    field, value, says = LIES[name]
    manifest = found.folder / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), field: value}))
    assert any(says in problem.problem for problem in store.verify())


def test_gc_leaves_what_is_no_object(tmp_path):
    store = Store(tmp_path)
    verb = store.objects / "train"
    (verb / "notes").mkdir(parents=True)
    (verb / f"{'1' * 32}.backup").mkdir()
    (verb / "link").symlink_to(tmp_path)
    (verb / f"{'2' * 32}.partial").mkdir()
    (verb / f"{'2' * 32}.lock").mkdir()
    (verb / f"{'3' * 32}.partial").mkdir()
    removed, _ = store.collect_garbage([], dry_run=False)
    assert removed == [("train", f"{'3' * 32}.partial")]
    assert len(list(verb.iterdir())) == 6  # the lock of the one removed is new


@pytest.mark.parametrize("suffix", ["", ".partial", ".lock"])
def test_something_of_another_kind_in_the_place_is_named_before_the_work(suffix, tmp_path):
    store = Store(tmp_path)
    place = store.folder("train", digest_of({"n": 1}))
    place.parent.mkdir(parents=True)
    place = place.with_name(place.name + suffix)
    if suffix == ".lock":
        place.mkdir()
    else:
        place.touch()

    def make(_workdir):
        raise AssertionError("the work has begun")

    with pytest.raises(RunError, match=place.name):
        store.compute("train", {"n": 1}, Thing, make)


@pytest.mark.parametrize("name", ["x" * 300, "x\0y", "../" * 50, "latest", ""])
def test_a_name_that_no_run_has_is_refused(name, tmp_path):
    with pytest.raises(UsageError, match="no run"):
        resolve_run_folder(tmp_path, name)
