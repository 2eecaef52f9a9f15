"""Settings and schedules that every learner of this folder shares; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

from modeldiff_harness.errors import UsageError, did_you_mean

__all__ = ["TrainSettings"]

_NEVER_CHANGE_RESULTS = ("checkpoint_every_seconds", "kernels", "scoring")


@dataclass(frozen=True)
class TrainSettings:
    """What the training loop reads; an architecture adds its own settings in a subclass.

    The defaults trained well at 50–70 k tokens.
    """

    learner: ClassVar[str]
    """Name of the learner, for messages and records."""

    n_latents: int = 2304
    steps: int = 600
    batch_tokens: int = 1024
    lr: float = 4e-3
    warmup_fraction: float = 0.05
    """Share of the steps over which the learning rate rises linearly."""
    decay_fraction: float = 0.2
    """Share of the steps over which it falls linearly to zero at the end."""
    aux_weight: float = 1 / 32
    """Weight of the term that gives dead latents a way back; 0 leaves it out."""
    aux_k: int | None = None
    """Most dead latents a token in the auxiliary term; None: half the mean width."""
    dead_after_tokens: int | None = None
    """Unselected for so many training tokens = dead; None: 5 % of the run (10 M of 200 M)."""
    clip_norm: float = 1.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    spike_factor: float = 10.0
    """The run stops when a step's loss exceeds this multiple of its running mean."""
    kernels: str = "auto"
    """Backend of the step: auto, reference, numba or triton."""
    scoring: str = "auto"
    """Type of the product that looks for candidates: auto, float32 or bfloat16; never changes
    what is selected."""
    log_every: int = 10
    checkpoint_every_seconds: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        self._at_least_one("n_latents", "steps", "batch_tokens", "log_every")
        self._shares("warmup_fraction", "decay_fraction")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Return the settings; unknown names are refused with the nearest known one."""
        known = [f.name for f in fields(cls)]
        for name in options:
            if name not in known:
                raise UsageError(
                    f"{cls.learner} has no setting {name!r}.", hint=did_you_mean(name, known)
                )
        return cls(**options)

    def recipe(self) -> dict[str, Any]:
        """Return the settings that a training's result depends on."""
        return {k: v for k, v in asdict(self).items() if k not in _NEVER_CHANGE_RESULTS}

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of step `step` (0-based)."""
        warmup, decay = self.warmup_fraction * self.steps, self.decay_fraction * self.steps
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        fall = min(1.0, (self.steps - step) / decay) if decay else 1.0
        return self.lr * min(rise, fall)

    def left_at(self, step: int, fraction: float) -> float:
        """Return how much is left of an annealing over the first `fraction` of the steps, 1 to 0.

        It falls linearly; step `step` is 0-based.
        """
        length = fraction * self.steps
        return max(0.0, 1.0 - step / length) if length else 0.0

    def _at_least_one(self, *names: str) -> None:
        for name in names:
            if getattr(self, name) < 1:
                raise UsageError(
                    f"{self.learner}: {name} is {getattr(self, name)}; give 1 or more."
                )

    def _shares(self, *names: str) -> None:
        for name in names:
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{self.learner}: {name} must lie between 0 and 1.")
