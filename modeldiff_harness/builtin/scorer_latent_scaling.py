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
from modeldiff_harness.latents.compiled.threads import over_ranges
from modeldiff_harness.latents.dictionaries.encode import side_by_side, support_of
from modeldiff_harness.latents.kernels import reference as kernels
from modeldiff_harness.stats.blocks import block_jackknife_ratio

__all__ = ["LatentScaling", "create"]

Doubles = NDArray[np.float64]

_TOKENS_A_RANGE = 128
"""Tokens a thread works on at a time."""
_LATENTS_AT_ONCE = 1024
"""Decoder rows that are widened to float64 at a time."""


def create() -> LatentScaling:
    """Return the scorer."""
    return LatentScaling()


@dataclass(frozen=True)
class _Sums:
    """Running float64 sums by block (B) and latent (L); P and Q by pair (own, target) too."""

    tokens_B: NDArray[np.int64]
    s1_BL: Doubles
    s2_BL: Doubles
    p_BLP: Doubles
    q_BLP: Doubles

    @classmethod
    def zeros(cls, n_blocks: int, n_latents: int, n_pairs: int) -> _Sums:
        shape = (n_blocks, n_latents)
        return cls(
            tokens_B=np.zeros(n_blocks, dtype=np.int64),
            s1_BL=np.zeros(shape),
            s2_BL=np.zeros(shape),
            p_BLP=np.zeros((*shape, n_pairs)),
            q_BLP=np.zeros((*shape, n_pairs)),
        )

    def add(self, other: _Sums) -> None:
        for own, theirs in zip(vars(self).values(), vars(other).values(), strict=True):
            own += theirs


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
        start = dict(zip(widths, np.cumsum([0, *widths.values()]).tolist(), strict=False))
        self._columns = tuple(
            np.array(column, dtype=np.int64)
            for column in zip(
                *((start[own], start[target], widths[own]) for own, target in self._pairs),
                strict=True,
            )
        )
        """First column of the direction and of the target, and the width, of every pair."""
        self._static: dict[tuple[str, str], tuple[Doubles, Doubles]] = {}
        self._directions_LC: Tensor | None = None
        self._sums: _Sums | None = None

    def update(self, context: ScoreContext) -> None:
        """Add one batch."""
        from modeldiff_harness.latents.compiled import score_loops as loops

        sums = self._sums
        if sums is None:
            sums = _Sums.zeros(context.n_blocks, self._dictionary.n_latents, len(self._pairs))
            self._sums = sums
        block_T = context.block_T.cpu().numpy()
        sums.tokens_B[:] += np.bincount(block_T, minlength=context.n_blocks)
        codes = context.codes
        loops.add_products(
            codes.token_N.cpu().numpy(),
            codes.latent_N.cpu().numpy(),
            codes.code_N.cpu().numpy(),
            block_T,
            *self._products(context),
            sums.s1_BL,
            sums.s2_BL,
            sums.p_BLP,
            sums.q_BLP,
        )

    def merge(self, other: LatentScaling) -> None:
        """Add the sums of another pass over other tokens."""
        if other._sums is None:
            return
        if self._sums is None:
            n_blocks = other._sums.tokens_B.shape[0]
            self._sums = _Sums.zeros(n_blocks, self._dictionary.n_latents, len(self._pairs))
        self._sums.add(other._sums)

    def finish(self) -> Sequence[ScoreColumn]:
        """Return the columns.

        A ratio is undefined where its denominator is not positive in total or with any one block
        left out (a latent that fires in one block only); V = 0 makes all of them so.
        """
        sums = self._sums
        if sums is None:  # a pass over no token
            sums = _Sums.zeros(2, self._dictionary.n_latents, len(self._pairs))
        used = sums.tokens_B > 0
        keep_B = used if int(used.sum()) > 1 else np.ones_like(used)
        tops = {pair: self._numerators(sums, *pair) for pair in self._pairs}
        columns = []
        for (own, target), top in tops.items():
            v_L, _ = self._static_products(own, own)
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

    def _products(self, context: ScoreContext) -> tuple[Doubles, Doubles]:
        """Return ⟨x^t, v⟩ and ⟨x̂^t, v⟩ of every firing and pair, (N, P) each."""
        from modeldiff_harness.latents.compiled import score_loops as loops

        order = [v for views in self._views.values() for v in views]
        acts_TC = side_by_side([context.acts[v] for v in order])
        found_TC = side_by_side([context.reconstructions[v] for v in order])
        if self._directions_LC is None:
            parts = [self._dictionary.decoders[v] for v in order]
            self._directions_LC = torch.from_numpy(np.concatenate(parts, axis=1)).to(acts_TC)
        directions_LC, support = self._directions_LC, support_of(context.codes)
        own_P, target_P, width_P = self._columns
        shape = (int(support.code_N.shape[0]), len(self._pairs))
        left_NP, right_NP = np.empty(shape), np.empty(shape)
        if acts_TC.device.type != "cpu":
            for p, (own, target, width) in enumerate(zip(own_P, target_P, width_P, strict=True)):
                direction_LD = directions_LC[:, own : own + width]
                for x_TC, out_NP in ((acts_TC, left_NP), (found_TC, right_NP)):
                    target_TD = x_TC[:, target : target + width].contiguous()
                    dots_N = kernels.sampled_products(support, target_TD, direction_LD)
                    out_NP[:, p] = dots_N.double().cpu().numpy()
            return left_NP, right_NP
        given = (
            support.token_starts.numpy(),
            support.latent_N.numpy(),
            directions_LC.numpy(),
            acts_TC.numpy(),
            found_TC.numpy(),
            own_P,
            target_P,
            width_P,
        )
        over_ranges(
            support.n_tokens,
            _TOKENS_A_RANGE,
            lambda start, stop: loops.pair_products(*given, start, stop, left_NP, right_NP),
        )
        return left_NP, right_NP

    def _static_products(self, own: str, target: str) -> tuple[Doubles, Doubles]:
        """Return g = ⟨d^target, v⟩ and h = ⟨b^target, v⟩ (L,), float64, a few latents at a time."""
        found = self._static.get((own, target))
        if found is not None:
            return found
        decoders = self._dictionary.decoders
        biases = [self._dictionary.decoder_biases[v] for v in self._views[target]]
        bias_D = np.concatenate(biases).astype(np.float64)
        g_L, h_L = np.empty(self._dictionary.n_latents), np.empty(self._dictionary.n_latents)
        for start in range(0, g_L.shape[0], _LATENTS_AT_ONCE):
            rows = slice(start, start + _LATENTS_AT_ONCE)
            v_JD, d_JD = (
                np.concatenate([decoders[v][rows] for v in self._views[m]], axis=1).astype(
                    np.float64
                )
                for m in (own, target)
            )
            g_L[rows], h_L[rows] = (v_JD * d_JD).sum(axis=1), v_JD @ bias_D
        self._static[own, target] = g_L, h_L
        return g_L, h_L

    def _numerators(self, sums: _Sums, own: str, target: str) -> dict[str, Doubles]:
        """Return Σ f⟨Y, v⟩ by block for the three targets of `target`, each (B, L)."""
        pair = self._pairs.index((own, target))
        p_BL, q_BL = sums.p_BLP[:, :, pair], sums.q_BLP[:, :, pair]
        g_L, h_L = self._static_products(own, target)
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
