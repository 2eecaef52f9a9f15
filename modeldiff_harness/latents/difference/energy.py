"""Relative difference energy: how far the activations moved, where, and in whose words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import (
    SPLITS,
    DifferenceEnergy,
    EnergyRow,
    Estimate,
    TokenisedCorpus,
)
from modeldiff_harness.contracts import ActivationStream, Runtime
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.latents.harvest.prompts import prompt_of_documents, raw_pairs
from modeldiff_harness.stats.blocks import block_jackknife_ratio

__all__ = ["ScaleMatch", "difference_energy", "match_scale"]

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]


def difference_energy(
    stream: ActivationStream,
    pair: tuple[str, str],
    *,
    splits: Sequence[str] = SPLITS,
    runtime: Runtime,
) -> DifferenceEnergy:
    """Measure Σ‖x^c − x^b‖² / Σ‖x^b‖² on raw activations; `pair` is (baseline, candidate).

    Rows: everything; by capability; by author; by both.  Intervals leave out one prompt at a time
    (jackknife, t), cut at 0.  Sums are float64.  A group of fewer than two prompts gets no row.
    The ratio is relative to the baseline: swapping the pair changes the denominator.

    Raises UsageError when the stream does not hold the pair at one site, or fewer than two prompts.
    """
    corpus = stream.corpus
    moved_N, norm_N = np.zeros(corpus.n_documents), np.zeros(corpus.n_documents)
    tokens_N = np.zeros(corpus.n_documents, dtype=np.int64)
    total = sum(stream.n_rows(split) for split in splits)
    title = f"difference energy {pair[0]} | {pair[1]}"
    with runtime.progress.task(title, total, unit="tok") as task:
        for batch in raw_pairs(stream, pair, splits, runtime.batch_tokens):
            n, documents = corpus.n_documents, batch.document_T
            difference_TD = batch.candidate_TD - batch.baseline_TD
            moved_T = np.square(difference_TD).sum(axis=1)
            norm_T = np.square(batch.baseline_TD).sum(axis=1)
            moved_N += np.bincount(documents, weights=moved_T, minlength=n)
            norm_N += np.bincount(documents, weights=norm_T, minlength=n)
            tokens_N += np.bincount(documents, minlength=n)
            task.advance(len(documents))
    sums = _Sums(moved_N, norm_N, tokens_N, prompt_of_documents(corpus)[0])
    overall = sums.row(tokens_N > 0, None, None)
    if overall is None:
        raise UsageError(
            "the difference energy needs at least two prompts with kept tokens.",
            hint="Give the corpus more documents.",
        )
    site = next(view.site for view in stream.views if view.model == pair[0])
    return DifferenceEnergy(site, pair, (overall, *_group_rows(sums, corpus)))


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums by document; `row` turns those of a group into an estimate."""

    moved_N: Doubles
    norm_N: Doubles
    tokens_N: NDArray[np.int64]
    prompt_N: NDArray[np.int64]

    def row(self, chosen_N: Bools, capability: str | None, author: str | None) -> EnergyRow | None:
        chosen_N = chosen_N & (self.tokens_N > 0)
        prompts, place = np.unique(self.prompt_N[chosen_N], return_inverse=True)
        if len(prompts) < 2:
            return None
        moved_P = np.bincount(place, weights=self.moved_N[chosen_N])
        norm_P = np.bincount(place, weights=self.norm_N[chosen_N])
        found = block_jackknife_ratio(moved_P, norm_P)
        if not found.has_interval_L[0]:
            return None  # the baseline's activations are zero there: no ratio exists
        estimate, se = float(found.estimate_L[0]), float(found.se_L[0])
        lower, upper = max(0.0, float(found.lower_L[0])), float(found.upper_L[0])
        return EnergyRow(
            capability,
            author,
            Estimate(
                _steady(estimate),
                _steady(lower),
                _steady(upper),
                _steady(se),
                df=float(found.n_blocks - 1),
                method="t",
            ),
            n_tokens=int(self.tokens_N[chosen_N].sum()),
            n_prompts=len(prompts),
        )


