"""Every learner of the training loop, small enough to train in a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modeldiff_harness.artifacts import TrainedDictionary
from modeldiff_harness.builtin.batchtopk import batchtopk
from modeldiff_harness.builtin.l1 import l1
from modeldiff_harness.contracts import ActivationStream, Runtime, TrainStepEvent
from modeldiff_harness.latents.train.train import train
from modeldiff_harness.testing.planted import PlantedConfig, planted_stream

PLANTED = PlantedConfig(n_shared=12, widths=(16, 16), n_prompts=60, tokens_per_document=12)
SMALL: dict[str, Any] = {
    "n_latents": 40, "steps": 40, "batch_tokens": 64, "lr": 5e-3, "log_every": 1,
    "dead_after_tokens": 256, "aux_weight": 1 / 32,
}  # fmt: skip
LEARNERS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "batchtopk": (batchtopk, {"k": 3}),
    "l1": (l1, {"penalty": 0.05}),
}


@dataclass(frozen=True)
class Fit:
    """Trains one learner over planted activations."""

    name: str

    def make(self, **config: Any) -> Any:
        create, own = LEARNERS[self.name]
        return create(**(SMALL | own | config))

    def __call__(
        self,
        folder: Path,
        stream: ActivationStream | None = None,
        observer: Callable[[TrainStepEvent], None] | None = None,
        replicate: int = 0,
        **config: Any,
    ) -> TrainedDictionary:
        return train(
            self.make(**config),
            stream or planted_stream(PLANTED)[0],
            dictionary_id="d",
            design="direct",
            replicate=replicate,
            runtime=Runtime(workdir=folder, on_train_step=observer or (lambda event: None)),
        )


@pytest.fixture(params=list(LEARNERS))
def fit(request: pytest.FixtureRequest) -> Fit:
    return Fit(request.param)


@pytest.fixture
def fit_topk() -> Fit:
    return Fit("batchtopk")


@pytest.fixture
def fit_l1() -> Fit:
    return Fit("l1")


@pytest.fixture
def planted() -> PlantedConfig:
    return PLANTED
