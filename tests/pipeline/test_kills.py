"""Ten SIGKILLs at random moments, each followed by the same command: the same report."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
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

NURSERY = """
import json, os, sys
import lm_eval.evaluator, peft, torch, transformers
from modeldiff_harness.cli import main
import modeldiff_harness.pipeline.arms.benchmarks
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        main(json.loads(line))
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""
"""Imports what takes seconds once, and has run nothing when it forks a process a command."""


class Nursery:
    """Starts commands as processes of their own, which can be killed."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env={**os.environ, **environment, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def run_and_kill(self, arguments, reached, delay: float) -> bool:
        """Start the command and kill it once `reached()`; False when it ended before."""
        self._process.stdin.write(json.dumps([str(a) for a in arguments]) + "\n")
        self._process.stdin.flush()
        child = int(self._process.stdout.readline())
        while not reached() and select.select([self._process.stdout], [], [], 0.005)[0] == []:
            pass
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        status = int(self._process.stdout.readline())
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="module")
def home(tiny):
    home = Nursery(replace(tiny, store=tiny.folder / "killed").environment)
    yield home
    home.close()


@pytest.fixture
def nursery(home, tiny):
    """Where commands are born, and the workspace with the store that they write to."""
    yield home, replace(tiny, store=tiny.folder / "killed")
    shutil.rmtree(tiny.folder / "killed")


def n_objects(store: Path) -> int:
    return len(list(store.glob("objects/*/*/manifest.json")))


def last_step(store: Path) -> int:
    """The step of the youngest checkpoint; 0 without one."""
    found = store.glob("objects/train/*.partial/checkpoint-*.json")
    return max((int(path.stem.split("-")[1]) for path in found), default=0)


def in_training(store: Path) -> bool:
    return any(store.glob("objects/train/*.partial/checkpoint-*.json"))


@pytest.mark.slow
def test_ten_kills_change_nothing(finished, mdh, flags, tiny, nursery, tmp_path):
    home, broken = nursery
    unbroken = replace(tiny, store=tmp_path / "unbroken")
    arguments = ["evaluate", *flags, *STEPS, "--output_path"]
    said = mdh(*arguments, tmp_path / "a", environment=unbroken.environment)
    assert said.code == 0, said.err
    digest = report_digest(read_report(tmp_path / "a" / "report.json"))
    total = n_objects(unbroken.store)

    def finish() -> None:
        said = mdh(*arguments, tmp_path / "b", environment=broken.environment)
        assert said.code == 0, said.err
        assert report_digest(read_report(tmp_path / "b" / "report.json")) == digest
        assert mdh("verify", environment=broken.environment).code == 0
        assert not list(broken.store.glob("objects/*/*.partial")), "nothing half-made is left"

    drawn = random.Random(20)
    killed, in_the_middle_of_training = 0, 0
    while killed < N_KILLS:
        have = n_objects(broken.store)
        moment = have + drawn.randrange(4)
        if moment >= total:
            finish()
            shutil.rmtree(broken.store)
            continue
        killed += home.run_and_kill(
            [*arguments, tmp_path / "b"],
            lambda moment=moment: n_objects(broken.store) >= moment or in_training(broken.store),
            drawn.uniform(0, 0.1),
        )
        in_the_middle_of_training += in_training(broken.store)
    finish()
    assert in_the_middle_of_training, "at least one kill must have hit a training"


@pytest.mark.slow
def test_a_training_continues_where_it_was_killed(finished, mdh, flags, tiny, nursery, observed):
    home, workspace = nursery
    shutil.copytree(tiny.store, workspace.store)
    steps = ("--learner_args", "steps=1500,checkpoint_every_seconds=0.02", "--null", "none")
    assert home.run_and_kill(
        ["train", *flags, *steps], lambda: last_step(workspace.store) > 20, 0.1
    )
    assert 20 < last_step(workspace.store) < 1500
    said = mdh("train", *flags, *steps, environment=workspace.environment)
    assert said.code == 0, said.err
    assert observed.steps[0] > 10, "it did not begin anew"
    observed.steps.clear()
    assert mdh("train", *flags, *steps).code == 0
    assert observed.steps[0] <= 10, "the unbroken one began at the beginning"
    ours, theirs = (
        {p.parent.name: p.read_bytes() for p in s.glob("objects/train/*/arrays.safetensors")}
        for s in (workspace.store, tiny.store)
    )
    assert ours == {key: theirs[key] for key in ours}
    assert len(ours) == len(list((workspace.store / "objects" / "train").glob("*/manifest.json")))
