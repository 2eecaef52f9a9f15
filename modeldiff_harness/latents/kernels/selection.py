"""The n largest positive f·w of a whole batch, exactly, while only one chunk of codes exists.

A pool takes what reaches a bound.  Whenever it holds several times more than is wanted, the bound
rises to the n-th largest value so far, which the final border cannot be below.  A guess may set
the first bound; when it leaves fewer than n entries it was too high, and the batch is scanned
again without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from modeldiff_harness.latents.kernels import Candidates, StepKernels, Support
from modeldiff_harness.latents.kernels.low_precision import LowPrecisionScorer

__all__ = ["Pool", "chunk_numbers_for", "pool_of", "select"]

_CHUNK_NUMBERS = 1 << 22
"""Numbers of one chunk of pre-activations on a CPU (16 MiB in float32): large enough for the
product's full speed, small enough for a cache."""
_DEVICE_CHUNK_NUMBERS = 1 << 25
"""The same elsewhere (128 MiB), where every chunk also costs launches and a wait for the count."""
_ROOMY = 4
"""The pool is cut back when it holds this multiple of what is wanted."""
_SMALLEST = float(np.finfo(np.float32).tiny)
"""Stands for "positive": subnormal activations are not worth a latent."""


def select(
    acts_TC: Tensor,
    encoder_LC: Tensor,
    bias_L: Tensor,
    weight_L: Tensor,
    n_keep: int,
    *,
    kernels: StepKernels,
    guess: float = 0.0,
    low_precision: bool = False,
    chunk_numbers: int | None = None,
) -> Support:
    """Return exactly the `n_keep` largest positive entries of ReLU(x·W_encᵀ + b)·w.

    The border is one for the whole batch, however it is cut.  Ties at the border go to the lower
    flat index.  With fewer positive entries all of them are kept.  `guess` is a lower bound worth
    trying first; it never changes the result.  With `low_precision` the dense product runs in
    bfloat16 and only entries that could reach the bound are evaluated in full precision.
    `chunk_numbers` bounds the part of the product that exists at a time; None: what suits the
    device.
    """
    if chunk_numbers is None:
        chunk_numbers = chunk_numbers_for(acts_TC.device)
    if guess > _SMALLEST:
        pool = Pool(n_keep, guess)
        _scan(acts_TC, encoder_LC, bias_L, weight_L, pool, kernels, low_precision, chunk_numbers)
        if pool.count >= n_keep:
            return pool.support(int(acts_TC.shape[0]), int(encoder_LC.shape[0]))
    pool = pool_of(n_keep)
    _scan(acts_TC, encoder_LC, bias_L, weight_L, pool, kernels, low_precision, chunk_numbers)
    return pool.support(int(acts_TC.shape[0]), int(encoder_LC.shape[0]))


def chunk_numbers_for(device: torch.device) -> int:
    """Return how many pre-activations are worth computing at a time on `device`."""
    return _CHUNK_NUMBERS if device.type == "cpu" else _DEVICE_CHUNK_NUMBERS


def pool_of(n_keep: int) -> Pool:
    """Return an empty pool for the `n_keep` largest positive entries."""
    return Pool(n_keep, _SMALLEST)


@dataclass
class Pool:
    """The best entries so far: all that reach `bound`."""

    n_keep: int
    bound: float
    count: int = 0
    parts: list[Candidates] = field(default_factory=list)

    def add(self, fresh: Candidates) -> None:
        """Take the candidates of one more chunk."""
        self.parts.append(fresh)
        self.count += int(fresh.value_N.shape[0])
        if self.n_keep and self.count > _ROOMY * self.n_keep:
            self._cut()

    def _cut(self) -> None:
        together = _concatenate(self.parts)
        self.bound = max(self.bound, _nth_largest(together.value_N, self.n_keep))
        kept = _subset(together, together.value_N >= self.bound)
        self.parts, self.count = [kept], int(kept.value_N.shape[0])

    def support(self, n_tokens: int, n_latents: int) -> Support:
        """Return the entries that remain, in order."""
        found = _concatenate(self.parts)
        n_keep = min(self.n_keep, self.count)
        border = _nth_largest(found.value_N, n_keep) if n_keep else 0.0
        if n_keep < self.count:
            found = _subset(found, found.value_N >= border if n_keep else found.value_N < 0)
        flat_N = found.token_N * n_latents + found.latent_N
        found = _subset(found, _ascending(flat_N))
        surplus = int(found.value_N.shape[0]) - n_keep
        if surplus:  # ties at the border: the lower flat index stays
            tied = (found.value_N == border).nonzero().squeeze(1)
            keep_N = torch.ones_like(found.value_N, dtype=torch.bool)
            keep_N[tied[len(tied) - surplus :]] = False
            found = _subset(found, keep_N)
        return Support(
            n_tokens=n_tokens,
            n_latents=n_latents,
            token_N=found.token_N,
            latent_N=found.latent_N,
            code_N=found.code_N,
            smallest=border,
        )


def _scan(
    acts_TC: Tensor,
    encoder_LC: Tensor,
    bias_L: Tensor,
    weight_L: Tensor,
    pool: Pool,
    kernels: StepKernels,
    low_precision: bool,
    chunk_numbers: int,
) -> None:
    n_tokens, n_latents = int(acts_TC.shape[0]), int(encoder_LC.shape[0])
    rows = max(1, min(n_tokens, chunk_numbers // min(n_latents, 256)))
    columns = max(1, min(n_latents, chunk_numbers // max(1, rows)))
    scorer = LowPrecisionScorer(acts_TC, encoder_LC, bias_L) if low_precision else None
    scratch = acts_TC.new_empty(0 if low_precision else rows * columns)
    for token in range(0, max(1, n_tokens), rows):
        acts = acts_TC[token : token + rows]
        for latent in range(0, n_latents, columns):
            span = slice(latent, latent + columns)
            weight_J = weight_L[span]
            if scorer is not None:
                pool.add(scorer.above(token, rows, span, weight_J, pool.bound, kernels))
                continue
            encoder_JC = encoder_LC[span]
            shape = (int(acts.shape[0]), int(encoder_JC.shape[0]))
            pre_TJ = scratch[: shape[0] * shape[1]].view(shape)
            torch.addmm(bias_L[span], acts, encoder_JC.t(), out=pre_TJ)
            pool.add(kernels.above(pre_TJ, weight_J, pool.bound, token=token, latent=latent))


def _concatenate(parts: list[Candidates]) -> Candidates:
    if len(parts) == 1:
        return parts[0]
    return Candidates(
        token_N=torch.cat([p.token_N for p in parts]),
        latent_N=torch.cat([p.latent_N for p in parts]),
        code_N=torch.cat([p.code_N for p in parts]),
        value_N=torch.cat([p.value_N for p in parts]),
    )


def _subset(found: Candidates, which: Tensor) -> Candidates:
    if which.dtype == torch.bool and which.device.type != "cpu":
        which = which.nonzero().squeeze(1)  # one wait for the count instead of four
    return Candidates(
        found.token_N[which], found.latent_N[which], found.code_N[which], found.value_N[which]
    )


def _ascending(flat_N: Tensor) -> Tensor:
    if flat_N.device.type == "cpu":  # numpy's vectorised sort is several times torch's speed
        return torch.from_numpy(np.argsort(flat_N.numpy()))
    return torch.argsort(flat_N)


def _nth_largest(value_N: Tensor, n: int) -> float:
    if value_N.device.type == "cpu":
        place = int(value_N.shape[0]) - n
        return float(np.partition(value_N.numpy(), place)[place])
    return float(torch.topk(value_N, n, sorted=False).values.min())
