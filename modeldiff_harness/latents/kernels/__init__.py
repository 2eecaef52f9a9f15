"""Inner pieces of a sparse training step; every backend is a module with the same functions.

selection.py        the k·B largest codes of a batch over a chunked encoder product: shared by all
low_precision.py    bfloat16 scoring that still finds exactly the same entries
reference.py        plain torch on any device and dtype: the oracle of the others
numba_cpu.py        compiled loops for the CPU, float32 and float64
numba_loops.py      the loops themselves
triton_cuda.py      fused programs for a GPU, float32 and float64
triton_programs.py  their device code
choose.py           which backend a run uses

A backend added beside them must give the same support and, within rounding, the same numbers.
Letters: T tokens of the batch, L latents, J columns of one chunk of latents, N active (token,
latent) entries, A dead latents, C the concatenated width of all views.  Weights lie latent by
latent, (L, C), so that the gradient of one latent is one contiguous row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

__all__ = [
    "AdamFactors",
    "Candidates",
    "Decoded",
    "ExtraRows",
    "LossLayout",
    "Moments",
    "Parameters",
    "StepKernels",
    "Support",
]


@dataclass(frozen=True)
class Parameters:
    """The four tensors of a crosscoder, float32 master weights; also used for their gradients."""

    encoder_LC: Tensor
    encoder_bias_L: Tensor
    decoder_LC: Tensor
    decoder_bias_C: Tensor

    def tensors(self) -> list[Tensor]:
        """Return the tensors in their fixed order."""
        return [self.encoder_LC, self.encoder_bias_L, self.decoder_LC, self.decoder_bias_C]

    def zeros_like(self) -> Parameters:
        """Return zeros of the same shapes."""
        return Parameters(*(torch.zeros_like(t) for t in self.tensors()))


@dataclass(frozen=True)
class Moments:
    """Adam's running means of the gradients and of their squares, shaped like the parameters."""

    first: Parameters
    second: Parameters


@dataclass(frozen=True)
class AdamFactors:
    """What one Adam step needs besides moments (Kingma and Ba 2015, bias-corrected)."""

    learning_rate: float
    beta1: float
    beta2: float
    step: int
    """1 for the first step."""
    gradient_scale: float = 1.0
    """The clip: every gradient is multiplied by it first."""
    epsilon: float = 1e-8

    @property
    def first_correction(self) -> float:
        """1/(1 − β₁ᵗ)."""
        return float(1.0 / (1.0 - self.beta1**self.step))

    @property
    def second_correction(self) -> float:
        """1/(1 − β₂ᵗ)."""
        return float(1.0 / (1.0 - self.beta2**self.step))


@dataclass(frozen=True)
class Support:
    """Active entries of a T×L code matrix, sorted by token, then latent."""

    n_tokens: int
    n_latents: int
    token_N: Tensor
    """int64."""
    latent_N: Tensor
    """int64."""
    code_N: Tensor
    """Unscaled code f > 0."""
    smallest: float
    """Smallest selected f·w; 0 when nothing is active."""

    @cached_property
    def token_starts(self) -> Tensor:
        """(T + 1,) start of each token's entries."""
        return _starts(self.token_N, self.n_tokens)

    @cached_property
    def by_latent(self) -> Tensor:
        """(N,) order of the entries when sorted by latent, then token."""
        if self.latent_N.device.type == "cpu" and self.n_latents <= 32767:
            # numpy sorts 16-bit keys by radix: four times the speed of torch's stable sort
            keys = self.latent_N.to(torch.int16).numpy()
            return torch.from_numpy(keys.argsort(kind="stable"))
        return torch.argsort(self.latent_N, stable=True)

    @cached_property
    def latent_starts(self) -> Tensor:
        """(L + 1,) start of each latent's entries in `by_latent` order."""
        return _starts(self.latent_N[self.by_latent], self.n_latents)


@dataclass(frozen=True)
class Candidates:
    """Entries of one chunk whose f·w reaches a bound; indices are those of the whole batch."""

    token_N: Tensor
    """int64."""
    latent_N: Tensor
    """int64."""
    code_N: Tensor
    """Unscaled code f > 0."""
    value_N: Tensor
    """f·w."""


