"""Settings and schedules that every learner of this folder shares; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, ClassVar, Literal, Self

from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.ranges import check_fields, within

__all__ = ["Positive", "Share", "TrainSettings"]

Share = Annotated[float, within(0, 1)]
Positive = Annotated[float, within(0, 1e6, above=True)]
Momentum = Annotated[float, within(0, 1, below=True)]

_NEVER_CHANGE_RESULTS = ("checkpoint_every_seconds", "kernels", "scoring")


@dataclass(frozen=True)
class TrainSettings:
    """What the training loop reads; an architecture adds its own settings in a subclass.

    The defaults trained well at 50–70 k tokens.
    """

    learner: ClassVar[str]
    """Name of the learner, for messages and records."""

    n_latents: Annotated[int, within(1, 10**8)] = 2304
    steps: Annotated[int, within(1, 10**9)] = 600
    batch_tokens: Annotated[int, within(1, 10**7)] = 1024
    lr: Annotated[float, within(0, 100, above=True)] = 4e-3
    warmup_fraction: Share = 0.05
    """Share of the steps over which the learning rate rises linearly."""
    decay_fraction: Share = 0.2
    """Share of the steps over which it falls linearly to zero at the end."""
    aux_weight: Annotated[float, within(0, 1e6)] = 1 / 32
    """Weight of the term that gives dead latents a way back; 0 leaves it out."""
    aux_k: Annotated[int, within(1, 10**8)] | None = None
    """Most dead latents a token in the auxiliary term; None: half the mean width."""
    dead_after_tokens: Annotated[int, within(1, 10**12)] | None = None
    """Unselected for so many training tokens = dead; None: 5 % of the run (10 M of 200 M)."""
    clip_norm: Positive = 1.0
    adam_beta1: Momentum = 0.9
    adam_beta2: Momentum = 0.999
    spike_factor: Annotated[float, within(1, 1e6, above=True)] = 10.0
    """The run stops when a step's loss exceeds this multiple of its running mean."""
    kernels: Literal["auto", "reference", "numba", "triton"] = "auto"
    """Backend of the step: auto, reference, numba or triton."""
    scoring: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of the product that looks for candidates: auto, float32 or bfloat16; never changes
    what is selected."""
    log_every: Annotated[int, within(1, 10**9)] = 10
    checkpoint_every_seconds: Annotated[float, within(0, 1e6)] = 60.0
    seed: Annotated[int, within(0, 2**32 - 1)] = 0

    def __post_init__(self) -> None:
        check_fields(self, self.learner)

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
