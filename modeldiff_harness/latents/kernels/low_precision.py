"""Scoring in bfloat16 without losing exactness: what could reach the bound is evaluated again.

Rounding x and W to bfloat16 moves ⟨x, w⟩ by at most (2·2⁻⁹ + 2⁻¹⁸)·Σ|x_i w_i|, rounding the
result by 2⁻⁹ of it, and Σ|x_i w_i| ≤ ‖x‖·‖w‖ (Cauchy and Schwarz).  An entry whose rounded score
plus that slack stays below the bound cannot be selected; every other one is computed in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, cast

import torch
from torch import Tensor

from modeldiff_harness.latents.kernels import Candidates, StepKernels

__all__ = ["LowPrecisionScorer"]

_SLACK = 2.0**-8 + 2.0**-9 + 2.0**-12
"""Relative to ‖x‖·‖w‖; the last term covers accumulation in float32 and the cross terms."""


class RoundedKernels(Protocol):
    """What a backend may offer beside `StepKernels`: the scorer's passes over memory, joined."""

    def rounded_rows(self, rows_JC: Tensor, bias_J: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows in bfloat16 and ‖(row, bias)‖ of each."""
        ...

    def above_rounded(
        self,
        score_TJ: Tensor,
        bias_J: Tensor,
        slack_T: Tensor,
        norm_J: Tensor,
        weight_J: Tensor,
        bound: float,
        *,
        token: int,
        latent: int,
    ) -> tuple[Tensor, Tensor]:
        """Return token and latent of the entries with (score + b + slack·norm)·w ≥ bound."""
        ...


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
        # the bound is lowered by a rounding of the test itself
        found_N, place_N = self._maybe(token, rows, span, weight_J, bound * (1 - 1e-5), kernels)
        code_N = kernels.pair_products(found_N, place_N, acts_TC, encoder_JC)
        code_N += bias_J[place_N]
        value_N = code_N * weight_J[place_N]
        reached = value_N >= bound
        if reached.device.type != "cpu":
            reached = reached.nonzero().squeeze(1)  # one wait for the count instead of four
        return Candidates(
            found_N[reached] + token,
            place_N[reached] + span.start,
            code_N[reached],
            value_N[reached],
        )

    def _maybe(
        self,
        token: int,
        rows: int,
        span: slice,
        weight_J: Tensor,
        bound: float,
        kernels: StepKernels,
    ) -> tuple[Tensor, Tensor]:
        """Return row and column, in the chunk, of the entries that could reach `bound`."""
        encoder_JC, bias_J = self._encoder_LC[span], self._bias_L[span]
        low_TC, slack_T = self._low_TC[token : token + rows], self._slack_T[token : token + rows]
        if hasattr(kernels, "above_rounded"):
            joined = cast(RoundedKernels, kernels)
            low_JC, norm_J = joined.rounded_rows(encoder_JC, bias_J)
            score_TJ = _product(low_TC, low_JC)
            return joined.above_rounded(
                score_TJ, bias_J, slack_T, norm_J, weight_J, bound, token=0, latent=0
            )
        score_TJ = _product(low_TC, encoder_JC.to(torch.bfloat16)).to(encoder_JC.dtype)
        score_TJ += bias_J
        norm_J = (encoder_JC.square().sum(dim=1) + bias_J.square()).sqrt_()
        score_TJ.addr_(slack_T, norm_J)
        found = kernels.above(score_TJ, weight_J, bound, token=0, latent=0)
        return found.token_N, found.latent_N


def _product(low_TC: Tensor, low_JC: Tensor) -> Tensor:
    """Return x·Wᵀ in bfloat16, its sums kept in float32 as the slack assumes."""
    with _sums_in_float32():
        return low_TC @ low_JC.t()


@contextmanager
def _sums_in_float32() -> Iterator[None]:
    """Keep cuBLAS from adding up the parts of a product in bfloat16, as it may by default."""
    matmul = torch.backends.cuda.matmul
    name = "allow_bf16_reduced_precision_reduction"
    before, split = getattr(matmul, name), getattr(matmul, f"{name}_split_k", None)
    try:
        setattr(matmul, name, False if split is None else (False, split))
        yield
    finally:
        setattr(matmul, name, before if split is None else (before, split))
