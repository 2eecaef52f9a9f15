"""Parameters, loss terms and sparse gradients of a BatchTopK crosscoder (arXiv 2504.02922).

All views lie side by side: C = Σ_v D_v columns, so that one matrix product encodes every view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from modeldiff_harness.latents.kernels import StepKernels, Support

__all__ = [
    "Auxiliary",
    "LossTerms",
    "Parameters",
    "StepResult",
    "Workspace",
    "layout_weights",
    "loss_and_gradients",
    "view_norms",
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
class Auxiliary:
    """The part of a step that gives dead latents a way back."""

    weight: float
    top: int
    """Most dead latents a token may use."""
    dead: Tensor
    """int64 indices of the dead latents, ascending."""


@dataclass(frozen=True)
class StepResult:
    """Terms and support of one step; its gradients lie in the workspace."""

    terms: LossTerms
    support: Support


@dataclass(frozen=True)
class Workspace:
    """Buffers of a training, reused by every step, and the layout of the views."""

    widths: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    """Views whose difference residual the delta term reads (equal width, same site)."""
    pre_TL: Tensor
    gradients: Parameters
    inverse_width_C: Tensor = field(repr=False)
    """1/D_v of each column's view: turns sums over columns into means over coordinates."""

    @classmethod
    def of(
        cls,
        parameters: Parameters,
        widths: Sequence[int],
        pairs: Sequence[tuple[int, int]],
        batch_tokens: int,
    ) -> Workspace:
        """Allocate the buffers for batches of `batch_tokens` tokens."""
        like = parameters.encoder_LC
        n_latents = int(like.shape[0])
        return cls(
            widths=tuple(widths),
            pairs=tuple(pairs),
            pre_TL=torch.empty(batch_tokens, n_latents, dtype=like.dtype, device=like.device),
            gradients=parameters.zeros_like(),
            inverse_width_C=layout_weights(widths, like),
        )


def layout_weights(widths: Sequence[int], like: Tensor) -> Tensor:
    """Return 1/D_v for each of the C columns."""
    parts = [torch.full((w,), 1.0 / w, dtype=like.dtype, device=like.device) for w in widths]
    return torch.cat(parts)


def view_norms(decoder_LC: Tensor, widths: Sequence[int]) -> Tensor:
    """Return ‖d_j^v‖ (L, V)."""
    parts = torch.split(decoder_LC, list(widths), dim=1)
    return torch.stack([torch.linalg.vector_norm(part, dim=1) for part in parts], dim=1)


def loss_and_gradients(
    parameters: Parameters,
    acts_TC: Tensor,
    workspace: Workspace,
    kernels: StepKernels,
    *,
    n_keep: int,
    guess: float,
    delta_weight: float,
    auxiliary: Auxiliary | None,
) -> StepResult:
    """Run one step forward and backward; gradients of `LossTerms.total` go to the workspace.

    Only the `n_keep` selected entries carry gradient: codes, decoder and encoder gradients are
    sums over active (token, latent) pairs.  Selection is on f·w, the decoder receives f, and no
    gradient flows through w.
    """
    gradients = workspace.gradients
    n_tokens = int(acts_TC.shape[0])
    pre_TL = kernels.pre_activations(
        acts_TC, parameters.encoder_LC, parameters.encoder_bias_L, workspace.pre_TL
    )
    weight_L = view_norms(parameters.decoder_LC, workspace.widths).sum(dim=1)
    support = kernels.select(pre_TL, weight_L, n_keep, guess=guess)
    decoded_TC = kernels.decode(support, parameters.decoder_LC, parameters.decoder_bias_C)
    residual_TC = torch.sub(acts_TC, decoded_TC, out=decoded_TC)

    recon = float((residual_TC.square().mean(dim=0) * workspace.inverse_width_C).sum())
    # gradient with respect to x̂: −2e/(T·D_v), and the delta term's share
    towards_TC = residual_TC * workspace.inverse_width_C.mul(-2.0 / n_tokens)
    delta = 0.0
    if delta_weight:
        delta = _delta_gradient(residual_TC, towards_TC, workspace, delta_weight)

    code_gradient_N = kernels.sampled_products(support, towards_TC, parameters.decoder_LC)
    kernels.latent_sums(support, support.code_N, towards_TC, gradients.decoder_LC)
    torch.sum(towards_TC, dim=0, out=gradients.decoder_bias_C)
    kernels.latent_sums(support, code_gradient_N, acts_TC, gradients.encoder_LC)
    gradients.encoder_bias_L.zero_().index_add_(0, support.latent_N, code_gradient_N)

    aux = 0.0
    if auxiliary is not None and auxiliary.dead.shape[0]:
        aux = _auxiliary_gradients(parameters, acts_TC, residual_TC, weight_L, workspace, auxiliary)
    terms = LossTerms(
        recon=recon,
        aux=aux,
        delta=delta,
        aux_weight=auxiliary.weight if auxiliary is not None else 0.0,
        delta_weight=delta_weight,
    )
    return StepResult(terms, support)


