"""The auxiliary term: dead latents reconstruct what the others missed (Gao et al. 2024, §2.4).

The top dead latents of each token reconstruct the detached residual; the term is the share of the
residual's variance that they leave unexplained.  A dead latent with a negative pre-activation
contributes nothing forward; backward it receives the derivative it would have just above zero,
but only where that lifts it: so it comes back, and is never pushed further down.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from modeldiff_harness.latents.kernels import (
    ExtraRows,
    LossLayout,
    Parameters,
    StepKernels,
    Support,
)
from modeldiff_harness.latents.kernels.selection import chunk_numbers_for

__all__ = ["Auxiliary", "auxiliary_rows"]

_DENSE_UP_TO = 6
"""With fewer dead latents than this multiple of `top`, products over all of them are faster than
visits to the chosen ones: a matrix product does about ten times the work of a gather a second."""


@dataclass(frozen=True)
class Auxiliary:
    """The part of a step that gives dead latents a way back."""

    weight: float
    top: int
    """Most dead latents a token may use."""
    dead: Tensor
    """int64 indices of the dead latents, ascending."""


def auxiliary_rows(
    parameters: Parameters,
    acts_TC: Tensor,
    residual_TC: Tensor,
    weight_L: Tensor,
    inverse_width_C: Tensor,
    auxiliary: Auxiliary,
    kernels: StepKernels,
) -> tuple[float, ExtraRows | None]:
    """Return the term and the gradients of weight × term, one row a dead latent.

    (0, None) without dead latents or when the residual (T, C) does not vary.
    """
    n_dead = int(auxiliary.dead.shape[0])
    if not n_dead:
        return 0.0, None
    spread_C = residual_TC.var(dim=0, correction=0)
    variance = float((spread_C * inverse_width_C).sum())
    if variance <= 0:
        return 0.0, None
    # the miss is x̂_dead − e, of which the main loss's kernel gives the negative: hence the sign
    scale_C = inverse_width_C * (-2.0 * auxiliary.weight / (int(acts_TC.shape[0]) * variance))
    layout = LossLayout(inverse_width_C, scale_C)
    if n_dead <= _DENSE_UP_TO * auxiliary.top:
        squares, rows = _dense(parameters, acts_TC, residual_TC, weight_L, layout, auxiliary)
    else:
        squares, rows = _sparse(
            parameters, acts_TC, residual_TC, weight_L, layout, auxiliary, kernels
        )
    return squares / (int(acts_TC.shape[0]) * variance), rows


def _dense(
    parameters: Parameters,
    acts_TC: Tensor,
    residual_TC: Tensor,
    weight_L: Tensor,
    layout: LossLayout,
    auxiliary: Auxiliary,
) -> tuple[float, ExtraRows]:
    """Products over every (token, dead latent)."""
    dead = auxiliary.dead
    pre_TA = torch.addmm(parameters.encoder_bias_L[dead], acts_TC, parameters.encoder_LC[dead].t())
    chosen_TA = _top_mask(pre_TA * weight_L[dead], auxiliary.top)
    code_TA = pre_TA.clamp_min(0) * chosen_TA
    decoder_AC = parameters.decoder_LC[dead]
    left_TC = torch.addmm(residual_TC, code_TA, decoder_AC, alpha=-1.0)
    squares = float((left_TC.square().sum(dim=0) * layout.inverse_width_C).sum())
    towards_TC = left_TC.mul_(layout.towards_scale_C)
    pull_TA = towards_TC @ decoder_AC.t()
    pull_TA *= chosen_TA & ((pre_TA > 0) | (pull_TA < 0))
    return squares, ExtraRows(
        latent_A=dead,
        encoder_AC=pull_TA.t() @ acts_TC,
        encoder_bias_A=pull_TA.sum(dim=0),
        decoder_AC=code_TA.t() @ towards_TC,
    )


def _sparse(
    parameters: Parameters,
    acts_TC: Tensor,
    residual_TC: Tensor,
    weight_L: Tensor,
    layout: LossLayout,
    auxiliary: Auxiliary,
    kernels: StepKernels,
) -> tuple[float, ExtraRows]:
    """Visits to the chosen (token, dead latent) only; pre-activations a chunk of tokens a time."""
    dead, top = auxiliary.dead, auxiliary.top
    n_tokens, n_dead = int(acts_TC.shape[0]), int(dead.shape[0])
    place_TK, pre_TK = _chosen(parameters, acts_TC, weight_L, auxiliary)
    place_N, pre_N = place_TK.reshape(-1), pre_TK.reshape(-1)
    token_N = torch.arange(n_tokens, device=dead.device).repeat_interleave(top)
    code_N = pre_N.clamp_min(0)
    n_latents = int(weight_L.shape[0])
    among_all = Support(n_tokens, n_latents, token_N, dead[place_N], code_N, 0.0)
    decoded = kernels.decode_and_pull(
        among_all,
        parameters.decoder_LC,
        torch.zeros_like(parameters.decoder_bias_C),
        residual_TC,
        layout,
    )
    pull_N = decoded.code_gradient_N
    pull_N = pull_N * ((pre_N > 0) | (pull_N < 0))
    among_dead = Support(n_tokens, n_dead, token_N, place_N, code_N, 0.0)
    shape = (n_dead, int(acts_TC.shape[1]))
    return decoded.square_sum, ExtraRows(
        latent_A=dead,
        encoder_AC=kernels.latent_sums(among_dead, pull_N, acts_TC, acts_TC.new_empty(shape)),
        encoder_bias_A=acts_TC.new_zeros(n_dead).index_add_(0, place_N, pull_N),
        decoder_AC=kernels.latent_sums(
            among_dead, code_N, decoded.towards_TC, acts_TC.new_empty(shape)
        ),
    )


def _chosen(
    parameters: Parameters, acts_TC: Tensor, weight_L: Tensor, auxiliary: Auxiliary
) -> tuple[Tensor, Tensor]:
    """Return each token's top dead latents, as ascending places in `dead`, and their h, (T, K)."""
    dead, top = auxiliary.dead, auxiliary.top
    encoder_AC, bias_A = parameters.encoder_LC[dead], parameters.encoder_bias_L[dead]
    rows = max(1, chunk_numbers_for(acts_TC.device) // int(dead.shape[0]))
    places, values = [], []
    for start in range(0, int(acts_TC.shape[0]), rows):
        pre_TA = torch.addmm(bias_A, acts_TC[start : start + rows], encoder_AC.t())
        best = torch.topk(pre_TA * weight_L[dead], top, dim=1, sorted=False).indices
        place_TK = best.sort(dim=1).values
        places.append(place_TK)
        values.append(pre_TA.gather(1, place_TK))
    return torch.cat(places), torch.cat(values)


def _top_mask(value_TA: Tensor, top: int) -> Tensor:
    """Return where the `top` largest values of each row are, (T, A) bool."""
    if value_TA.shape[1] <= top:
        return torch.ones_like(value_TA, dtype=torch.bool)
    chosen = torch.zeros_like(value_TA, dtype=torch.bool)
    return chosen.scatter_(1, value_TA.topk(top, dim=1, sorted=False).indices, True)
