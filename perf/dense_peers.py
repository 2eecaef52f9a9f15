"""The dense autograd step that public crosscoder trainers take, as shipped and made faster."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import Tensor, nn

ALPHA = 1 / 32


class DenseStep:
    """Forward, backward, clip, Adam of a BatchTopK crosscoder with dense T×L codes.

    As shipped: einsums over (model, width) axes, top-k over the flattened batch, `torch.optim.Adam`
    with its defaults.  `flat` joins the models' columns into one matrix product; `fused` uses
    Adam's fused loop; `autocast` runs the products in bfloat16.
    """

    def __init__(
        self,
        encoder_MDL: Tensor,
        decoder_LMD: Tensor,
        *,
        flat: bool = False,
        fused: bool = False,
        autocast: bool = False,
        learning_rate: float = 1e-3,
        clip_norm: float = 1.0,
    ) -> None:
        models, width, latents = encoder_MDL.shape
        self.flat, self.autocast, self.clip_norm = flat, autocast, clip_norm
        self.encoder = nn.Parameter(encoder_MDL.clone())
        self.decoder = nn.Parameter(decoder_LMD.clone())
        self.encoder_bias = nn.Parameter(self.encoder.new_zeros(latents))
        self.decoder_bias = nn.Parameter(self.encoder.new_zeros(models, width))
        self._best = torch.empty(0, dtype=torch.int64)
        self.parameters = [self.encoder, self.encoder_bias, self.decoder, self.decoder_bias]
        self.optimiser = torch.optim.Adam(
            self.parameters, lr=learning_rate, **({"fused": True} if fused else {})
        )

    def loss(
        self, acts_TMD: Tensor, n_keep: int, dead: Tensor | None = None, aux_k: int = 0
    ) -> Tensor:
        """Return Σ_m mean (x − x̂)² + α·aux."""
        with torch.autocast(self.encoder.device.type, torch.bfloat16, enabled=self.autocast):
            hidden = self._encode(acts_TMD)
            with torch.no_grad():
                weight = self.decoder.norm(dim=2).sum(dim=1)
            code = torch.relu(hidden)
            score = (code * weight).flatten()
            best = score.topk(n_keep, sorted=False)
            self._best = best.indices
            mask = torch.zeros_like(score).scatter_(0, best.indices, 1.0).view_as(code)
            decoded = self._decode(code * mask) + self.decoder_bias
        error = acts_TMD - decoded.float()
        loss = error.square().mean(dim=(0, 2)).sum()
        if dead is not None:
            loss = loss + ALPHA * self._aux(hidden, error.detach(), dead, aux_k)
        return loss

    def step(
        self, acts_TMD: Tensor, n_keep: int, dead: Tensor | None = None, aux_k: int = 0
    ) -> float:
        loss = self.loss(acts_TMD, n_keep, dead, aux_k)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        self.optimiser.step()
        return float(loss.detach())

    @property
    def fired(self) -> Tensor:
        """Latents selected in the last step, with repetitions."""
        return self._best % self.encoder.shape[2]

    def _encode(self, acts_TMD: Tensor) -> Tensor:
        if self.flat:
            encoder = self.encoder.flatten(0, 1)
            return torch.addmm(self.encoder_bias, acts_TMD.flatten(1), encoder)
        return torch.einsum("tmd,mdl->tl", acts_TMD, self.encoder) + self.encoder_bias

    def _decode(self, code_TL: Tensor) -> Tensor:
        if self.flat:
            flat = code_TL @ self.decoder.flatten(1)
            return flat.view(-1, *self.decoder.shape[1:])
        return torch.einsum("tl,lmd->tmd", code_TL, self.decoder)

    def _aux(self, hidden: Tensor, residual: Tensor, dead: Tensor, aux_k: int) -> Tensor:
        """Dead latents reconstruct the residual: a second dense decode, as public trainers do."""
        with torch.autocast(self.encoder.device.type, torch.bfloat16, enabled=self.autocast):
            masked = torch.where(dead[None], hidden, -torch.inf)
            best = masked.topk(aux_k, dim=1, sorted=False)
            code = torch.zeros_like(hidden).scatter_(1, best.indices, torch.relu(best.values))
            decoded = self._decode(code)
        miss = (decoded.float() - residual).square().mean(dim=(0, 2)).sum()
        return miss / residual.var(dim=0, correction=0).mean(dim=1).sum()


def sparsify_step(acts_TC: Tensor, n_latents: int, k: int) -> Callable[[], float] | None:
    """Return a training step of eai-sparsify's SparseCoder on the joined columns; None without it.

    It keeps the top k of every token instead of k·B of the batch and has unit-norm decoders: work
    of about the same size, another algorithm.
    """
    os.environ.setdefault("SPARSIFY_DISABLE_TRITON", "1")  # its decoder for CPUs
    try:
        from sparsify import SparseCoder
        from sparsify.config import SparseCoderConfig
    except ImportError:
        return None
    coder = SparseCoder(
        int(acts_TC.shape[1]), SparseCoderConfig(num_latents=n_latents, k=k), dtype=torch.float32
    )
    optimiser = torch.optim.Adam(coder.parameters(), lr=1e-3, fused=True)

    def step() -> float:
        found = coder(acts_TC)
        optimiser.zero_grad()
        found.fvu.backward()
        nn.utils.clip_grad_norm_(coder.parameters(), 1.0)
        optimiser.step()
        return float(found.fvu.detach())

    return step