def _delta_gradient(
    residual_TC: Tensor, towards_TC: Tensor, workspace: Workspace, delta_weight: float
) -> float:
    """Add the gradient of λ·Σ_pairs mean (e^a − e^b)² with respect to x̂; return the sum."""
    residuals = torch.split(residual_TC, list(workspace.widths), dim=1)
    towards = torch.split(towards_TC, list(workspace.widths), dim=1)
    total = 0.0
    for a, b in workspace.pairs:
        gap_TD = residuals[a] - residuals[b]
        total += float(gap_TD.square().mean())
        scale = 2.0 * delta_weight / gap_TD.numel()
        towards[a].sub_(gap_TD, alpha=scale)
        towards[b].add_(gap_TD, alpha=scale)
    return total


def _auxiliary_gradients(
    parameters: Parameters,
    acts_TC: Tensor,
    residual_TC: Tensor,
    weight_L: Tensor,
    workspace: Workspace,
    auxiliary: Auxiliary,
) -> float:
    """Add the gradients of the auxiliary term (Gao et al. 2024, §2.4); return the term.

    The top dead latents of each token reconstruct the detached residual.  A dead latent with a
    negative pre-activation contributes nothing forward; backward it receives the derivative it
    would have just above zero, but only where that lifts it: so it comes back, and is never
    pushed further down.
    """
    dead, gradients = auxiliary.dead, workspace.gradients
    n_tokens = int(acts_TC.shape[0])
    spread_C = residual_TC.var(dim=0, correction=0)
    variance = float((spread_C * workspace.inverse_width_C).sum())
    if variance <= 0:
        return 0.0
    pre_TA = workspace.pre_TL[:, dead]
    chosen_TA = _top_mask(pre_TA * weight_L[dead], auxiliary.top)
    code_TA = pre_TA.clamp_min(0) * chosen_TA
    decoder_AC = parameters.decoder_LC[dead]
    miss_TC = torch.addmm(residual_TC, code_TA, decoder_AC, beta=-1.0)
    aux = float((miss_TC.square().mean(dim=0) * workspace.inverse_width_C).sum()) / variance
    scale_C = workspace.inverse_width_C * (2.0 * auxiliary.weight / (n_tokens * variance))
    towards_TC = miss_TC.mul_(scale_C)
    pull_TA = towards_TC @ decoder_AC.t()
    pull_TA *= chosen_TA & ((pre_TA > 0) | (pull_TA < 0))
    gradients.decoder_LC.index_add_(0, dead, code_TA.t() @ towards_TC)
    gradients.encoder_LC.index_add_(0, dead, pull_TA.t() @ acts_TC)
    gradients.encoder_bias_L.index_add_(0, dead, pull_TA.sum(dim=0))
    return aux


def _top_mask(value_TA: Tensor, top: int) -> Tensor:
    """Return where the `top` largest values of each row are, (T, A) bool."""
    if value_TA.shape[1] <= top:
        return torch.ones_like(value_TA, dtype=torch.bool)
    chosen = torch.zeros_like(value_TA, dtype=torch.bool)
    return chosen.scatter_(1, value_TA.topk(top, dim=1, sorted=False).indices, True)
