"""Training, whatever the architecture: resume, determinism, refusals, dead latents, threshold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modeldiff_harness.artifacts import TrainedDictionary
from modeldiff_harness.builtin.batchtopk import BatchTopKConfig
from modeldiff_harness.builtin.l1 import L1Config
from modeldiff_harness.contracts import TrainStepEvent
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.latents.dictionaries.encode import (
    InferenceWeights,
    decode_with_errors,
    encode,
    pre_activations,
)
from modeldiff_harness.latents.harvest.stream import MatrixStream
from modeldiff_harness.latents.train import initialise
from modeldiff_harness.latents.train.loss import Batch
from modeldiff_harness.latents.train.settings import TrainSettings
from modeldiff_harness.testing.planted import PlantedConfig, planted_corpus, planted_stream

Fit = Callable[..., TrainedDictionary]


class Killed(Exception):
    pass


def _assert_same(a: TrainedDictionary, b: TrainedDictionary) -> None:
    assert dataclasses.asdict(a).keys() == dataclasses.asdict(b).keys()
    for x, y in (
        *zip(a.encoders, b.encoders, strict=True),
        *zip(a.decoders, b.decoders, strict=True),
        *zip(a.decoder_biases, b.decoder_biases, strict=True),
        (a.encoder_bias_L, b.encoder_bias_L),
    ):
        np.testing.assert_array_equal(x, y)
    assert a.threshold == b.threshold
    assert a.loss_history == b.loss_history


def test_same_seed_same_dictionary_another_replicate_another(fit: Fit, tmp_path: Path) -> None:
    first = fit(tmp_path / "a")
    _assert_same(first, fit(tmp_path / "b"))
    assert not np.array_equal(first.encoders[0], fit(tmp_path / "c", replicate=1).encoders[0])
    assert not np.array_equal(first.encoders[0], fit(tmp_path / "d", seed=1).encoders[0])


@pytest.mark.parametrize("kills", [(1,), (39,), (5, 6, 22)])
def test_a_killed_training_continues_bit_by_bit(
    fit: Fit, tmp_path: Path, kills: tuple[int, ...]
) -> None:
    whole = fit(tmp_path / "whole")
    folder = tmp_path / "cut"
    for at in kills:

        def kill(event: TrainStepEvent, at: int = at) -> None:
            if event.step == at:
                raise Killed

        with pytest.raises(Killed):
            fit(folder, observer=kill, checkpoint_every_seconds=0)
    steps: list[int] = []
    resumed = fit(
        folder,
        observer=lambda event: steps.append(event.step),
        checkpoint_every_seconds=0,
    )
    assert steps[0] == max(kills)  # went on from the last checkpoint, not from the start
    _assert_same(whole, dataclasses.replace(resumed, learner_config=whole.learner_config))
    assert list(folder.iterdir()) == []


def test_a_checkpoint_of_other_settings_is_refused(fit: Fit, tmp_path: Path) -> None:
    def kill(event: TrainStepEvent) -> None:
        if event.step == 5:
            raise Killed

    with pytest.raises(Killed):
        fit(tmp_path, observer=kill, checkpoint_every_seconds=0)
    with pytest.raises(RunError, match="other settings"):
        fit(tmp_path, lr=1e-3)


def test_schedules_reach_their_ends() -> None:
    config = BatchTopKConfig(n_latents=100, k=10, steps=200, lr=1.0, k_anneal_factor=4)
    assert config.k_at(0) == 40
    assert config.k_at(30) == pytest.approx(25)
    assert {config.k_at(s) for s in range(60, 200)} == {10}
    rates = [config.learning_rate_at(s) for s in range(200)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:161] == [1.0] * 152
    assert rates[180] == pytest.approx(0.5)
    assert 0 < rates[199] == pytest.approx(1 / 40)
    assert BatchTopKConfig(n_latents=100, k=50).k_at(0) == 100


def test_what_is_logged_is_what_happened(fit_topk: Fit, tmp_path: Path) -> None:
    events: list[TrainStepEvent] = []
    dictionary = fit_topk(tmp_path, observer=events.append, delta_weight=2.0)
    history = dictionary.loss_history
    assert history["step"] == [float(s) for s in range(1, 41)]
    assert [e.terms["total"] for e in events] == history["total"]
    for total, recon, aux, delta in zip(
        history["total"], history["recon"], history["aux"], history["delta"], strict=True
    ):
        assert total == pytest.approx(recon + aux / 32 + 2.0 * delta)
    assert history["l0"][-1] == 3.0
    assert history["k"][0] == 12.0
    assert history["recon"][-1] < 0.5 * history["recon"][0]


def test_the_penalty_is_logged_and_lowers_the_activations(fit_l1: Fit, tmp_path: Path) -> None:
    runs = {mu: fit_l1(tmp_path / str(mu), penalty=mu).loss_history for mu in (0.0, 0.5)}
    history = runs[0.5]
    for total, recon, aux, l1, mu in zip(
        history["total"],
        history["recon"],
        history["aux"],
        history["l1"],
        history["penalty"],
        strict=True,
    ):
        assert total == pytest.approx(recon + aux / 32 + mu * l1)
    assert history["penalty"] == [0.0, 0.25] + [0.5] * 38
    assert history["l1"][-1] < 0.5 * runs[0.0]["l1"][-1]
    assert history["recon"][-1] > runs[0.0]["recon"][-1]


def test_swapping_the_models_swaps_the_dictionary(
    fit: Fit, planted: PlantedConfig, tmp_path: Path
) -> None:
    order = (1, 0)
    straight = fit(tmp_path / "a", planted_stream(planted, dtype=torch.float64)[0])
    swapped = fit(tmp_path / "b", planted_stream(planted, order=order, dtype=torch.float64)[0])
    assert [v.model for v in swapped.views] == [straight.views[i].model for i in order]
    for i, j in enumerate(order):
        np.testing.assert_allclose(swapped.encoders[i], straight.encoders[j], atol=1e-8)
        np.testing.assert_allclose(swapped.decoders[i], straight.decoders[j], atol=1e-8)
    np.testing.assert_allclose(swapped.encoder_bias_L, straight.encoder_bias_L, atol=1e-8)
    assert swapped.threshold == pytest.approx(straight.threshold, abs=1e-8)


def test_permuting_three_models_permutes_the_dictionary(
    fit: Fit, planted: PlantedConfig, tmp_path: Path
) -> None:
    config = dataclasses.replace(planted, models=("a", "b", "c"), widths=(12, 16, 12))
    order = (2, 0, 1)
    straight = fit(tmp_path / "a", planted_stream(config, dtype=torch.float64)[0])
    moved = fit(tmp_path / "b", planted_stream(config, order=order, dtype=torch.float64)[0])
    for i, j in enumerate(order):
        np.testing.assert_allclose(moved.decoders[i], straight.decoders[j], atol=1e-8)


def test_threshold_gives_k_latents_a_token(
    fit_topk: Fit, planted: PlantedConfig, tmp_path: Path
) -> None:
    stream, _ = planted_stream(planted)
    dictionary = fit_topk(tmp_path, stream, steps=150)
    (batch,) = stream.ordered(("calibrate",), 10**6)
    codes = encode(dictionary, batch.acts)
    assert codes.code_N.shape[0] / codes.n_tokens == pytest.approx(3.0, rel=0.02)
    # by hand, in float64
    weights = InferenceWeights.of(dictionary, dtype=torch.float64)
    pre_TL = pre_activations(weights, [a.double() for a in batch.acts])
    active = (pre_TL.clamp_min(0) * weights.weight_L > dictionary.threshold).sum()
    assert int(active) == 3 * codes.n_tokens
    norms = [np.linalg.norm(d, axis=1) for d in dictionary.decoders]
    np.testing.assert_allclose(
        (codes.activation_N / codes.code_N).numpy(),
        np.sum(norms, axis=0)[codes.latent_N.numpy()],
        rtol=1e-5,
    )


def test_under_a_penalty_every_positive_code_is_active(
    fit_l1: Fit, planted: PlantedConfig, tmp_path: Path
) -> None:
    stream, _ = planted_stream(planted)
    dictionary = fit_l1(tmp_path, stream)
    assert dictionary.threshold == 0.0
    (batch,) = stream.ordered(("calibrate",), 10**6)
    acts_TC = np.concatenate([a.numpy() for a in batch.acts], axis=1).astype(np.float64)
    pre_TL = acts_TC @ np.concatenate(dictionary.encoders) + dictionary.encoder_bias_L
    assert dictionary.k == round((pre_TL > 0).sum() / len(acts_TC))
    codes = encode(dictionary, batch.acts)
    assert codes.code_N.shape[0] == pytest.approx((pre_TL > 0).sum(), rel=1e-3)


def test_dead_latents_come_back_only_with_the_auxiliary_term(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = initialise.initial_parameters

    def mostly_dead(*args: Any, **kwargs: Any) -> Any:
        parameters = original(*args, **kwargs)
        parameters.encoder_bias_L[4:] = -15.0  # only four latents can ever fire
        return parameters

    monkeypatch.setattr(initialise, "initial_parameters", mostly_dead)
    runs = {
        weight: fit(tmp_path / str(weight), aux_weight=weight, steps=200).loss_history
        for weight in (0.0, 1 / 32)
    }
    assert runs[0.0]["n_dead"][-1] == 36
    assert runs[1 / 32]["n_dead"][-1] < 18
    late = {weight: np.mean(history["fve"][-50:]) for weight, history in runs.items()}
    assert late[1 / 32] > late[0.0] + 0.03


@pytest.mark.parametrize(("recon", "words"), [(float("nan"), "not finite"), (1e4, "jumped")])
def test_a_spike_stops_the_run_and_keeps_the_last_good_checkpoint(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recon: float, words: str
) -> None:
    original = Batch.squared_error
    calls: list[int] = []

    def broken(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        calls.append(1)
        if len(calls) == 11:
            terms = dataclasses.replace(result.terms, recon=recon)
            return dataclasses.replace(result, terms=terms)
        return result

    monkeypatch.setattr(Batch, "squared_error", broken)
    with pytest.raises(RunError, match=words):
        fit(tmp_path / "cut", checkpoint_every_seconds=0)
    kept = sorted(p.name for p in (tmp_path / "cut").glob("*.json"))
    assert kept == ["checkpoint-000000009.json", "checkpoint-000000010.json"]
    monkeypatch.setattr(Batch, "squared_error", original)
    _assert_same(fit(tmp_path / "whole"), fit(tmp_path / "cut"))


def test_delta_weight_lowers_the_difference_residual(
    fit_topk: Fit, planted: PlantedConfig, tmp_path: Path
) -> None:
    plain = fit_topk(tmp_path / "a", steps=150, k=2)
    weighted = fit_topk(tmp_path / "b", steps=150, k=2, delta_weight=3.0)
    (batch,) = planted_stream(planted)[0].ordered(("score",), 10**6)

    def gap(dictionary: TrainedDictionary) -> float:
        weights = InferenceWeights.of(dictionary)
        _, errors = decode_with_errors(weights, encode(weights, batch.acts), batch.acts)
        return float((errors[0] - errors[1]).square().mean())

    assert gap(weighted) < 0.9 * gap(plain)


@pytest.mark.parametrize("config", [BatchTopKConfig, L1Config])
def test_settings_are_refused_by_name_and_by_range(config: type[TrainSettings]) -> None:
    with pytest.raises(UsageError, match=f"{config.learner} has no setting.*'n_latents'"):
        config.of({"nlatents": 3})
    with pytest.raises(UsageError, match=f"{config.learner}: steps is 0; it takes 1 to 1,000,"):
        config.of({"steps": 0})
    with pytest.raises(UsageError, match=f"{config.learner}: decay_fraction is 1.5; it takes 0 to"):
        config.of({"decay_fraction": 1.5})


@pytest.mark.parametrize(
    "given",
    [
        {"n_latents": 0}, {"steps": 2.5}, {"batch_tokens": 0}, {"batch_tokens": True}, {"lr": 0},
        {"lr": -1e-3}, {"lr": float("nan")}, {"lr": float("inf")}, {"lr": "fast"},
        {"aux_weight": -1}, {"aux_k": 0}, {"aux_k": "many"}, {"dead_after_tokens": -1},
        {"clip_norm": 0}, {"adam_beta1": 1}, {"adam_beta2": -0.1}, {"spike_factor": 0.5},
        {"kernels": "cuda"}, {"scoring": "int8"}, {"log_every": 0}, {"seed": -1}, {"seed": 2**32},
        {"checkpoint_every_seconds": -1.0}, {"warmup_fraction": float("nan")},
    ],
)  # fmt: skip
@pytest.mark.parametrize("config", [BatchTopKConfig, L1Config])
def test_a_setting_outside_its_range_is_refused_with_it(config, given) -> None:
    (name,) = given
    with pytest.raises(UsageError, match=f"{config.learner}: {name} is .*; it takes "):
        config.of(given)


def test_an_architectures_own_settings_are_refused_by_range() -> None:
    with pytest.raises(UsageError, match="exceeds n_latents"):
        BatchTopKConfig(n_latents=4, k=5)
    with pytest.raises(UsageError, match=r"k_anneal_factor is 0\.5; it takes 1 to"):
        BatchTopKConfig(k_anneal_factor=0.5)
    with pytest.raises(UsageError, match=r"penalty is -1\.0; it takes 0 to"):
        L1Config(penalty=-1.0)


def test_streams_that_cannot_be_learnt_from_are_refused(
    fit: Fit, planted: PlantedConfig, tmp_path: Path
) -> None:
    corpus, truth = planted_corpus(dataclasses.replace(planted, split_shares=(0.8, 0.0, 0.1, 0.1)))
    rows = corpus.keep_T.nonzero()[0]
    acts = [a[rows] for a in truth.activations]
    with pytest.raises(UsageError, match="split 'calibrate' holds no token"):
        fit(tmp_path, MatrixStream(corpus, truth.views, acts, rows))
    twice = MatrixStream(corpus, [truth.views[0]] * 2, [acts[0]] * 2, rows)
    with pytest.raises(UsageError, match="a view comes twice"):
        fit(tmp_path, twice)


def test_the_delta_term_needs_models_of_one_width(
    fit_topk: Fit, planted: PlantedConfig, tmp_path: Path
) -> None:
    uneven = planted_stream(dataclasses.replace(planted, widths=(12, 16)))[0]
    with pytest.raises(UsageError, match="models of one width"):
        fit_topk(tmp_path, uneven, delta_weight=1.0)
