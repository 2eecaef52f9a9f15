"""Loss terms of a BatchTopK crosscoder and what their gradients are made of (arXiv 2504.02922).

All views lie side by side: C = Σ_v D_v columns, so that one matrix product encodes every view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

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
    "Evaluated",
    "LossTerms",
    "Objective",
    "Parameters",
    "evaluate",
    "inverse_widths",
    "view_norms",
]


@dataclass(frozen=True)
class LossTerms:
    """What a step logs and what it back-propagates: the same numbers."""

    recon: float
    """Σ_v mean over tokens and coordinates of (x^v − x̂^v)²; about V when x̂ is the mean."""
    aux: float = 0.0
    """Share of the residual's variance that dead latents leave unexplained (0 without any)."""
    delta: float = 0.0
    """Σ over pairs of models of the mean over tokens and coordinates of (e^a − e^b)²."""
    aux_weight: float = 0.0
    delta_weight: float = 0.0

    @property
    def total(self) -> float:
        """recon + aux_weight·aux + delta_weight·delta."""
        return self.recon + self.aux_weight * self.aux + self.delta_weight * self.delta


@dataclass(frozen=True)
class Objective:
    """What a training minimises, apart from its schedule."""

    widths: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...] = ()
    """Views whose difference residual the delta term reads (equal width, same site)."""
    delta_weight: float = 0.0

    def layout(self, acts_TC: Tensor) -> LossLayout:
        """Return the column scales for batches like `acts_TC`."""
        n_tokens = int(acts_TC.shape[0])
        inverse_width_C = inverse_widths(self.widths, acts_TC)
        first = [sum(self.widths[:v]) for v in range(len(self.widths))]
        pairs = [(first[a], first[b], self.widths[a]) for a, b in self.pairs]
        width = self.widths[self.pairs[0][0]] if self.pairs else 1
        if any(self.widths[v] != width for pair in self.pairs for v in pair):
            raise ValueError("the delta term needs views of one width")
        return LossLayout(
            inverse_width_C=inverse_width_C,
            towards_scale_C=inverse_width_C * (-2.0 / n_tokens),
            pairs=pairs if self.delta_weight else (),
            pair_scale=2.0 * self.delta_weight / (n_tokens * width),
        )


@dataclass(frozen=True)
class Evaluated:
    """Terms of one batch, and the sparse factors of all four gradients."""

    terms: LossTerms
    support: Support
    decoded: Decoded
    extra: ExtraRows | None


def inverse_widths(widths: Sequence[int], like: Tensor) -> Tensor:
    """Return 1/D_v for each of the C columns."""
    parts = [torch.full((w,), 1.0 / w, dtype=like.dtype, device=like.device) for w in widths]
    return torch.cat(parts)


def view_norms(decoder_LC: Tensor, widths: Sequence[int]) -> Tensor:
    """Return ‖d_j^v‖ (L, V)."""
    parts = torch.split(decoder_LC, list(widths), dim=1)
    return torch.stack([torch.linalg.vector_norm(part, dim=1) for part in parts], dim=1)


def evaluate(
    objective: Objective,
    parameters: Parameters,
    acts_TC: Tensor,
    weight_L: Tensor,
    kernels: StepKernels,
    *,
    n_keep: int,
    guess: float = 0.0,
    auxiliary: Auxiliary | None = None,
    low_precision: bool = False,
    chunk_numbers: int | None = None,
) -> Evaluated:
    """Run one batch forward and back to the codes.

    Only the `n_keep` selected entries carry gradient: codes, decoder and encoder gradients are
    sums over active (token, latent) pairs.  Selection is on f·w with w = `weight_L`, the decoder
    receives f, and no gradient flows through w.  However the encoder product is cut by
    `chunk_numbers`, the selection's border is one for the whole batch.
    """
    support = select(
        acts_TC,
        parameters.encoder_LC,
        parameters.encoder_bias_L,
        weight_L,
        n_keep,
        kernels=kernels,
        guess=guess,
        low_precision=low_precision,
        chunk_numbers=chunk_numbers,
    )
    layout = objective.layout(acts_TC)
    decoded = kernels.decode_and_pull(
        support, parameters.decoder_LC, parameters.decoder_bias_C, acts_TC, layout
    )
    aux, extra = 0.0, None
    if auxiliary is not None:
        aux, extra = auxiliary_rows(
            parameters,
            acts_TC,
            decoded.residual_TC,
            weight_L,
            layout.inverse_width_C,
            auxiliary,
            kernels,
        )
    n_tokens = int(acts_TC.shape[0])
    width = layout.pairs[0][2] if layout.pairs else 1
    terms = LossTerms(
        recon=decoded.square_sum / n_tokens,
        aux=aux,
        delta=decoded.gap_square_sum / (n_tokens * width),
        aux_weight=auxiliary.weight if auxiliary is not None else 0.0,
        delta_weight=objective.delta_weight,
    )
    return Evaluated(terms, support, decoded, extra)
