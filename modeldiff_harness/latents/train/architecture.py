"""What tells one architecture of sparse dictionary from another; all else of a training is shared.

An architecture is one file with four parts (`builtin/batchtopk.py`, `builtin/l1.py`): its settings,
its first weights, which entries of a batch are active, and the loss of what they decode to.  The
loop, the optimiser, checkpoints, events, revival of dead latents, guards and θ come with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from modeldiff_harness.artifacts import View
from modeldiff_harness.latents.train.settings import TrainSettings

if TYPE_CHECKING:
    from torch import Tensor

    from modeldiff_harness.latents.kernels import Parameters, Support
    from modeldiff_harness.latents.train.loss import Batch, Evaluated

__all__ = ["Architecture"]


class Architecture(Protocol):
    """Settings, first weights, selection and loss; it holds no state that moves."""

    @property
    def settings(self) -> TrainSettings:
        """What was asked for, schedules included."""
        ...

    @property
    def k(self) -> int | None:
        """Active latents a token that θ is set for; None: θ is 0, every positive code counts."""
        ...

    def initial(
        self, views: Sequence[View], first_batch: Sequence[Tensor], *, seed: Sequence[int]
    ) -> Parameters:
        """Return the first weights, of the batch's dtype; UsageError for views it cannot read.

        `first_batch` holds one (T, D_v) tensor a view.
        """
        ...

    def select(self, batch: Batch, step: int) -> Support:
        """Return the active entries of a batch at step `step` (0-based)."""
        ...

    def loss(self, batch: Batch, support: Support, step: int) -> Evaluated:
        """Return the terms and the gradients of what `support` decodes to.

        Only active entries carry gradient.
        """
        ...

    def schedule(self, step: int) -> dict[str, float]:
        """Return what is annealed, by the name it is logged under."""
        ...