@dataclass(frozen=True)
class LossLayout:
    """How errors are weighted: column scales and the pairs of views of the difference term."""

    inverse_width_C: Tensor
    """1/D_v of each column's view: turns sums over columns into means over coordinates."""
    towards_scale_C: Tensor
    """Multiplies x − x̂ to give the gradient with respect to x̂."""
    pairs: Sequence[tuple[int, int, int]] = ()
    """(first column of a, first column of b, width) of every pair."""
    pair_scale: float = 0.0
    """Multiplies e^a − e^b: added to the gradient of b, subtracted from that of a."""


@dataclass(frozen=True)
class Decoded:
    """What decoding a batch gives for its backward pass."""

    residual_TC: Tensor
    """x − x̂."""
    towards_TC: Tensor
    """Gradient of the loss with respect to x̂."""
    code_gradient_N: Tensor
    """⟨towards[token], decoder[latent]⟩ of every entry: its gradient with respect to the code."""
    square_sum: float
    """Σ_t Σ_c (x − x̂)²/D_v."""
    gap_square_sum: float
    """Σ_pairs Σ_t Σ_d (e^a − e^b)²."""


@dataclass(frozen=True)
class ExtraRows:
    """Gradient rows of some latents that come on top of the squared error's."""

    latent_A: Tensor
    """int64, ascending."""
    encoder_AC: Tensor
    encoder_bias_A: Tensor
    decoder_AC: Tensor

    def plus(self, other: ExtraRows) -> ExtraRows:
        """Return the sums of both, a row for every latent of either."""
        both = torch.cat([self.latent_A, other.latent_A])
        latent_A, place = torch.unique(both, sorted=True, return_inverse=True)

        def added(ours: Tensor, theirs: Tensor) -> Tensor:
            rows = torch.cat([ours, theirs])
            return rows.new_zeros(latent_A.shape[0], *rows.shape[1:]).index_add_(0, place, rows)

        return ExtraRows(
            latent_A,
            added(self.encoder_AC, other.encoder_AC),
            added(self.encoder_bias_A, other.encoder_bias_A),
            added(self.decoder_AC, other.decoder_AC),
        )


class StepKernels(Protocol):
    """The interface of a backend module."""

    NAME: str

    def above(
        self, pre_TJ: Tensor, weight_J: Tensor, bound: float, *, token: int, latent: int
    ) -> Candidates:
        """Return the entries with h·w ≥ bound > 0, in any order.

        `token` and `latent` are the batch's indices of the chunk's first row and column.
        """
        ...

    def pair_products(
        self, left_N: Tensor, right_N: Tensor, left_TC: Tensor, right_LC: Tensor
    ) -> Tensor:
        """Return ⟨left[left_N], right[right_N]⟩ of every listed pair, (N,), in full precision."""
        ...

    def decode_and_pull(
        self,
        support: Support,
        decoder_LC: Tensor,
        bias_C: Tensor,
        target_TC: Tensor,
        layout: LossLayout,
    ) -> Decoded:
        """Decode Σ_j f_j d_j + b, compare with `target_TC`, and pull the errors back to codes."""
        ...

    def latent_sums(
        self, support: Support, coefficient_N: Tensor, rows_TC: Tensor, out_LC: Tensor
    ) -> Tensor:
        """Return Σ_{entries of j} coefficient·rows[token] for every latent j, in `out_LC`."""
        ...

    def gradient_norm(
        self, support: Support, decoded: Decoded, acts_TC: Tensor, extra: ExtraRows | None
    ) -> float:
        """Return the joint norm of all four gradients."""
        ...

    def update(
        self,
        support: Support,
        decoded: Decoded,
        acts_TC: Tensor,
        extra: ExtraRows | None,
        parameters: Parameters,
        moments: Moments,
        adam: AdamFactors,
        widths: Sequence[int],
        weight_L: Tensor,
    ) -> float:
        """Form the gradients, take one Adam step in place, and return the gradients' joint norm.

        Every row moves at every step, so latents without a gradient follow their moments as in
        the dense algorithm.  `weight_L` receives Σ_v ‖d_j^v‖ of the new decoders.  The norm is
        that before `gradient_scale`.
        """
        ...


def _starts(sorted_N: Tensor, n: int) -> Tensor:
    return torch.searchsorted(sorted_N, torch.arange(n + 1, device=sorted_N.device))
