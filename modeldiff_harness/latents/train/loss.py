"""Loss terms of a crosscoder and what their gradients are made of (arXiv 2504.02922).

All views lie side by side: C = Σ_v D_v columns, so that one matrix product encodes every view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from modeldiff_harness.artifacts import View
from modeldiff_harness.latents.kernels import (
    Decoded,
    ExtraRows,
    LossLayout,
    Parameters,
    StepKernels,
    Support,
)
from modeldiff_harness.latents.kernels.selection import select
from modeldiff_harness.latents.train.auxiliary import Auxiliary, auxiliary_rows

__all__ = [
    "Auxiliary",
    "Batch",
    "Evaluated",
    "LossTerms",
    "Parameters",
    "Penalty",
    "inverse_widths",
    "view_norms",
    "with_auxiliary",
]


@dataclass(frozen=True)
class Penalty:
    """One term that an architecture adds to the reconstruction error."""

    amount: float
    weight: float


@dataclass(frozen=True)
class LossTerms:
    """What a step logs and what it back-propagates: the same numbers."""

    recon: float
    """Σ_v mean over tokens and coordinates of (x^v − x̂^v)²; about V when x̂ is the mean."""
    aux: float = 0.0
    """Share of the residual's variance that dead latents leave unexplained (0 without any)."""
    aux_weight: float = 0.0
    penalties: Mapping[str, Penalty] = field(default_factory=dict)
    """The architecture's own terms, by the name they are logged under."""

    @property
    def total(self) -> float:
        """recon + aux_weight·aux + Σ weight·amount."""
        total = self.recon + self.aux_weight * self.aux
        for penalty in self.penalties.values():
            total += penalty.weight * penalty.amount
        return total

    def logged(self) -> dict[str, float]:
        """Return every term unweighted, and the total."""
        amounts = {name: penalty.amount for name, penalty in self.penalties.items()}
        return {"total": self.total, "recon": self.recon, "aux": self.aux} | amounts


@dataclass(frozen=True)
class Evaluated:
    """Terms of one batch, and the sparse factors of all four gradients."""

    terms: LossTerms
    support: Support
    decoded: Decoded
    extra: ExtraRows | None = None


@dataclass(frozen=True)
class Batch:
    """Activations, the weights they meet, and the pieces that selections and losses are made of."""

    acts_TC: Tensor
    views: tuple[View, ...]
    parameters: Parameters
    weight_L: Tensor
    """w_j = Σ_v ‖d_j^v‖ of the decoders at hand; no gradient flows through it."""
    kernels: StepKernels
    guess: float = 0.0
    """A bound worth trying first in a selection; never changes its result."""
    low_precision: bool = False
    """Whether a selection looks for its candidates in bfloat16; never changes its result."""
    chunk_numbers: int | None = None
    """Pre-activations that exist at a time; None: what suits the device."""

    @property
    def n_tokens(self) -> int:
        """Number of tokens T."""
        return int(self.acts_TC.shape[0])

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of each view."""
        return tuple(view.width for view in self.views)

    def largest(self, n_keep: int) -> Support:
        """Return the `n_keep` largest positive f·w of the whole batch, however it is cut."""
        return select(
            self.acts_TC,
            self.parameters.encoder_LC,
            self.parameters.encoder_bias_L,
            self.weight_L,
            n_keep,
            kernels=self.kernels,
            guess=self.guess,
            low_precision=self.low_precision,
            chunk_numbers=self.chunk_numbers,
        )

    def positive(self) -> Support:
        """Return every entry with a positive code."""
        return replace(self, guess=0.0).largest(self.n_tokens * int(self.weight_L.shape[0]))

    def squared_error(
        self,
        support: Support,
        *,
        pairs: Sequence[tuple[int, int]] = (),
        delta_weight: float = 0.0,
    ) -> Evaluated:
        """Decode `support` and return the mean squared error with its gradients.

        With a `delta_weight` λ the squared difference of the residuals of each of `pairs` (places
        of two views of one width) comes on top, as penalty "delta".
        """
        layout = self._layout(pairs if delta_weight else (), delta_weight)
        decoded = self.kernels.decode_and_pull(
            support,
            self.parameters.decoder_LC,
            self.parameters.decoder_bias_C,
            self.acts_TC,
            layout,
        )
        width = layout.pairs[0][2] if layout.pairs else 1
        delta = Penalty(decoded.gap_square_sum / (self.n_tokens * width), delta_weight)
        terms = LossTerms(
            recon=decoded.square_sum / self.n_tokens,
            penalties={"delta": delta} if delta_weight else {},
        )
        return Evaluated(terms, support, decoded)

    def _layout(self, pairs: Sequence[tuple[int, int]], delta_weight: float) -> LossLayout:
        inverse_width_C = inverse_widths(self.widths, self.acts_TC)
        first = [sum(self.widths[:v]) for v in range(len(self.widths))]
        width = self.widths[pairs[0][0]] if pairs else 1
        if any(self.widths[v] != width for pair in pairs for v in pair):
            raise ValueError("the delta term needs views of one width")
        return LossLayout(
            inverse_width_C=inverse_width_C,
            towards_scale_C=inverse_width_C * (-2.0 / self.n_tokens),
            pairs=[(first[a], first[b], self.widths[a]) for a, b in pairs],
            pair_scale=2.0 * delta_weight / (self.n_tokens * width),
        )


def with_auxiliary(batch: Batch, found: Evaluated, auxiliary: Auxiliary) -> Evaluated:
    """Return `found` with the term that gives dead latents a way back."""
    aux, rows = auxiliary_rows(
        batch.parameters,
        batch.acts_TC,
        found.decoded.residual_TC,
        batch.weight_L,
        inverse_widths(batch.widths, batch.acts_TC),
        auxiliary,
        batch.kernels,
    )
    terms = replace(found.terms, aux=aux, aux_weight=auxiliary.weight)
    if rows is not None and found.extra is not None:
        rows = found.extra.plus(rows)
    return replace(found, terms=terms, extra=rows or found.extra)


def inverse_widths(widths: Sequence[int], like: Tensor) -> Tensor:
    """Return 1/D_v for each of the C columns."""
    parts = [torch.full((w,), 1.0 / w, dtype=like.dtype, device=like.device) for w in widths]
    return torch.cat(parts)


def view_norms(decoder_LC: Tensor, widths: Sequence[int]) -> Tensor:
    """Return ‖d_j^v‖ (L, V)."""
    parts = torch.split(decoder_LC, list(widths), dim=1)
    return torch.stack([torch.linalg.vector_norm(part, dim=1) for part in parts], dim=1)
