"""What observers of a run are told: a stage changed its state, a training step was logged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["StageEvent", "TrainStepEvent"]


@dataclass(frozen=True)
class TrainStepEvent:
    """One logged training step, given to `mdh_train_step` observers."""

    dictionary_id: str
    step: int
    n_steps: int
    tokens_per_second: float
    terms: Mapping[str, float]
    """Loss terms and counters by name: total, recon, aux, fve, l0, n_dead, lr, k …"""


@dataclass(frozen=True)
class StageEvent:
    """A stage began, was found in the store, ended or failed; given to `mdh_stage_event`."""

    verb: str
    key: str
    state: str
    """started, reused, finished, failed."""
    seconds: float = 0.0
    detail: str = ""
