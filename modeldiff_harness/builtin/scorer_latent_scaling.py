"""Latent scorer `latent_scaling`: how much of a latent each model needs (arXiv 2504.02922).

Minder et al. (2025) ask, for a latent of model `own` with direction v = d^own, which factor β of
f·v best explains a target in each model: β = Σ f⟨Y, v⟩ / (‖v‖² Σ f²), no intercept.  Targets of
model t: the error with the latent's own share added back (err), the reconstruction without
bias (rec), the activation (act).  One pass of running float64 sums over active tokens is enough
for every latent, direction and target:

    S1 = Σf, S2 = Σf², P = Σf⟨x^t, v⟩, Q = Σf⟨x̂^t, v⟩;  V = ‖v‖², g = ⟨d^t, v⟩, h = ⟨b^t, v⟩
    β_act = P/(S2·V)    β_rec = (Q − S1·h)/(S2·V)    β_err = (P − Q)/(S2·V) + g/V

With its bias the reconstruction's β is Q/(S2·V), and β_act = β_err + Q/(S2·V) − g/V.  Sums are
kept by block of prompts: each ratio is one of sums, with a delete-one-block jackknife interval.

Columns, for every ordered pair of models of one width:
    nu_eps[own=m,other=o]     β_err^o / β_err^m   high: o needs it too (Complete Shrinkage)
    nu_r[own=m,other=o]       β_rec^o / β_rec^m   high: o has it elsewhere (Latent Decoupling)
    beta_own[own=m,other=o]   β_err^m; its lower bound guards the ratios
and for every pair of own and target t (own itself included):
    beta_err[own=m,target=t], beta_rec[own=m,target=t], beta_act[own=m,target=t]
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modeldiff_harness.artifacts import ScoreColumn, TokenisedCorpus, TrainedDictionary
from modeldiff_harness.contracts import ScoreContext
from modeldiff_harness.latents.encode import support_of
from modeldiff_harness.latents.kernels import reference as kernels
from modeldiff_harness.stats.blocks import block_jackknife_ratio

__all__ = ["LatentScaling", "create"]

Doubles = NDArray[np.float64]


def create() -> LatentScaling:
    """Return the scorer."""
    return LatentScaling()


@dataclass(frozen=True)
class _Sums:
    """Running float64 sums by block (B) and latent (L); P and Q by (own, target)."""

    tokens_B: NDArray[np.int64]
    s1_BL: Doubles
    s2_BL: Doubles
    p: dict[tuple[str, str], Doubles]
    q: dict[tuple[str, str], Doubles]

    @classmethod
    def zeros(cls, n_blocks: int, n_latents: int, pairs: Sequence[tuple[str, str]]) -> _Sums:
        shape = (n_blocks, n_latents)
        return cls(
            tokens_B=np.zeros(n_blocks, dtype=np.int64),
            s1_BL=np.zeros(shape),
            s2_BL=np.zeros(shape),
            p={pair: np.zeros(shape) for pair in pairs},
            q={pair: np.zeros(shape) for pair in pairs},
        )

    def add(self, other: _Sums) -> None:
        self.tokens_B[:] += other.tokens_B
        self.s1_BL[:] += other.s1_BL
        self.s2_BL[:] += other.s2_BL
        for pair in self.p:
            self.p[pair][:] += other.p[pair]
            self.q[pair][:] += other.q[pair]


class LatentScaling:
    """Running sums for all latents, both directions and all targets at once."""

    splits: Sequence[str] = ("score",)

    def start(self, dictionary: TrainedDictionary, corpus: TokenisedCorpus) -> None:
        """Remember the decoders; the sums are allocated with the first batch."""
        self._dictionary = dictionary
        self._views = {
            model: [v for v, view in enumerate(dictionary.views) if view.model == model]
            for model in dictionary.models
        }
        widths = {m: sum(dictionary.views[v].width for v in vs) for m, vs in self._views.items()}
        self._pairs = [
            (own, target)
            for own, target in itertools.product(dictionary.models, repeat=2)
            if widths[own] == widths[target]
        ]
        self._directions: dict[str, Tensor] = {}
        self._sums: _Sums | None = None

    def update(self, context: ScoreContext) -> None:
        """Add one batch."""
        sums = self._sums
        if sums is None:
            sums = _Sums.zeros(context.n_blocks, self._dictionary.n_latents, self._pairs)
            self._sums = sums
        if not self._directions:
            self._directions = self._tensors(context.acts[0])
        support = support_of(context.codes)
        code_N = support.code_N.double().cpu().numpy()
        block_T = context.block_T.cpu().numpy()
        block_N = block_T[support.token_N.cpu().numpy()]
        cell_N = block_N * support.n_latents + support.latent_N.cpu().numpy()

        def add(total_BL: Doubles, values_N: Doubles) -> None:
            counted = np.bincount(cell_N, values_N, minlength=total_BL.size)
            total_BL[:] += counted.reshape(total_BL.shape)

        sums.tokens_B[:] += np.bincount(block_T, minlength=context.n_blocks)
        add(sums.s1_BL, code_N)
        add(sums.s2_BL, code_N**2)
        for own, target in self._pairs:
            for parts, totals in ((context.acts, sums.p), (context.reconstructions, sums.q)):
                target_TD = _joined([parts[v] for v in self._views[target]])
                dots_N = kernels.sampled_products(support, target_TD, self._directions[own])
                add(totals[own, target], code_N * dots_N.double().cpu().numpy())

    def merge(self, other: LatentScaling) -> None:
        """Add the sums of another pass over other tokens."""
        if other._sums is None:
            return
        if self._sums is None:
            n_blocks = other._sums.tokens_B.shape[0]
            self._sums = _Sums.zeros(n_blocks, self._dictionary.n_latents, self._pairs)
        self._sums.add(other._sums)

    def finish(self) -> Sequence[ScoreColumn]:
        """Return the columns.

        A ratio is undefined where its denominator is not positive in total or with any one block
        left out (a latent that fires in one block only); V = 0 makes all of them so.
        """
        sums = self._sums
        if sums is None:
            raise RuntimeError("latent_scaling: finish() was called before any batch.")
        used = sums.tokens_B > 0
        keep_B = used if int(used.sum()) > 1 else np.ones_like(used)
        tops = {pair: self._numerators(sums, *pair) for pair in self._pairs}
        columns = []
        for (own, target), top in tops.items():
            v_L = np.square(self._decoder(own)).sum(axis=1)
            bottom_BL = (sums.s2_BL * v_L)[keep_B]
            where = f"own={own},target={target}"
            for kind, meaning in _BETAS.items():
                columns.append(
                    _ratio(f"beta_{kind}[{where}]", meaning, top[kind][keep_B], bottom_BL)
                )
            if own == target:
                continue
            where, own_top = f"own={own},other={target}", tops[own, own]
            for kind, name, meaning in _RATIOS:
                columns.append(
                    _ratio(f"{name}[{where}]", meaning, top[kind][keep_B], own_top[kind][keep_B])
                )
            columns.append(
                _ratio(f"beta_own[{where}]", _BETAS["err"], own_top["err"][keep_B], bottom_BL)
            )
        return columns

    def _tensors(self, like: Tensor) -> dict[str, Tensor]:
        return {
            own: torch.tensor(self._decoder(own), dtype=like.dtype, device=like.device)
            for own in self._views
        }

    def _decoder(self, model: str) -> Doubles:
        """Return a model's decoder rows over all its sites, (L, D) float64."""
        parts = [self._dictionary.decoders[v] for v in self._views[model]]
        return np.concatenate(parts, axis=1).astype(np.float64)

    def _numerators(self, sums: _Sums, own: str, target: str) -> dict[str, Doubles]:
        """Return Σ f⟨Y, v⟩ by block for the three targets of `target`, each (B, L)."""
        v_LD, p_BL, q_BL = self._decoder(own), sums.p[own, target], sums.q[own, target]
        biases = [self._dictionary.decoder_biases[v] for v in self._views[target]]
        g_L = (self._decoder(target) * v_LD).sum(axis=1)
        h_L = v_LD @ np.concatenate(biases).astype(np.float64)
        return {
            "err": p_BL - q_BL + sums.s2_BL * g_L,
            "rec": q_BL - sums.s1_BL * h_L,
            "act": p_BL,
        }


_BETAS = {
    "err": "Scale that best explains the model's error, the latent's own share added back.",
    "rec": "Scale that best explains the model's reconstruction, bias left out.",
    "act": "Scale that best explains the model's activation.",
}
_RATIOS = (
    ("err", "nu_eps", "β_err of the other model over the own one's; high: Complete Shrinkage."),
    ("rec", "nu_r", "β_rec of the other model over the own one's; high: Latent Decoupling."),
)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)


def _ratio(name: str, meaning: str, top_BL: Doubles, bottom_BL: Doubles) -> ScoreColumn:
    ratio = block_jackknife_ratio(top_BL, bottom_BL)
    defined = ratio.has_estimate_L & ratio.has_interval_L
    return ScoreColumn(
        name=name,
        unit="ratio",
        meaning=meaning,
        values_L=np.where(defined, ratio.estimate_L, 0.0),
        defined_L=defined,
        lower_L=np.where(defined, ratio.lower_L, 0.0),
        upper_L=np.where(defined, ratio.upper_L, 0.0),
    )
