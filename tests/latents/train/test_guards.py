"""What stops a training, what a checkpoint belongs to, and schedules as they really ran."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modeldiff_harness.artifacts import TrainedDictionary
from modeldiff_harness.contracts import ActivationBatch, TrainStepEvent
from modeldiff_harness.errors import RunError
from modeldiff_harness.latents.harvest.stream import MatrixStream
from modeldiff_harness.latents.kernels.choose import backend_for
from modeldiff_harness.latents.train import initialise
from modeldiff_harness.latents.train.checkpoint import Checkpoint, Checkpoints
from modeldiff_harness.latents.train.run import TrainingRun
from modeldiff_harness.testing.planted import PlantedConfig, planted_stream

Fit = Callable[..., TrainedDictionary]


class Poisoned:
    """A stream whose batch of one training step holds a bad number in one model's vector."""

    def __init__(self, stream: MatrixStream, step: int, number: float) -> None:
        self._stream, self._step, self._number = stream, step, number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def shuffled(
        self, split: str, batch_tokens: int, *, seed: int, start_step: int = 0
    ) -> Iterator[ActivationBatch]:
        batches = self._stream.shuffled(split, batch_tokens, seed=seed, start_step=start_step)
        for step, batch in enumerate(batches, start=start_step):
            if step == self._step:
                batch.acts[1][5, 3] = self._number
            yield batch


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_bad_number_in_the_stream_stops_the_run_before_it_reaches_the_weights(
    fit: Fit, planted: PlantedConfig, tmp_path: Path, number: float
) -> None:
    stream = planted_stream(planted)[0]
    cut = tmp_path / "cut"
    with pytest.raises(RunError, match=r"not finite at step 20; the last good checkpoint is kept"):
        fit(cut, Poisoned(stream, 20, number), checkpoint_every_seconds=0.0)
    assert max(cut.glob("*.json")).name == "checkpoint-000000020.json"
    whole = fit(tmp_path / "whole", stream)
    # the same settings over sound numbers go on from step 20
    healed = fit(cut, stream)
    for a, b in zip(whole.decoders, healed.decoders, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_learning_rate_that_blows_up_stops_with_the_setting_to_change(
    fit_topk: Fit, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=r"jumped to|not finite") as stopped:
        fit_topk(tmp_path, lr=50.0, warmup_fraction=0.5, steps=200, checkpoint_every_seconds=0.0)
    assert stopped.value.hint == "Lower its `lr` (now 50)."
    checkpoints = sorted(tmp_path.glob("checkpoint-*.json"))
    assert 1 <= len(checkpoints) <= 2


def test_a_gradient_that_is_not_finite_never_reaches_a_checkpoint(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = TrainingRun.advance

    def overflowing(self: Any, acts_TC: torch.Tensor) -> dict[str, float]:
        terms = original(self, acts_TC)
        if self.step == 11:
            self.optimiser.parameters.decoder_LC.fill_(math.nan)
            terms["gradient_norm"] = math.inf
        return terms

    monkeypatch.setattr(TrainingRun, "advance", overflowing)
    with pytest.raises(RunError, match="gradient is not finite at step 10"):
        fit(tmp_path / "cut", checkpoint_every_seconds=0.0)
    assert max((tmp_path / "cut").glob("*.json")).name == "checkpoint-000000010.json"
    monkeypatch.setattr(TrainingRun, "advance", original)
    whole, resumed = fit(tmp_path / "whole"), fit(tmp_path / "cut")
    np.testing.assert_array_equal(whole.decoders[0], resumed.decoders[0])


# ── which kernels ────────────────────────────────────────────────────────────────────────────


def test_other_kernels_do_not_continue_a_checkpoint(tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path, {"lr": 1}, backend="numba")
    saved.save(Checkpoint(3, {"w": torch.ones(2)}, {}))
    with pytest.raises(RunError, match="begun with the numba kernels") as refused:
        Checkpoints(tmp_path, {"lr": 1}, backend="reference").latest()
    assert str(tmp_path) in refused.value.hint
    found = saved.latest()
    assert found is not None
    assert found.step == 3


def test_the_kernels_are_recorded_with_the_dictionary(fit: Fit, tmp_path: Path) -> None:
    assert fit(tmp_path, kernels="reference").learner_config["kernels"] == "reference"
    on_this_machine = backend_for("auto", "cpu").NAME
    assert fit(tmp_path, kernels="auto").learner_config["kernels"] == on_this_machine


def test_a_training_that_was_begun_with_other_kernels_is_refused(fit: Fit, tmp_path: Path) -> None:
    def stop(event: TrainStepEvent) -> None:
        if event.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, observer=stop, kernels="numba", checkpoint_every_seconds=0.0)
    with pytest.raises(RunError, match="begun with the numba kernels"):
        fit(tmp_path, kernels="reference")
    assert fit(tmp_path, kernels="numba").n_steps == 40


# ── schedules, as logged ─────────────────────────────────────────────────────────────────────


def test_k_and_the_learning_rate_follow_their_closed_forms(fit_topk: Fit, tmp_path: Path) -> None:
    history = fit_topk(tmp_path, k_anneal_factor=5.0, k_anneal_fraction=0.5).loss_history
    for s in range(40):
        k = 3 + 12 * max(0.0, 1 - s / 20)
        assert history["k"][s] == pytest.approx(k)
        rate = 5e-3 * min((s + 1) / 2, 1.0, (40 - s) / 8)
        assert history["lr"][s] == pytest.approx(rate)
        # k·B entries are really kept: the annealed k reaches the selection
        assert history["l0"][s] == pytest.approx(round(k * 64) / 64)


@pytest.mark.parametrize("dead_after", [64, 200, 256, 1000])
def test_a_latent_is_dead_once_it_was_silent_for_so_many_tokens(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead_after: int
) -> None:
    original = initialise.initial_parameters

    def mostly_silent(*args: Any, **kwargs: Any) -> Any:
        parameters = original(*args, **kwargs)
        parameters.encoder_bias_L[4:] = -50.0
        return parameters

    monkeypatch.setattr(initialise, "initial_parameters", mostly_silent)
    # lr 0 keeps everything where it is: four latents fire in every batch, 36 never
    history = fit(tmp_path, dead_after_tokens=dead_after, lr=1e-30, aux_weight=0.0).loss_history
    expected = [36.0 if s * 64 >= dead_after else 0.0 for s in range(40)]
    assert history["n_dead"] == expected


def test_global_random_state_is_neither_read_nor_moved(fit: Fit, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = fit(tmp_path / "a")
    before = torch.get_rng_state()
    seen: list[TrainStepEvent] = []
    torch.manual_seed(99)
    np.random.seed(99)
    again = fit(tmp_path / "b", observer=seen.append)
    np.testing.assert_array_equal(first.decoders[0], again.decoders[0])
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(seen) == 40
    assert dataclasses.replace(again, seconds=0.0).threshold == first.threshold
