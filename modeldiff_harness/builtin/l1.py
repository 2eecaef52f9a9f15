"""Dictionary learner `l1`: the crosscoder with an L1 penalty, kept as the control.

Loss: squared error + μ Σ_j f_j·w_j a token, with w_j = Σ_v ‖d_j^v‖ (Lindsey et al. 2024, "Sparse
Crosscoders for Cross-Layer Features and Model Diffing").  Under it a weak side of a decoder costs
more than it explains, and two one-sided latents cost no more than a shared one.  Hence the
artefacts that Minder et al. 2025 (arXiv 2504.02922) describe and `batchtopk` does not have:
Complete Shrinkage and Latent Decoupling.  A latent is active wherever its code is positive: θ is
0, and how many are active a token follows from μ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from modeldiff_harness.artifacts import View
from modeldiff_harness.contracts import DictionaryLearner
from modeldiff_harness.latents.train.settings import Share, TrainSettings
from modeldiff_harness.ranges import within

if TYPE_CHECKING:
    from torch import Tensor

    from modeldiff_harness.latents.kernels import Parameters, Support
    from modeldiff_harness.latents.train.loss import Batch, Evaluated

__all__ = ["L1", "L1Config", "l1"]

_FIRST_NORM = 0.005
"""Norm of a latent's first decoder row in each view: small, so that the penalty starts small."""


def l1(**config: Any) -> DictionaryLearner:
    """Return the learner; unknown settings are refused with the nearest known name."""
    from modeldiff_harness.latents.train.learner import SparseLearner

    return SparseLearner(L1(L1Config.of(config)))


@dataclass(frozen=True)
class L1Config(TrainSettings):
    """Settings of `l1`."""

    learner: ClassVar[str] = "l1"

    penalty: Annotated[float, within(0, 1e6)] = 0.02
    """μ, the weight of Σ f·w a token against a squared error of about 1 a view."""
    penalty_warmup_fraction: Share = 0.05
    """μ rises linearly from 0 over this share of the steps."""
    aux_weight: Annotated[float, within(0, 1e6)] = 0.0
    """As published, nothing brings dead latents back."""

    def penalty_at(self, step: int) -> float:
        """Return μ at step `step` (0-based)."""
        return self.penalty * (1.0 - self.left_at(step, self.penalty_warmup_fraction))


class L1:
    """The `Architecture`: every positive code is active and pays μ·w."""

    k = None

    def __init__(self, settings: L1Config) -> None:
        self.settings = settings

    def initial(
        self, views: Sequence[View], first_batch: Sequence[Tensor], *, seed: Sequence[int]
    ) -> Parameters:
        """Start with decoder rows of norm 0.005 a view."""
        from modeldiff_harness.latents.train.initialise import initial_parameters

        widths, n_latents = [view.width for view in views], self.settings.n_latents
        return initial_parameters(widths, n_latents, first_batch, seed=seed, norm=_FIRST_NORM)

    def select(self, batch: Batch, step: int) -> Support:
        """Keep every positive code."""
        return batch.positive()

    def loss(self, batch: Batch, support: Support, step: int) -> Evaluated:
        """Return the squared error and the penalty.

        The penalty's gradient is μ·w_j/T for every active code, and μ·Σ_t f_tj/T · d_j^v/‖d_j^v‖
        for the decoder rows.
        """
        from modeldiff_harness.latents.kernels import ExtraRows
        from modeldiff_harness.latents.train.loss import Penalty, view_norms

        found = batch.squared_error(support)
        weight = self.settings.penalty_at(step)
        code_L = batch.weight_L.new_zeros(support.n_latents)
        code_L.index_add_(0, support.latent_N, support.code_N)
        used_A = code_L.nonzero().squeeze(1)
        decoder_AC = batch.parameters.decoder_LC[used_A]
        norms_AV = view_norms(decoder_AC, batch.widths).clamp_min(1e-12)
        pull_AV = (weight / batch.n_tokens) * code_L[used_A][:, None] / norms_AV
        rows_AC = decoder_AC * pull_AV.repeat_interleave(used_A.new_tensor(batch.widths), dim=1)
        pull_N = (weight / batch.n_tokens) * batch.weight_L[support.latent_N]
        amount = float(code_L @ batch.weight_L) / batch.n_tokens
        return replace(
            found,
            terms=replace(found.terms, penalties={"l1": Penalty(amount, weight)}),
            decoded=replace(found.decoded, code_gradient_N=found.decoded.code_gradient_N + pull_N),
            extra=ExtraRows(
                latent_A=used_A,
                encoder_AC=rows_AC.new_zeros(rows_AC.shape),
                encoder_bias_A=rows_AC.new_zeros(rows_AC.shape[0]),
                decoder_AC=rows_AC,
            ),
        )

    def schedule(self, step: int) -> dict[str, float]:
        """Log μ."""
        return {"penalty": self.settings.penalty_at(step)}
