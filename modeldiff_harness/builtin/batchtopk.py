"""Dictionary learner `batchtopk`: a BatchTopK crosscoder.

Bussmann et al. 2024 (arXiv 2412.06410) for BatchTopK, Minder et al. 2025 (arXiv 2504.02922) for the
crosscoder.  Of a batch's B × L values f·w the k·B largest are active; the decoder receives f.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from modeldiff_harness.artifacts import View
from modeldiff_harness.contracts import DictionaryLearner
from modeldiff_harness.errors import UsageError
from modeldiff_harness.latents.train.settings import Share, TrainSettings
from modeldiff_harness.ranges import within

if TYPE_CHECKING:
    from torch import Tensor

    from modeldiff_harness.latents.kernels import Parameters, Support
    from modeldiff_harness.latents.train.loss import Batch, Evaluated

__all__ = ["BatchTopK", "BatchTopKConfig", "batchtopk"]


def batchtopk(**config: Any) -> DictionaryLearner:
    """Return the learner; unknown settings are refused with the nearest known name."""
    from modeldiff_harness.latents.train.learner import SparseLearner

    return SparseLearner(BatchTopK(BatchTopKConfig.of(config)))


@dataclass(frozen=True)
class BatchTopKConfig(TrainSettings):
    """Settings of `batchtopk`; the defaults trained well at 50–70 k tokens."""

    learner: ClassVar[str] = "batchtopk"

    k: Annotated[int, within(1, 10**8)] = 32
    """Active latents a token, on average over a batch."""
    k_anneal_factor: Annotated[float, within(1, 1e6)] = 4.0
    """k starts at this multiple (at most n_latents), since it falls and never rises …"""
    k_anneal_fraction: Share = 0.3
    """… and falls linearly to k over this share of the steps."""
    delta_weight: Annotated[float, within(0, 1e6)] = 0.0
    """λ on the squared difference of two models' residuals; needs models of one width."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k > self.n_latents:
            raise UsageError(f"batchtopk: k = {self.k} exceeds n_latents = {self.n_latents}.")

    def k_at(self, step: int) -> float:
        """Return the annealed k of step `step` (0-based)."""
        highest = min(self.k * self.k_anneal_factor, self.n_latents)
        return self.k + (highest - self.k) * self.left_at(step, self.k_anneal_fraction)


class BatchTopK:
    """The `Architecture`: the k·B largest f·w are active, the loss is the squared error."""

    def __init__(self, settings: BatchTopKConfig) -> None:
        self.settings = settings
        self.k = settings.k

    def initial(
        self, views: Sequence[View], first_batch: Sequence[Tensor], *, seed: Sequence[int]
    ) -> Parameters:
        """Start with decoder rows of norm 1 a view."""
        from modeldiff_harness.latents.train.initialise import initial_parameters

        self._difference_pairs(views)  # refused now rather than at the first step
        widths = [view.width for view in views]
        return initial_parameters(widths, self.settings.n_latents, first_batch, seed=seed)

    def select(self, batch: Batch, step: int) -> Support:
        """Keep the k·B largest entries, k annealed."""
        return batch.largest(round(self.settings.k_at(step) * self.settings.batch_tokens))

    def loss(self, batch: Batch, support: Support, step: int) -> Evaluated:
        """Return the squared error, and λ times that of the differences between models."""
        pairs = self._difference_pairs(batch.views)
        return batch.squared_error(support, pairs=pairs, delta_weight=self.settings.delta_weight)

    def schedule(self, step: int) -> dict[str, float]:
        """Log the annealed k."""
        return {"k": self.settings.k_at(step)}

    def _difference_pairs(self, views: Sequence[View]) -> list[tuple[int, int]]:
        """Return the pairs of views of two models at one site; UsageError when widths differ."""
        if not self.settings.delta_weight:
            return []
        pairs = [
            (a, b)
            for a, b in itertools.combinations(range(len(views)), 2)
            if views[a].site == views[b].site and views[a].model != views[b].model
        ]
        for a, b in pairs:
            if views[a].width != views[b].width:
                raise UsageError(
                    f"batchtopk: delta_weight needs models of one width; {views[a].model} has "
                    f"{views[a].width}, {views[b].model} has {views[b].width}.",
                    hint="Set delta_weight to 0.",
                )
        return pairs
