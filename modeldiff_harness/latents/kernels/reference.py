"""The step's pieces in plain torch: CSR products over the active entries."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from modeldiff_harness.latents.kernels import Support

__all__ = [
    "Adam",
    "clip_",
    "decode",
    "latent_sums",
    "pre_activations",
    "sampled_products",
    "select",
]

with warnings.catch_warnings():
    # torch announces its sparse layouts as beta once a process; the products used here are tested
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor(
        torch.tensor([0, 0]), torch.tensor([], dtype=torch.int64), torch.tensor([]), (1, 1)
    )

_ROUNDING = 1e-5
"""Relative slack within which a candidate scan could have missed an entry by rounding."""


def pre_activations(acts_TC: Tensor, encoder_LC: Tensor, bias_L: Tensor, out_TL: Tensor) -> Tensor:
    """Return x·W_encᵀ + b (T, L), written into `out_TL`."""
    return torch.addmm(bias_L, acts_TC, encoder_LC.t(), out=out_TL)


def select(pre_TL: Tensor, weight_L: Tensor, n_keep: int, *, guess: float = 0.0) -> Support:
    """Return exactly the `n_keep` largest positive entries of ReLU(h)·w over the whole batch.

    Candidates above `guess` are scanned first; when they do not prove the border, everything
    positive is.  Ties at the border go to the lower flat index.
    """
    if guess > 0:
        flat_N, value_N = _above(pre_TL, weight_L, guess)
        if flat_N.shape[0] >= n_keep:
            border = _nth_largest(value_N, n_keep)
            if border > guess * (1 + _ROUNDING):
                return _support(pre_TL, flat_N, value_N, n_keep, border)
    flat_N, value_N = _above(pre_TL, weight_L, 0.0)
    n_keep = min(n_keep, int(flat_N.shape[0]))
    border = _nth_largest(value_N, n_keep) if n_keep else 0.0
    return _support(pre_TL, flat_N, value_N, n_keep, border)


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


def _above(pre_TL: Tensor, weight_L: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Return flat indices and values f·w of the entries above `bound` ≥ 0, in flat order."""
    mask_TL = pre_TL > (bound / weight_L if bound else 0.0)
    flat_N = _true_indices(mask_TL)
    value_N = pre_TL.reshape(-1)[flat_N] * weight_L[flat_N % pre_TL.shape[1]]
    if bool((value_N > 0).all()):
        return flat_N, value_N
    positive = value_N > 0  # a latent whose decoder is zero, or an underflow
    return flat_N[positive], value_N[positive]


def _true_indices(mask_TL: Tensor) -> Tensor:
    if mask_TL.device.type == "cpu":  # numpy's scan is an order of magnitude faster than torch's
        return torch.from_numpy(np.flatnonzero(mask_TL.numpy()))
    return mask_TL.reshape(-1).nonzero().squeeze(1)


def _nth_largest(value_N: Tensor, n: int) -> float:
    return float(torch.topk(value_N, n, sorted=False).values.min())


def _support(
    pre_TL: Tensor, flat_N: Tensor, value_N: Tensor, n_keep: int, border: float
) -> Support:
    keep_N = value_N > border
    missing = n_keep - int(keep_N.sum())
    if missing:
        tied = (value_N == border).nonzero().squeeze(1)[:missing]
        keep_N[tied] = True
    flat_N = flat_N[keep_N]
    n_tokens, n_latents = pre_TL.shape
    token_N = torch.div(flat_N, n_latents, rounding_mode="floor")
    return Support(
        n_tokens=n_tokens,
        n_latents=n_latents,
        token_N=token_N,
        latent_N=flat_N - token_N * n_latents,
        code_N=pre_TL.reshape(-1)[flat_N],
        smallest=border if n_keep else 0.0,
    )


class Adam:
    """Adam over a fixed list of tensors, updated in place (Kingma and Ba 2015, bias-corrected).

    One fused pass over parameter, gradient and both moments; every row moves at every step, so
    latents without a gradient follow their moments as in the dense algorithm.
    """

    def __init__(self, parameters: Sequence[Tensor], *, betas: tuple[float, float]) -> None:
        self._parameters = [torch.nn.Parameter(p, requires_grad=True) for p in parameters]
        self._optimiser = torch.optim.Adam(self._parameters, lr=0.0, betas=betas, fused=True)
        for parameter in self._parameters:
            self._optimiser.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }

    def step(self, gradients: Sequence[Tensor], *, learning_rate: float) -> None:
        """Move every parameter along its gradient."""
        self._optimiser.param_groups[0]["lr"] = learning_rate
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        self._optimiser.step()

    def state(self) -> dict[str, Tensor]:
        """Return the moments and step counts by name; the tensors are live, not copies."""
        return {
            f"{name}.{i}": value
            for i, parameter in enumerate(self._parameters)
            for name, value in self._optimiser.state[parameter].items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Copy moments and step counts from what `state` gave."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


def clip_(gradients: Sequence[Tensor], max_norm: float) -> float:
    """Scale gradients in place so that their joint norm is at most `max_norm`; return the norm."""
    norm = math.hypot(*(float(torch.linalg.vector_norm(g)) for g in gradients))
    if norm > max_norm:
        for gradient in gradients:
            gradient.mul_(max_norm / norm)
    return norm
