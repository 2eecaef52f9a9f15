"""The optimiser of a crosscoder: what moves in a training, and one Adam step of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields

import torch
from torch import Tensor

from modeldiff_harness.artifacts import View
from modeldiff_harness.latents.kernels import AdamFactors, Moments, Parameters, StepKernels
from modeldiff_harness.latents.train.loss import Batch, Evaluated, view_norms

__all__ = ["Optimiser", "gradient_bound"]

_GUESS = 0.95
"""Share of the last border at which the next selection starts to look."""


class Optimiser:
    """Parameters, Adam's moments and what one step hands to the next.

    `batch` changes nothing, so a caller may refuse a loss; `apply` moves everything.
    """

    def __init__(
        self,
        views: Sequence[View],
        parameters: Parameters,
        kernels: StepKernels,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        low_precision: bool = False,
    ) -> None:
        self.views = tuple(views)
        self.parameters = parameters
        self.moments = Moments(parameters.zeros_like(), parameters.zeros_like())
        self.n_updates = 0
        self.guess = 0.0
        """A bound that the next selection probably exceeds; never changes its result."""
        self._kernels, self._betas, self._low_precision = kernels, betas, low_precision
        self._widths = tuple(view.width for view in views)
        self._weight_L = view_norms(parameters.decoder_LC, self._widths).sum(dim=1)

    def batch(self, acts_TC: Tensor) -> Batch:
        """Return activations (T, C) beside the present weights."""
        return Batch(
            acts_TC,
            self.views,
            self.parameters,
            self._weight_L,
            self._kernels,
            guess=self.guess,
            low_precision=self._low_precision,
        )

    def apply(
        self, found: Evaluated, acts_TC: Tensor, *, learning_rate: float, clip_norm: float
    ) -> float:
        """Take the Adam step of `found`, clipped to `clip_norm`; return the unclipped norm.

        Clipping needs the norm before any row moves.  When a bound shows that it cannot bite,
        that pass over the gradients is left out.
        """
        scale = 1.0
        if gradient_bound(found, acts_TC) > clip_norm:
            norm = self._kernels.gradient_norm(found.support, found.decoded, acts_TC, found.extra)
            scale = min(1.0, clip_norm / norm) if norm > 0 else 1.0
        self.n_updates += 1
        adam = AdamFactors(learning_rate, *self._betas, self.n_updates, scale)
        norm = self._kernels.update(
            found.support,
            found.decoded,
            acts_TC,
            found.extra,
            self.parameters,
            self.moments,
            adam,
            self._widths,
            self._weight_L,
        )
        self.guess = _GUESS * found.support.smallest
        return norm

    def state(self) -> dict[str, Tensor]:
        """Return every tensor by name; they are live, not copies."""
        named = {"weight_L": self._weight_L}
        for prefix, group in (
            ("", self.parameters),
            ("adam.first.", self.moments.first),
            ("adam.second.", self.moments.second),
        ):
            named |= {prefix + field.name: getattr(group, field.name) for field in fields(group)}
        return named

    def restore(self, state: Mapping[str, Tensor], *, n_updates: int, guess: float) -> None:
        """Continue from what `state`, `n_updates` and `guess` were."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
        self.n_updates, self.guess = n_updates, guess


def gradient_bound(found: Evaluated, acts_TC: Tensor) -> float:
    """Return an upper bound of the gradients' joint norm, from row norms alone.

    Latent j's rows are Σ f·towards and Σ g·(x, 1) over its entries, so their norms are at most
    Σ f‖towards‖ and Σ |g|·‖(x, 1)‖; extra rows add theirs.
    """
    support, decoded, extra = found.support, found.decoded, found.extra
    towards_T = torch.linalg.vector_norm(decoded.towards_TC, dim=1)
    acts_T = (acts_TC.square().sum(dim=1) + 1).sqrt_()
    zeros_L = acts_TC.new_zeros(support.n_latents)
    decoder_L = zeros_L.index_add(0, support.latent_N, support.code_N * towards_T[support.token_N])
    encoder_L = zeros_L.index_add(
        0, support.latent_N, decoded.code_gradient_N.abs() * acts_T[support.token_N]
    )
    if extra is not None:
        decoder_A = torch.linalg.vector_norm(extra.decoder_AC, dim=1)
        decoder_L.index_add_(0, extra.latent_A, decoder_A)
        squares_A = extra.encoder_AC.square().sum(dim=1) + extra.encoder_bias_A.square()
        encoder_L.index_add_(0, extra.latent_A, squares_A.sqrt_())
    bias_C = decoded.towards_TC.sum(dim=0)
    parts = [torch.linalg.vector_norm(part) for part in (decoder_L, encoder_L, bias_C)]
    # a little above, for the roundings of the sums
    return 1.001 * math.hypot(*(float(part) for part in parts))
