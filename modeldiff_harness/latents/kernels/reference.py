"""The step's pieces in plain torch: CSR products over the active entries."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from modeldiff_harness.latents.kernels import (
    AdamFactors,
    Candidates,
    Decoded,
    ExtraRows,
    LossLayout,
    Moments,
    Parameters,
    Support,
)

__all__ = [
    "NAME",
    "above",
    "decode",
    "decode_and_pull",
    "gradient_norm",
    "latent_sums",
    "pair_products",
    "sampled_products",
    "select",
    "update",
]

NAME = "reference"

with warnings.catch_warnings():
    # torch announces its sparse layouts as beta once a process; the products used here are tested
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor(
        torch.tensor([0, 0]), torch.tensor([], dtype=torch.int64), torch.tensor([]), (1, 1)
    )


def above(pre_TJ: Tensor, weight_J: Tensor, bound: float, *, token: int, latent: int) -> Candidates:
    """Return the entries with h·w ≥ bound > 0; see `StepKernels`."""
    value_TJ = pre_TJ * weight_J
    flat_N = _true_indices(value_TJ >= bound)
    token_N = torch.div(flat_N, pre_TJ.shape[1], rounding_mode="floor")
    return Candidates(
        token_N=token_N + token,
        latent_N=flat_N - token_N * pre_TJ.shape[1] + latent,
        code_N=pre_TJ.reshape(-1)[flat_N],
        value_N=value_TJ.view(-1)[flat_N],
    )


def select(pre_TL: Tensor, weight_L: Tensor, n_keep: int) -> Support:
    """Return exactly the `n_keep` largest positive entries of ReLU(h)·w of a matrix at hand.

    Ties at the border go to the lower flat index.  With fewer positive entries all of them are
    kept.
    """
    from modeldiff_harness.latents.kernels.selection import pool_of

    pool = pool_of(n_keep)
    pool.add(above(pre_TL, weight_L, pool.bound, token=0, latent=0))
    return pool.support(int(pre_TL.shape[0]), int(pre_TL.shape[1]))


def pair_products(left_N: Tensor, right_N: Tensor, left_TC: Tensor, right_LC: Tensor) -> Tensor:
    """Return ⟨left[left_N], right[right_N]⟩ of every listed pair, (N,), a chunk at a time."""
    out_N = left_TC.new_empty(left_N.shape[0])
    for start in range(0, int(left_N.shape[0]), _PAIRS_AT_ONCE):
        span = slice(start, start + _PAIRS_AT_ONCE)
        torch.linalg.vecdot(left_TC[left_N[span]], right_LC[right_N[span]], out=out_N[span])
    return out_N


_PAIRS_AT_ONCE = 8192


def decode_and_pull(
    support: Support,
    decoder_LC: Tensor,
    bias_C: Tensor,
    target_TC: Tensor,
    layout: LossLayout,
) -> Decoded:
    """Decode, compare with `target_TC`, pull the errors back to codes; see `StepKernels`."""
    decoded_TC = decode(support, decoder_LC, bias_C)
    residual_TC = torch.sub(target_TC, decoded_TC, out=decoded_TC)
    towards_TC = residual_TC * layout.towards_scale_C
    gap_square_sum = 0.0
    for a, b, width in layout.pairs:
        gap_TD = residual_TC[:, a : a + width] - residual_TC[:, b : b + width]
        gap_square_sum += float(gap_TD.square().sum())
        towards_TC[:, a : a + width].sub_(gap_TD, alpha=layout.pair_scale)
        towards_TC[:, b : b + width].add_(gap_TD, alpha=layout.pair_scale)
    return Decoded(
        residual_TC=residual_TC,
        towards_TC=towards_TC,
        code_gradient_N=sampled_products(support, towards_TC, decoder_LC),
        square_sum=float((residual_TC.square().sum(dim=0) * layout.inverse_width_C).sum()),
        gap_square_sum=gap_square_sum,
    )


def gradient_norm(
    support: Support, decoded: Decoded, acts_TC: Tensor, extra: ExtraRows | None
) -> float:
    """Return the joint norm of all four gradients."""
    return _joint_norm(gradients(support, decoded, acts_TC, extra))


def gradients(
    support: Support, decoded: Decoded, acts_TC: Tensor, extra: ExtraRows | None
) -> Parameters:
    """Return the gradients of all four tensors."""
    shape = (support.n_latents, int(acts_TC.shape[1]))
    found = Parameters(
        encoder_LC=latent_sums(support, decoded.code_gradient_N, acts_TC, acts_TC.new_empty(shape)),
        encoder_bias_L=acts_TC.new_zeros(shape[0]).index_add_(
            0, support.latent_N, decoded.code_gradient_N
        ),
        decoder_LC=latent_sums(
            support, support.code_N, decoded.towards_TC, acts_TC.new_empty(shape)
        ),
        decoder_bias_C=decoded.towards_TC.sum(dim=0),
    )
    if extra is not None:
        found.encoder_LC.index_add_(0, extra.latent_A, extra.encoder_AC)
        found.encoder_bias_L.index_add_(0, extra.latent_A, extra.encoder_bias_A)
        found.decoder_LC.index_add_(0, extra.latent_A, extra.decoder_AC)
    return found


def update(
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
    """Take one Adam step in place and return the gradients' joint norm; see `StepKernels`."""
    found = gradients(support, decoded, acts_TC, extra)
    norm = _joint_norm(found)
    for gradient, parameter, first, second in zip(
        found.tensors(),
        parameters.tensors(),
        moments.first.tensors(),
        moments.second.tensors(),
        strict=True,
    ):
        adam_(parameter, gradient.mul_(adam.gradient_scale), first, second, adam)
    edges = np.cumsum([0, *widths]).tolist()
    norms = [
        torch.linalg.vector_norm(parameters.decoder_LC[:, a:b], dim=1) for a, b in pairwise(edges)
    ]
    torch.sum(torch.stack(norms, dim=1), dim=1, out=weight_L)
    return norm


