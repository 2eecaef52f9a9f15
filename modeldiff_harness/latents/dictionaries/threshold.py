"""The inference threshold θ: one number on f·w under which the mean L0 is k (arXiv 2412.06410)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from modeldiff_harness.latents.dictionaries.encode import InferenceWeights, encode, pre_activations

__all__ = ["calibrate_threshold", "mean_active"]


def calibrate_threshold(
    weights: InferenceWeights, batches: Iterable[Sequence[Tensor]], *, k: int, n_tokens: int
) -> float:
    """Return θ such that k of f·w a token exceed it on average over the tokens of `batches`.

    `n_tokens` is at least their number: a live stream leaves outliers out as it finds them.
    θ lies midway between the k·T-th and the next largest activation of all T tokens together; 0
    when no more than k·T are positive.  Weights and batches should be float64.  At most about
    k·T + T_batch·L numbers are held.
    """
    most, seen = k * n_tokens, 0
    pool_N = torch.zeros(0, dtype=torch.float64)
    border = 0.0
    for acts in batches:
        activation_TL = pre_activations(weights, acts).clamp_min_(0) * weights.weight_L
        fresh_N = activation_TL[activation_TL > border].to("cpu", torch.float64)
        pool_N = torch.cat([pool_N, fresh_N])
        seen += int(acts[0].shape[0])
        if pool_N.shape[0] > 2 * most:
            pool_N = torch.topk(pool_N, most + 1, sorted=False).values
            border = float(pool_N.min())
    wanted = k * seen
    if pool_N.shape[0] <= wanted:
        return 0.0
    top_N = torch.topk(pool_N, wanted + 1).values
    return float((top_N[wanted - 1] + top_N[wanted]) / 2)


def mean_active(weights: InferenceWeights, batches: Iterable[Sequence[Tensor]]) -> float:
    """Return the mean L0 under θ over the tokens of `batches`; 0 without a token."""
    n_active, seen = 0, 0
    for acts in batches:
        codes = encode(weights, acts)
        n_active += int(codes.code_N.shape[0])
        seen += codes.n_tokens
    return n_active / max(seen, 1)