def _steady(value: float) -> float:
    """Keep ten significant digits: the last bits of sums over mapped rows vary by process."""
    return float(f"{value:.10g}")


def _group_rows(sums: _Sums, corpus: TokenisedCorpus) -> list[EnergyRow]:
    capability_N = np.array([document.capability or "" for document in corpus.documents])
    author_N = np.array([document.author for document in corpus.documents])
    capabilities = [c for c in sorted(set(capability_N.tolist())) if c]
    authors = sorted(set(author_N.tolist()))
    groups: list[tuple[str | None, str | None]] = [(c, None) for c in capabilities]
    groups += [(None, a) for a in authors]
    groups += [(c, a) for c in capabilities for a in authors]
    rows = []
    for capability, author in groups:
        chosen_N = np.ones(corpus.n_documents, dtype=bool)
        if capability is not None:
            chosen_N &= capability_N == capability
        if author is not None:
            chosen_N &= author_N == author
        row = sums.row(chosen_N, capability, author)
        if row is not None:
            rows.append(row)
    return rows


@dataclass(frozen=True)
class ScaleMatch:
    """A factor on the null twin's LoRA scaling, and how near it came to the target energy."""

    scale: float
    relative_energy: float
    target: float
    n_measurements: int
    converged: bool
    """False: no scale within the bounds came within the tolerance; this is the nearest one."""


def match_scale(
    measure: Callable[[float], float],
    target: float,
    *,
    start: float = 1.0,
    tolerance: float = 0.05,
    bounds: tuple[float, float] = (0.1, 10.0),
    most_measurements: int = 6,
) -> ScaleMatch:
    """Find the LoRA factor at which `measure(scale)`, a relative difference energy, meets `target`.

    Energy goes as scale² while the adapter is a small perturbation, so the first step is
    √(target/energy); later steps are secants in log–log.  `tolerance` is relative to the target.
    Each measurement is a harvest: few are made.  If the energy stops rising with the scale (the
    twin is compared with a model that is not its base, or the bounds are hit), the nearest
    measured scale comes back with `converged` False.

    Raises UsageError for a target that is not positive, and RunError when the adapter changes
    nothing at the site.
    """
    if not target > 0:
        raise UsageError(
            f"the difference energy to match is {target:g}.",
            hint="The pair does not differ at this site; there is nothing to compare a null with.",
        )
    tried: list[tuple[float, float]] = []
    log_scale, bottom, top = math.log(start), math.log(bounds[0]), math.log(bounds[1])
    while len(tried) < most_measurements:
        scale = math.exp(log_scale)
        energy = measure(scale)
        if not energy > 0:
            raise RunError(
                f"the null twin's activations do not differ at scale {scale:.3g}.",
                hint="Its adapter changes nothing at this site; choose another site or twin.",
            )
        tried.append((log_scale, math.log(energy / target)))
        if abs(energy / target - 1.0) <= tolerance:
            break
        step = _log_step(tried)
        following = min(max(log_scale + step, bottom), top) if step is not None else log_scale
        if any(abs(following - log) < 1e-6 for log, _ in tried):
            break
        log_scale = following
    best, miss = min(tried, key=lambda point: abs(point[1]))
    converged = abs(math.expm1(miss)) <= tolerance
    return ScaleMatch(math.exp(best), target * math.exp(miss), target, len(tried), converged)


def _log_step(tried: Sequence[tuple[float, float]]) -> float | None:
    """Next step in log scale; None when the energy does not rise with the scale."""
    log_scale, miss = tried[-1]
    if len(tried) == 1:
        return -miss / 2.0
    earlier_scale, earlier_miss = tried[-2]
    slope = (miss - earlier_miss) / (log_scale - earlier_scale)
    if slope <= 0.1:
        return None
    # No step longer than a factor of 4: far from the data a secant is a guess.
    return min(max(-miss / slope, -math.log(4.0)), math.log(4.0))
