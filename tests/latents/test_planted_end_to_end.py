"""Train on planted activations, score, and find exactly what was planted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from modeldiff_harness.artifacts import (
    SPLITS,
    LatentScores,
    TrainedDictionary,
    load_artifact,
    save_artifact,
)
from modeldiff_harness.builtin.batchtopk import batchtopk
from modeldiff_harness.builtin.scorer_activity import Activity
from modeldiff_harness.builtin.scorer_delta_norm import DeltaNorm
from modeldiff_harness.builtin.scorer_latent_scaling import LatentScaling
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.latents.score.score import score
from modeldiff_harness.latents.train.train import train
from modeldiff_harness.testing.planted import PlantedConfig, PlantedTruth, planted_stream

CONFIG = PlantedConfig(
    n_shared=20,
    widths=(40, 40),
    n_twins=1,
    n_rotated=1,
    n_shrunk=1,
    n_prompts=200,
    exclusive_rate=0.4,
    active_per_token=2.5,
)
A, B = CONFIG.models


@dataclass(frozen=True)
class Found:
    truth: PlantedTruth
    dictionary: TrainedDictionary
    scores: LatentScores
    cosine_FL: np.ndarray

    def nearest(self, feature: int) -> int:
        """The latent whose decoder, over both models, points most like the feature."""
        assert self.cosine_FL[feature].max() > 0.95
        return int(self.cosine_FL[feature].argmax())

    def n_planted_tokens(self, feature: int) -> int:
        corpus = planted_stream(CONFIG)[0].corpus
        split_T = np.repeat(corpus.splits_N, np.diff(corpus.offsets_N1))
        scored_T = corpus.keep_T & (split_T == SPLITS.index("score"))
        return int((self.truth.codes_TF[scored_T, feature] > 0).sum())

    def value(self, name: str, latent: int) -> float:
        return float(self.scores.column(name).values_L[latent])


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    stream, truth = planted_stream(CONFIG)
    folder = tmp_path_factory.mktemp("train")
    learner = batchtopk(n_latents=96, k=3, steps=700, batch_tokens=256, lr=4e-3)
    dictionary = train(
        learner,
        stream,
        dictionary_id="d",
        design="direct",
        replicate=0,
        runtime=Runtime(workdir=folder),
    )
    save_artifact(dictionary, folder)
    dictionary = load_artifact(TrainedDictionary, folder)
    scorers = [DeltaNorm(), LatentScaling(), Activity()]
    scores = score(dictionary, stream, scorers, runtime=Runtime()).scores
    raw = [d * n.scale for d, n in zip(dictionary.decoders, stream.normalisers, strict=True)]
    rows_LC = np.concatenate(raw, axis=1)
    features_FC = np.concatenate(truth.directions, axis=1)
    rows_LC /= np.linalg.norm(rows_LC, axis=1, keepdims=True)
    features_FC = features_FC / np.linalg.norm(features_FC, axis=1, keepdims=True)
    return Found(truth, dictionary, scores, features_FC @ rows_LC.T)


@pytest.mark.parametrize(("owner", "other"), [(A, B), (B, A)])
def test_exclusive_features_are_found_as_such(found: Found, owner: str, other: str) -> None:
    for feature in found.truth.features("exclusive", owner):
        latent = found.nearest(feature)
        delta = found.value(f"delta_norm[{A}|{B}]", latent)
        assert delta < 0.1 if owner == A else delta > 0.9
        names = f"[own={owner},other={other}]"
        assert found.value("nu_eps" + names, latent) < 0.2
        assert found.value("nu_r" + names, latent) < 0.5
        beta = found.scores.column("beta_own" + names)
        assert beta.lower_L is not None
        assert beta.lower_L[latent] > 0
        # it fires where the feature was planted, give or take a token in twenty
        assert found.value("n_active_tokens", latent) == pytest.approx(
            found.n_planted_tokens(feature), rel=0.05
        )


def test_nothing_shared_looks_exclusive(found: Found) -> None:
    delta = found.scores.column(f"delta_norm[{A}|{B}]")
    alive = found.scores.column("n_active_tokens").values_L >= 30
    extreme = np.flatnonzero(alive & ((delta.values_L < 0.1) | (delta.values_L > 0.9)))
    planted = {found.nearest(f) for f in found.truth.features("exclusive")}
    assert set(extreme.tolist()) == planted
    for kind in ("shared", "twin", "rotated"):
        for feature in found.truth.features(kind):
            latent = int(found.cosine_FL[feature].argmax())
            assert 0.4 < delta.values_L[latent] < 0.6


def test_shrunk_features_keep_their_ratio(found: Found) -> None:
    for owner, expected in ((A, 0.15), (B, 0.85)):
        (feature,) = found.truth.features("shrunk", owner)
        latent = found.nearest(feature)
        raw = found.value(f"delta_norm_raw[{A}|{B}]", latent)
        assert raw == pytest.approx(expected, abs=0.02)
        other = B if owner == A else A
        nu = found.value(f"nu_eps[own={owner},other={other}]", latent)
        assert nu == pytest.approx(0.3, abs=0.05)


def test_rotated_features_show_in_the_cosine(found: Found) -> None:
    (feature,) = found.truth.features("rotated")
    planted = found.truth.directions[0][feature] @ found.truth.directions[1][feature]
    cosine = found.value(f"decoder_cosine[{A}|{B}]", found.nearest(feature))
    assert cosine == pytest.approx(planted, abs=0.05)


def test_quality_of_the_dictionary(found: Found) -> None:
    quality = found.scores.quality
    assert min(quality.fve.values()) > 0.95
    assert quality.l0 == pytest.approx(3.0, rel=0.05)  # other tokens than those θ was set on
    assert quality.l0_topk == 3.0
