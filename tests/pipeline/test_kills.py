"""Ten SIGKILLs at random moments, each followed by the same command: the same report."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from modeldiff_harness.report.schema import read_report, report_digest

N_KILLS = 10
STEPS = ("--learner_args", "steps=400,checkpoint_every_seconds=0.02")
COMMAND = "from modeldiff_harness.cli import main; main()"


def start(workspace, arguments) -> subprocess.Popen:
    environment = {**os.environ, **workspace.environment, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def n_objects(store: Path) -> int:
    return len(list(store.glob("objects/*/*/manifest.json")))


def in_training(store: Path) -> bool:
    return any(store.glob("objects/train/*.partial/checkpoint-*.json"))


def kill_when(process: subprocess.Popen, reached, delay: float) -> bool:
    """Kill once `reached()`; False when the process ended before."""
    while not reached():
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_ten_kills_change_nothing(finished, mdh, flags, tiny, tmp_path):
    unbroken = replace(tiny, store=tmp_path / "unbroken")
    broken = replace(tiny, store=tmp_path / "broken")
    arguments = ["evaluate", *flags, *STEPS, "--output_path"]
    said = mdh(*arguments, tmp_path / "a", environment=unbroken.environment)
    assert said.code == 0, said.err
    total = n_objects(unbroken.store)

    drawn = random.Random(20)
    moments = sorted(drawn.sample(range(total - 1), N_KILLS - 2))
    killed = 0
    for moment in moments:
        process = start(broken, [*arguments, tmp_path / "b"])
        killed += kill_when(
            process, lambda moment=moment: n_objects(broken.store) >= moment, drawn.uniform(0, 0.2)
        )
        if in_training(broken.store):
            break
    while killed < N_KILLS and n_objects(broken.store) < total:
        before = n_objects(broken.store)
        process = start(broken, [*arguments, tmp_path / "b"])
        killed += kill_when(
            process,
            lambda before=before: in_training(broken.store) or n_objects(broken.store) > before,
            drawn.uniform(0, 0.1),
        )
    assert killed == N_KILLS, f"{killed} kills, {n_objects(broken.store)} of {total} objects"

    said = mdh(*arguments, tmp_path / "b", environment=broken.environment)
    assert said.code == 0, said.err
    assert report_digest(read_report(tmp_path / "b" / "report.json")) == report_digest(
        read_report(tmp_path / "a" / "report.json")
    )
    assert mdh("verify", environment=broken.environment).code == 0
    assert not list(broken.store.glob("objects/*/*.partial")), "nothing half-made is left"
    stages = json.loads((tmp_path / "b" / "report.json").read_text("utf-8"))["provenance"]["stages"]
    assert "reused" in {stage["state"] for stage in stages}


@pytest.mark.slow
def test_a_training_continues_where_it_was_killed(finished, mdh, flags, tiny, tmp_path, observed):
    store = tmp_path / "store"
    shutil.copytree(tiny.store, store)
    workspace = replace(tiny, store=store)
    steps = ("--learner_args", "steps=3000,checkpoint_every_seconds=0.02", "--null", "none")
    process = start(workspace, ["train", *flags, *steps])
    assert kill_when(process, lambda: in_training(store), 0.2)
    at = max(int(p.stem.split("-")[1]) for p in store.glob("objects/train/*.partial/checkpoint-*"))
    assert 0 < at < 3000
    said = mdh("train", *flags, *steps, environment=workspace.environment)
    assert said.code == 0, said.err
    assert observed.steps[0] > 0, "it did not begin anew"
    observed.steps.clear()
    assert mdh("train", *flags, *steps).code == 0
    assert observed.steps[0] <= 10, "the unbroken one began at the beginning"
    ours, theirs = (
        {p.parent.name: p.read_bytes() for p in s.glob("objects/train/*/arrays.safetensors")}
        for s in (store, tiny.store)
    )
    assert ours == {key: theirs[key] for key in ours}
    assert len(ours) == len(list((store / "objects" / "train").glob("*/manifest.json")))
