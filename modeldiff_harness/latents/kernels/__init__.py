"""Inner pieces of a sparse training step; every backend is a module with these functions.

reference.py    plain torch on any device and dtype: the oracle of the others

A backend added beside it must give the same support and, within rounding, the same numbers.
Letters: T tokens of the batch, L latents, N active (token, latent) entries, C the concatenated
width of all views.  Weights lie latent by latent, (L, C), so that the gradient of one latent is
one contiguous row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["StepKernels", "Support"]


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


class StepKernels(Protocol):
    """The interface of a backend module."""

    def pre_activations(
        self, acts_TC: Tensor, encoder_LC: Tensor, bias_L: Tensor, out_TL: Tensor
    ) -> Tensor:
        """Return x·W_encᵀ + b (T, L), written into `out_TL`: the one dense product of a step."""
        ...

    def select(
        self, pre_TL: Tensor, weight_L: Tensor, n_keep: int, *, guess: float = 0.0
    ) -> Support:
        """Return exactly the `n_keep` largest positive entries of ReLU(h)·w over the whole batch.

        Ties at the border go to the lower flat index.  With fewer positive entries all of them are
        kept.  `guess` is a lower bound worth trying first; it never changes the result.
        """
        ...

    def decode(self, support: Support, decoder_LC: Tensor, bias_C: Tensor) -> Tensor:
        """Return Σ_j f_j d_j + b, (T, C)."""
        ...

    def sampled_products(self, support: Support, left_TC: Tensor, right_LC: Tensor) -> Tensor:
        """Return ⟨left[token], right[latent]⟩ of every active entry, (N,)."""
        ...

    def latent_sums(
        self, support: Support, coefficient_N: Tensor, acts_TC: Tensor, out_LC: Tensor
    ) -> Tensor:
        """Return Σ_{entries of j} coefficient·acts[token] for every latent j, in `out_LC`."""
        ...


def _starts(sorted_N: Tensor, n: int) -> Tensor:
    return torch.searchsorted(sorted_N, torch.arange(n + 1, device=sorted_N.device))
