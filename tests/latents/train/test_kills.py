"""SIGKILL at random moments of a training, again and again: the same weights, bit by bit."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

STEPS = 240
NURSERY = """
import json, os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from modeldiff_harness.artifacts import save_artifact
from modeldiff_harness.builtin.batchtopk import batchtopk
from modeldiff_harness.builtin.l1 import l1
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.latents.train.train import train
from modeldiff_harness.testing.planted import PlantedConfig, planted_stream
stream, _ = planted_stream(PlantedConfig(n_shared=12, widths=(16, 16), n_prompts=60,
                                         tokens_per_document=12))
print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        work, out = Path(request["work"]), Path(request["out"])
        torch.manual_seed(int(request["noise"]))
        learner = {"batchtopk": batchtopk, "l1": l1}[request["learner"]](**request["config"])
        dictionary = train(
            learner, stream, dictionary_id="d", design="direct", replicate=0,
            runtime=Runtime(workdir=work))
        out.mkdir(exist_ok=True)
        save_artifact(dictionary, out)
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""
"""Imports what takes seconds once; it has computed nothing when it forks a training."""


class Nursery:
    """Starts trainings as processes of their own, which can be killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert self._line() == "ready"

    def _line(self) -> str:
        return self._process.stdout.readline().strip()

    def train(
        self, learner: str, work: Path, out: Path, config: dict, kill_at: int | None = None
    ) -> bool:
        """Run a training to its end, or kill it soon after checkpoint `kill_at`; say if it ended.

        The child draws from a random state of its own, which must not matter.
        """
        request = {"learner": learner, "work": str(work), "out": str(out), "config": config,
                   "noise": kill_at or 0}  # fmt: skip
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        child = int(self._line())
        if kill_at is not None:
            while newest(work) < kill_at:
                if select.select([self._process.stdout], [], [], 0.001)[0]:
                    break
            else:
                time.sleep(random.Random(kill_at).uniform(0, 0.01))
                os.kill(child, signal.SIGKILL)
        status = int(self._line())
        assert os.WIFSIGNALED(status) or status == 0
        return not os.WIFSIGNALED(status)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def newest(work: Path) -> int:
    return max((int(p.stem.split("-")[1]) for p in work.glob("checkpoint-*.json")), default=0)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


OWN = {
    "batchtopk": {"k": 2, "k_anneal_fraction": 0.5, "delta_weight": 1.0},
    "l1": {"penalty": 0.5, "penalty_warmup_fraction": 0.5},
}
ANNEALED = {"batchtopk": ("k", 8.0, 2.0), "l1": ("penalty", 0.0, 0.5)}
"""What is annealed, and where it begins and ends."""


@pytest.mark.parametrize(
    ("learner", "kernels"),
    [("batchtopk", "reference"), ("batchtopk", "numba"), ("l1", "numba")],
)
def test_a_training_killed_again_and_again_ends_in_the_same_weights(
    nursery: Nursery, tmp_path: Path, learner: str, kernels: str
) -> None:
    config = OWN[learner] | {
        "n_latents": 64, "steps": STEPS, "batch_tokens": 64, "lr": 5e-3, "log_every": 1,
        "dead_after_tokens": 512, "aux_weight": 1 / 8,
        "checkpoint_every_seconds": 0.0, "kernels": kernels,
    }  # fmt: skip
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert nursery.train(learner, tmp_path / "work", whole, config)
    work, drawn = tmp_path / "killed", random.Random(7)
    work.mkdir()
    kills, begun = [], []
    while newest(work) < STEPS - 30:
        begun.append(newest(work))
        if nursery.train(learner, work, cut, config, kill_at=newest(work) + drawn.randint(1, 40)):
            break
        kills.append(newest(work))
        assert len(list(work.glob("checkpoint-*.json"))) <= 3  # two, and one being exchanged
    assert nursery.train(learner, work, cut, config)
    assert len(kills) >= 4, kills
    assert begun == sorted(begun), "no kill threw the training back"
    assert min(kills) < STEPS // 2 < max(kills), "kills on both sides of the end of the annealing"

    ours, theirs = (load_file(folder / "arrays.safetensors") for folder in (cut, whole))
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)
    ours, theirs = (
        json.loads((folder / "artifact.json").read_text())["fields"] for folder in (cut, whole)
    )
    history = theirs["loss_history"]
    assert ours["loss_history"] == history
    assert ours["threshold"] == theirs["threshold"]
    assert (theirs["threshold"] > 0) == (learner == "batchtopk")
    assert history["step"] == [float(s) for s in range(1, STEPS + 1)], "every step once"
    assert max(history["aux"]) > 0, "dead latents were being revived"
    annealed, first, last = ANNEALED[learner]
    assert history[annealed][0] == first
    assert history[annealed][-1] == last
    assert not list(work.glob("checkpoint-*")), "a finished training keeps no checkpoint"
