"""Folders that lm-eval obeys: nothing planted there is ever used."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from modeldiff_harness.benchmarks.own_folders import content_digest, place_texts, suite_problems

TEXTS = {"a.yaml": "task: a\n", "b.yaml": "task: b\n"}
NAME = f"suite-{content_digest(TEXTS)}"


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in folder.iterdir()}


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MDH_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


def plant_function(folder: Path) -> None:
    (folder / "a.yaml").write_text("doc_to_text: !function evil.run\n", encoding="utf-8")
    (folder / "complete").touch()


def plant_module(folder: Path) -> None:
    (folder / "evil.py").write_text("raise SystemExit(9)\n", encoding="utf-8")


def plant_link(folder: Path) -> None:
    (folder / "a.yaml").unlink()
    (folder / "a.yaml").symlink_to("/etc/passwd")


def plant_folder(folder: Path) -> None:
    (folder / "more").mkdir()
    plant_module(folder / "more")


def plant_pipe(folder: Path) -> None:
    (folder / "b.yaml").unlink()
    os.mkfifo(folder / "b.yaml")


PLANTED = [plant_function, plant_module, plant_link, plant_folder, plant_pipe]


@pytest.mark.parametrize("plant", PLANTED)
def test_what_was_planted_is_found_by_verify_and_gone_before_use(plant, store):
    folder = place_texts(NAME, TEXTS)
    assert folder.parent.parent == store
    assert suite_problems(store) == []
    plant(folder)
    ((problem, path),) = suite_problems(store)
    assert (problem.verb, problem.key, path) == ("task_suites", NAME, folder)
    assert content(place_texts(NAME, TEXTS)) == TEXTS
    assert suite_problems(store) == []


def test_only_this_user_can_write_there(store):
    folder = place_texts(NAME, TEXTS)
    for one in (folder, folder.parent):
        assert stat.S_IMODE(one.stat().st_mode) == 0o700


@pytest.mark.parametrize("way", ["link", "shared", "file", "another user"])
def test_a_place_that_others_can_write_to_gives_way_to_a_private_one(
    way, store, tmp_path, monkeypatch
):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    if way == "link":
        (store / "task_suites").mkdir(parents=True)
        (store / "task_suites" / NAME).symlink_to(theirs)
    elif way == "shared":
        store.mkdir()
        store.chmod(0o777)
    elif way == "file":
        store.touch()
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    folder = place_texts(NAME, TEXTS)
    assert store not in folder.parents
    assert content(folder) == TEXTS
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(theirs.iterdir()) == []
    predictable = Path(tempfile.gettempdir()) / "modeldiff-harness"
    assert folder.parent == Path(tempfile.gettempdir())
    assert folder != predictable
    assert place_texts(NAME, TEXTS) == folder, "one a process"
