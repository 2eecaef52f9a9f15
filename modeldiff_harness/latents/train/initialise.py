"""First weights of a crosscoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modeldiff_harness.latents.kernels import Parameters

__all__ = ["geometric_median", "initial_parameters"]


def initial_parameters(
    widths: Sequence[int],
    n_latents: int,
    first_batch: Sequence[Tensor],
    *,
    seed: Sequence[int],
    norm: float = 1.0,
) -> Parameters:
    """Return the starting point: models alike, decoder tied, bias at the data's centre.

    One Kaiming-uniform draw serves every view of a width, each latent scaled to `norm`; the
    decoder starts as the encoder's transpose; biases are 0 but for the decoder's, which is the
    geometric median of `first_batch` (one (T, D_v) tensor a view).  Dtype and device are the
    batch's.
    """
    like = first_batch[0]
    draws = {width: _unit_draw(width, n_latents, seed) * norm for width in set(widths)}
    encoder_LC = torch.cat([draws[width] for width in widths], dim=1).to(like)
    bias_C = torch.cat([geometric_median(acts_TD) for acts_TD in first_batch]).to(like)
    return Parameters(
        encoder_LC=encoder_LC,
        encoder_bias_L=torch.zeros(n_latents, dtype=like.dtype, device=like.device),
        decoder_LC=encoder_LC.clone(),
        decoder_bias_C=bias_C,
    )


def geometric_median(
    points_TD: Tensor, *, tolerance: float = 1e-8, most_steps: int = 200
) -> Tensor:
    """Return the point of least summed distance to `points_TD`, (D,) float64 (Weiszfeld 1937).

    Stops when a step is shorter than `tolerance` times the points' mean distance.
    """
    points_TD = points_TD.detach().to("cpu", torch.float64)
    centre_D = points_TD.mean(dim=0)
    for _ in range(most_steps):
        distance_T = torch.linalg.vector_norm(points_TD - centre_D, dim=1)
        scale = float(distance_T.mean())
        if scale == 0.0:
            return centre_D
        # a point under the centre would have infinite weight; it gets a very large one
        pull_T = 1.0 / distance_T.clamp_min(1e-12 * scale)
        moved_D = (points_TD * pull_T[:, None]).sum(dim=0) / pull_T.sum()
        step = float(torch.linalg.vector_norm(moved_D - centre_D))
        centre_D = moved_D
        if step <= tolerance * scale:
            break
    return centre_D


def _unit_draw(width: int, n_latents: int, seed: Sequence[int]) -> Tensor:
    """Return (L, D) rows of norm 1, a Kaiming-uniform draw that depends on seed and width only."""
    mixed = sum(int(part) << (16 * i) for i, part in enumerate((*seed, width)))
    generator = torch.Generator().manual_seed(mixed % (2**63 - 1))
    draw_LD = torch.empty(n_latents, width, dtype=torch.float64)
    torch.nn.init.kaiming_uniform_(draw_LD, generator=generator)
    norm_L1: Tensor = torch.linalg.vector_norm(draw_LD, dim=1, keepdim=True)
    return draw_LD / norm_L1