def adam_(
    parameter: Tensor, gradient: Tensor, first: Tensor, second: Tensor, adam: AdamFactors
) -> None:
    """Move one tensor and its moments along `gradient` (Kingma and Ba 2015, algorithm 1)."""
    first.lerp_(gradient, 1.0 - adam.beta1)
    second.mul_(adam.beta2).addcmul_(gradient, gradient, value=1.0 - adam.beta2)
    size = second.mul(adam.second_correction).sqrt_().add_(adam.epsilon)
    parameter.addcdiv_(first, size, value=-adam.learning_rate * adam.first_correction)


def _joint_norm(found: Parameters) -> float:
    return math.hypot(*(float(torch.linalg.vector_norm(g)) for g in found.tensors()))


def decode(support: Support, decoder_LC: Tensor, bias_C: Tensor) -> Tensor:
    """Return Σ_j f_j d_j + b, (T, C)."""
    out_TC = torch.empty(
        support.n_tokens, decoder_LC.shape[1], dtype=decoder_LC.dtype, device=decoder_LC.device
    )
    torch.mm(_by_token(support, support.code_N), decoder_LC, out=out_TC)
    return out_TC.add_(bias_C)


def sampled_products(support: Support, left_TC: Tensor, right_LC: Tensor) -> Tensor:
    """Return ⟨left[token], right[latent]⟩ of every active entry, (N,)."""
    pattern = _by_token(support, torch.zeros_like(support.code_N))
    # the transposed view keeps each latent's row contiguous: six times faster than a copy
    products: Tensor = torch.sparse.sampled_addmm(pattern, left_TC, right_LC.t(), beta=0.0)
    return products.values()


def latent_sums(support: Support, coefficient_N: Tensor, acts_TC: Tensor, out_LC: Tensor) -> Tensor:
    """Return Σ_{entries of j} coefficient·acts[token] for every latent j, in `out_LC`."""
    order_N = support.by_latent
    by_latent = torch.sparse_csr_tensor(
        support.latent_starts,
        support.token_N[order_N],
        coefficient_N[order_N],
        (support.n_latents, support.n_tokens),
        check_invariants=False,
    )
    return torch.mm(by_latent, acts_TC, out=out_LC)


def _by_token(support: Support, values_N: Tensor) -> Tensor:
    return torch.sparse_csr_tensor(
        support.token_starts,
        support.latent_N,
        values_N,
        (support.n_tokens, support.n_latents),
        check_invariants=False,
    )


def _true_indices(mask_TL: Tensor) -> Tensor:
    if mask_TL.device.type == "cpu":  # numpy's scan is an order of magnitude faster than torch's
        return torch.from_numpy(np.flatnonzero(mask_TL.numpy()))
    return mask_TL.reshape(-1).nonzero().squeeze(1)
