"""The event files, read back with TensorBoard's own reader."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mdh_tensorboard
import pytest
from mdh_tensorboard.curves import folder_name, scalars
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from modeldiff_harness import StageEvent, TrainStepEvent, load_registry
from modeldiff_harness.testing import check_plugin

TERMS = {"total": 1.5, "recon": 1.25, "aux": 8.0, "fve": 0.5, "l0": 32.0, "n_dead": 3.0,
         "k": 40.0, "lr": 1e-3}  # fmt: skip


def step(number: int, name: str = "direct#r0", total: float | None = None) -> TrainStepEvent:
    terms = TERMS | ({} if total is None else {"total": total})
    return TrainStepEvent(name, number, 100, 5_000.0 + number, terms)


def end_of_process() -> None:
    """What a kill leaves: files as they are, no writer."""
    for curves in mdh_tensorboard._open.values():
        curves.close()
    mdh_tensorboard._open.clear()


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    end_of_process()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(mdh_tensorboard.FOLDER, str(tmp_path / "curves"))
    return tmp_path / "curves"


def read(folder: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return [(point.step, point.value) for point in events.Scalars(tag)]


def test_every_term_is_a_curve_of_its_dictionary(root: Path) -> None:
    registry = load_registry({"curves": mdh_tensorboard})
    for number in (10, 20):
        registry.on_train_step(step(number))
    registry.on_train_step(step(10, "via-base#r1"))
    assert sorted(p.name for p in root.iterdir()) == ["direct#r0", "via-base#r1"]
    folder = root / "direct#r0"
    assert read(folder, "loss/total") == [(10, 1.5), (20, 1.5)]  # flushed: no writer was closed
    assert read(folder, "training/tokens_per_second") == [(10, 5_010.0), (20, 5_020.0)]
    events = EventAccumulator(str(folder))
    events.Reload()
    assert set(events.Tags()["scalars"]) == set(scalars(step(10)))
    assert {t for t in scalars(step(10)) if t.startswith("loss/")} == {
        "loss/total", "loss/recon", "loss/aux",
    }  # fmt: skip


def test_a_resumed_training_shows_no_step_twice(root: Path) -> None:
    for number in (10, 20, 30):
        mdh_tensorboard.mdh_train_step(step(number, total=1.0))
    end_of_process()  # killed after step 30; the checkpoint was made at step 17
    for number in (20, 30, 40):
        mdh_tensorboard.mdh_train_step(step(number, total=2.0))
    assert read(root / "direct#r0", "loss/total") == [(10, 1.0), (20, 2.0), (30, 2.0), (40, 2.0)]


def test_a_training_killed_with_sigkill_keeps_what_it_logged(root: Path) -> None:
    code = (
        "import os, signal\n"
        "import mdh_tensorboard\n"
        "from modeldiff_harness.contracts import TrainStepEvent\n"
        "for n in (1, 2, 3):\n"
        "    mdh_tensorboard.mdh_train_step(TrainStepEvent('d', n, 9, 1.0, {'total': 0.5}))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode < 0
    assert read(root / "d", "loss/total") == [(1, 0.5), (2, 0.5), (3, 0.5)]
    time.sleep(1.1)  # files are told apart by the second they were made in
    mdh_tensorboard.mdh_train_step(step(3, "d", total=7.0))
    assert read(root / "d", "loss/total") == [(1, 0.5), (2, 0.5), (3, 7.0)]


def test_a_new_training_of_the_same_name_begins_anew(root: Path) -> None:
    mdh_tensorboard.mdh_train_step(step(50, total=1.0))
    mdh_tensorboard.mdh_stage_event(StageEvent("train", "key", "finished"))
    mdh_tensorboard.mdh_train_step(step(10, total=3.0))
    assert read(root / "direct#r0", "loss/total") == [(10, 3.0)]


def test_files_are_closed_when_a_training_ends(root: Path) -> None:
    for state in ("finished", "failed"):
        mdh_tensorboard.mdh_train_step(step(10))
        mdh_tensorboard.mdh_stage_event(StageEvent("score", "key", state))
        assert mdh_tensorboard._open
        mdh_tensorboard.mdh_stage_event(StageEvent("train", "key", state))
        assert not mdh_tensorboard._open


def test_without_a_folder_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(mdh_tensorboard.FOLDER, raising=False)
    monkeypatch.chdir(tmp_path)
    mdh_tensorboard.mdh_train_step(step(1))
    assert not list(tmp_path.iterdir())
    assert not mdh_tensorboard._open


@pytest.mark.parametrize("name", ["../../up", "/etc/x", "..", ".hidden", "a/b", "", "nul\0l"])
def test_no_name_leaves_the_folder(root: Path, name: str) -> None:
    mdh_tensorboard.mdh_train_step(step(1, name))
    (made,) = root.iterdir()
    assert made.name == folder_name(name)
    assert made.resolve().parent == root.resolve()
    assert not made.name.startswith(".")
    assert len(list(root.parent.iterdir())) == 1


def test_it_registers() -> None:
    check_plugin("mdh_tensorboard")


def test_loading_the_plugin_imports_no_tensorboard() -> None:
    code = "import sys, mdh_tensorboard; sys.exit('tensorboard' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )
