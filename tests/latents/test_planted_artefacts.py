"""The artefacts of the L1 crosscoder, planted and shown; BatchTopK does not have them.

Minder et al. 2025 (arXiv 2504.02922): Complete Shrinkage gives a feature that is weak in one of the
models a decoder of the other alone; Latent Decoupling stores one feature of both models as two
latents of one model each.  Latent Scaling tells either from a really exclusive feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from modeldiff_harness.artifacts import LatentScores
from modeldiff_harness.builtin.batchtopk import batchtopk
from modeldiff_harness.builtin.l1 import l1
from modeldiff_harness.builtin.scorer_activity import Activity
from modeldiff_harness.builtin.scorer_delta_norm import DeltaNorm
from modeldiff_harness.builtin.scorer_latent_scaling import LatentScaling
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.latents.harvest.stream import MatrixStream
from modeldiff_harness.latents.score.score import score
from modeldiff_harness.latents.train.train import train
from modeldiff_harness.testing.planted import PlantedConfig, PlantedTruth, planted_corpus

pytestmark = pytest.mark.slow

CONFIG = PlantedConfig(
    n_shared=6,
    widths=(16, 16),
    n_twins=2,
    n_rotated=0,
    n_shrunk=1,
    n_exclusive=1,
    n_prompts=150,
    exclusive_rate=0.4,
    active_per_token=1.5,
    shrunk_norm=0.3,
)
A, B = CONFIG.models
SAME: dict[str, Any] = {"n_latents": 64, "steps": 500, "batch_tokens": 128, "lr": 5e-3}


@dataclass(frozen=True)
class Found:
    truth: PlantedTruth
    scores: LatentScores
    along_FL: np.ndarray
    """Share of a latent's decoder that lies along the feature, each model's sign positive."""

    def value_L(self, name: str) -> np.ndarray:
        return self.scores.column(name).values_L

    @property
    def delta_norm_L(self) -> np.ndarray:
        return self.value_L(f"delta_norm[{A}|{B}]")

    def of(self, feature: int) -> list[int]:
        """Latents of the feature that fire on at least half of its tokens, heaviest first."""
        tokens_L = self.value_L("n_active_tokens")
        near_L = (self.along_FL[feature] > 0.95) & (tokens_L > 0)
        enough = 0.5 * tokens_L[near_L].max()
        mass_L = self.value_L("mean_activation") * tokens_L
        return sorted(np.flatnonzero(near_L & (tokens_L >= enough)), key=lambda j: -mass_L[j])


def _stream() -> tuple[MatrixStream, PlantedTruth]:
    """Planted activations in which a twin's strength is drawn anew for the second model.

    It still fires on the same tokens, along the same direction: one feature, of both models.
    """
    corpus, truth = planted_corpus(CONFIG)
    first, second = truth.activations
    rng, second = np.random.default_rng(0), second.copy()
    for feature in truth.features("twin"):
        code_T = truth.codes_TF[:, feature]
        anew_T = np.where(code_T > 0, 1 + rng.gamma(2.0, 0.5, size=code_T.shape), 0.0)
        second += np.outer(anew_T - code_T, truth.directions[1][feature]).astype(np.float32)
    rows = corpus.keep_T.nonzero()[0]
    acts = [first[rows], second[rows]]
    return MatrixStream(corpus, truth.views, acts, rows, max_norm_factor=None), truth


def _found(learner: Any, folder: Any) -> Found:
    stream, truth = _stream()
    dictionary = train(
        learner,
        stream,
        dictionary_id="d",
        design="direct",
        replicate=0,
        runtime=Runtime(workdir=folder),
    )
    scorers = [DeltaNorm(), LatentScaling(), Activity()]
    scores = score(dictionary, stream, scorers, runtime=Runtime()).scores
    squares_FL, total_L = 0.0, 0.0
    for raw_LD, directions_FD in zip(dictionary.decoders, truth.directions, strict=True):
        norms_F1 = np.maximum(np.linalg.norm(directions_FD, axis=1, keepdims=True), 1e-9)
        squares_FL += np.maximum(directions_FD / norms_F1 @ raw_LD.T, 0.0) ** 2
        total_L += (raw_LD**2).sum(axis=1)
    return Found(truth, scores, np.sqrt(squares_FL / np.maximum(total_L, 1e-12)))


@pytest.fixture(scope="module")
def under_l1(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return _found(l1(penalty=0.07, **SAME), tmp_path_factory.mktemp("l1"))


@pytest.fixture(scope="module")
def under_topk(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return _found(batchtopk(k=2, **SAME), tmp_path_factory.mktemp("topk"))


def _share_of(found: Found, latent: int, owner: str) -> float:
    """Δnorm seen from the owner: 1 = the owner's only."""
    delta = float(found.delta_norm_L[latent])
    return delta if owner == B else 1.0 - delta


@pytest.mark.parametrize(("owner", "other"), [(A, B), (B, A)])
def test_complete_shrinkage(under_l1: Found, under_topk: Found, owner: str, other: str) -> None:
    (feature,) = under_l1.truth.features("shrunk", owner)
    heaviest = {name: f.of(feature)[0] for name, f in (("l1", under_l1), ("topk", under_topk))}
    # the weaker side is 0.3 of the stronger one: Δnorm 0.85 from the owner's side
    assert _share_of(under_topk, heaviest["topk"], owner) == pytest.approx(0.85, abs=0.03)
    # its norm shrinks away, as if the feature were the owner's alone …
    assert _share_of(under_l1, heaviest["l1"], owner) > 0.95
    # … which Latent Scaling refutes: the other model's error still asks for it
    nu_eps_L = under_l1.value_L(f"nu_eps[own={owner},other={other}]")
    assert nu_eps_L[heaviest["l1"]] > 0.2
    (exclusive,) = under_topk.truth.features("exclusive", owner)
    real = under_topk.of(exclusive)[0]
    assert under_topk.value_L(f"nu_eps[own={owner},other={other}]")[real] < 0.1


def test_latent_decoupling(under_l1: Found, under_topk: Found) -> None:
    assert _decoupled(under_l1)
    assert not _decoupled(under_topk)
    for feature in under_topk.truth.features("twin"):
        (latent,) = under_topk.of(feature)
        assert 0.4 < under_topk.delta_norm_L[latent] < 0.6


def _decoupled(found: Found) -> list[int]:
    """The features of both models of which each model has a latent of its own.

    Each fires on the feature's tokens, and its reconstruction is there without it in the other
    model (ν_r is high): that is what tells a twin from an exclusive feature.
    """

    def has(feature: int, owner: str, other: str) -> bool:
        nu_r_L = found.value_L(f"nu_r[own={owner},other={other}]")
        return any(
            _share_of(found, latent, owner) > 0.9 and nu_r_L[latent] > 0.5
            for latent in found.of(feature)
        )

    twins = found.truth.features("twin")
    return [feature for feature in twins if has(feature, A, B) and has(feature, B, A)]
