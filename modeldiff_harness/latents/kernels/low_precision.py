"""Scoring in bfloat16 without losing exactness: what could reach the bound is evaluated again.

Rounding x and W to bfloat16 moves ⟨x, w⟩ by at most (2·2⁻⁹ + 2⁻¹⁸)·Σ|x_i w_i|, rounding the
result by 2⁻⁹ of it, and Σ|x_i w_i| ≤ ‖x‖·‖w‖ (Cauchy and Schwarz).  An entry whose rounded score
plus that slack stays below the bound cannot be selected; every other one is computed in full.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modeldiff_harness.latents.kernels import Candidates, StepKernels

__all__ = ["LowPrecisionScorer"]

_SLACK = 2.0**-8 + 2.0**-9 + 2.0**-12
"""Relative to ‖x‖·‖w‖; the last term covers accumulation in float32 and the cross terms."""


class LowPrecisionScorer:
    """The encoder product of one batch in bfloat16, read against an upper bound of each entry.

    The bias takes part as one more coordinate of x (which is 1 there), so that its rounding is
    covered as well.
    """

    def __init__(self, acts_TC: Tensor, encoder_LC: Tensor, bias_L: Tensor) -> None:
        self._acts_TC, self._encoder_LC, self._bias_L = acts_TC, encoder_LC, bias_L
        self._low_TC = acts_TC.to(torch.bfloat16)
        square_T = acts_TC.square().sum(dim=1) + 1.0
        self._slack_T = square_T.sqrt_().mul_(_SLACK)

    def above(
        self,
        token: int,
        rows: int,
        span: slice,
        weight_J: Tensor,
        bound: float,
        kernels: StepKernels,
    ) -> Candidates:
        """Return the entries of the chunk whose exact f·w reaches `bound`."""
        encoder_JC, bias_J = self._encoder_LC[span], self._bias_L[span]
        acts_TC = self._acts_TC[token : token + rows]
        score_TJ = (self._low_TC[token : token + rows] @ encoder_JC.to(torch.bfloat16).t()).to(
            acts_TC.dtype
        )
        score_TJ += bias_J
        norm_J = (encoder_JC.square().sum(dim=1) + bias_J.square()).sqrt_()
        score_TJ.addr_(self._slack_T[token : token + rows], norm_J)
        # the bound is lowered by a rounding of the test itself
        maybe = kernels.above(
            score_TJ, weight_J, bound * (1 - 1e-5), token=token, latent=span.start
        )
        code_N = kernels.pair_products(
            maybe.token_N - token, maybe.latent_N - span.start, acts_TC, encoder_JC
        )
        code_N += bias_J[maybe.latent_N - span.start]
        value_N = code_N * weight_J[maybe.latent_N - span.start]
        reached = value_N >= bound
        return Candidates(
            maybe.token_N[reached], maybe.latent_N[reached], code_N[reached], value_N[reached]
        )
