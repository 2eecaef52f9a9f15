"""The named rules of `classify`: where each takes its thresholds from.

A rule only makes thresholds; `classify` applies them, so no rule can rescan or see roles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.latents.classify.pairwise import OrderedPair, PairwiseScores

__all__ = [
    "DEFAULT_RULES",
    "AboveNullRule",
    "CalibratedRule",
    "ClassifyRule",
    "PublishedRule",
    "RuleThresholds",
    "SkippedRule",
    "centre_and_width",
]

Doubles = NDArray[np.float64]

FEWEST_FOR_QUANTILE = 40
"""Latents below which a 2.5 % quantile is not one latent's value."""


@dataclass(frozen=True)
class RuleThresholds:
    """Thresholds by ordered pair (own, other).

    A latent is specific to `own` when against every other model its dominance is above
    `dominance` and both its ν are below `nu_eps` and `nu_r`; it is shared when its dominance lies
    within `shared` (ends included) for every pair.
    """

    dominance: Mapping[OrderedPair, float]
    nu_eps: Mapping[OrderedPair, float]
    nu_r: Mapping[OrderedPair, float]
    shared: Mapping[OrderedPair, tuple[float, float]]


@dataclass(frozen=True)
class SkippedRule:
    """A rule that could not make thresholds, and why."""

    reason: str


class ClassifyRule(Protocol):
    """A named way to find thresholds."""

    @property
    def name(self) -> str:
        """Name of the rule in reports."""
        ...

    def thresholds(
        self, run: PairwiseScores, null: PairwiseScores | None
    ) -> RuleThresholds | SkippedRule:
        """Return thresholds for `run`; `null` is a null run whose models carry `run`'s names."""
        ...


@dataclass(frozen=True)
class PublishedRule:
    """Fixed thresholds of Minder et al. 2025: Δnorm > 0.9, ν_ε < 0.2, ν_r < 0.5, shared 0.4–0.6."""

    dominance_above: float = 0.9
    nu_eps_below: float = 0.2
    nu_r_below: float = 0.5
    shared_half_width: float = 0.1
    name: str = "published"

    def thresholds(
        self, run: PairwiseScores, null: PairwiseScores | None
    ) -> RuleThresholds | SkippedRule:
        """Return the same thresholds for every pair."""
        band = (0.5 - self.shared_half_width, 0.5 + self.shared_half_width)
        return RuleThresholds(
            dominance=dict.fromkeys(run.pairs, self.dominance_above),
            nu_eps=dict.fromkeys(run.pairs, self.nu_eps_below),
            nu_r=dict.fromkeys(run.pairs, self.nu_r_below),
            shared=dict.fromkeys(run.pairs, band),
        )


@dataclass(frozen=True)
class CalibratedRule:
    """Thresholds from the run's own shared latents.

    Over the eligible latents, the shared mode c of the dominance is the median of the shortest
    half (the shorth) and its width s is 1.4826 × the median absolute distance from c; margin =
    max(n_widths·s, min_margin).  Shared: within c ± margin.  Specific to own: dominance above
    c + margin, and ν_ε and ν_r both below the `quantile` of the shared latents' own ν in that
    direction.  Skipped with fewer than 40 shared latents, where that quantile means nothing.

    A run without any difference still has latents beyond 3 widths in its tails; only the ν
    quantiles (2.5 % each) hold it down.  It is a sharper look than `published`, not a test:
    `above_null` is.
    """

    n_widths: float = 3.0
    min_margin: float = 0.05
    quantile: float = 0.025
    name: str = "calibrated"

    def thresholds(
        self, run: PairwiseScores, null: PairwiseScores | None
    ) -> RuleThresholds | SkippedRule:
        """Return thresholds from the shared latents of `run`."""
        if not run.eligible_L.any():
            return SkippedRule("no latent has enough active tokens and documents")
        dominance: dict[OrderedPair, float] = {}
        shared: dict[OrderedPair, tuple[float, float]] = {}
        is_shared_L = run.eligible_L.copy()
        for pair in run.pairs:
            centre, width = centre_and_width(run.dominance[pair][run.eligible_L])
            margin = max(self.n_widths * width, self.min_margin)
            dominance[pair] = centre + margin
            shared[pair] = (centre - margin, centre + margin)
            is_shared_L &= np.abs(run.dominance[pair] - centre) <= margin
        limits = _nu_quantiles(run, is_shared_L, self.quantile)
        if isinstance(limits, SkippedRule):
            return limits
        return RuleThresholds(dominance, limits[0], limits[1], shared)


@dataclass(frozen=True)
class AboveNullRule:
    """Thresholds from a null run of identical settings, side by side.

    Dominance must exceed the run's own mode by more than the LARGEST excess over its mode that
    any eligible latent of the null run shows on the same side, and by `min_margin` at least (so
    that a null which hardly differs does not make a finding of every rounding); both ν must lie
    below the null run's `quantile` in the same direction.  The extreme is taken of Δnorm because
    that is bounded; ν is a ratio with heavy tails, so its minimum over thousands of latents would
    be one latent's noise and could hide everything, and a low quantile is used instead.  Modes are
    subtracted because two trainings place the shared mode a little differently.

    If the run is itself a null, its latents and the null's are exchangeable, so that at most about
    one latent a side is expected beyond the null's maximum even before ν is asked: a single
    flagged latent is no finding.  Shared: inside the null's range.  Skipped without a null run,
    or when fewer than 40 of its latents are eligible.
    """

    quantile: float = 0.025
    min_margin: float = 0.05
    name: str = "above_null"

    def thresholds(
        self, run: PairwiseScores, null: PairwiseScores | None
    ) -> RuleThresholds | SkippedRule:
        """Return thresholds from the extremes of `null`."""
        if null is None:
            return SkippedRule("no null run: none of the pair has a null twin, or it was left out")
        if not run.eligible_L.any():
            return SkippedRule("no latent has enough active tokens and documents")
        limits = _nu_quantiles(null, null.eligible_L, self.quantile)
        if isinstance(limits, SkippedRule):
            return SkippedRule(f"null run: {limits.reason}")
        dominance: dict[OrderedPair, float] = {}
        for pair in run.pairs:
            null_values = null.dominance[pair][null.eligible_L]
            null_centre, _ = centre_and_width(null_values)
            centre, _ = centre_and_width(run.dominance[pair][run.eligible_L])
            excess = float(null_values.max()) - null_centre
            dominance[pair] = centre + max(excess, self.min_margin)
        shared = {
            (own, other): (1.0 - dominance[other, own], dominance[own, other])
            for own, other in run.pairs
        }
        return RuleThresholds(dominance, limits[0], limits[1], shared)


DEFAULT_RULES: tuple[ClassifyRule, ...] = (PublishedRule(), CalibratedRule(), AboveNullRule())
"""The rules that a run applies side by side."""


def centre_and_width(values: Doubles) -> tuple[float, float]:
    """Return (mode, robust standard deviation) of a bulk with outliers.

    Mode: median of the shorth, the shortest interval that holds half of the values (Andrews et
    al. 1972), at its mirror-symmetric place.  Width: 1.4826 × the median distance from it.
    """
    ordered = np.sort(values)
    n_half = len(ordered) // 2 + 1
    lengths = ordered[n_half - 1 :] - ordered[: len(ordered) - n_half + 1]
    # Several shortest halves (ties, rounding): their average place, so that mirroring the values
    # mirrors the mode.
    starts = np.flatnonzero(lengths <= lengths.min() + 1e-12)
    centre = float(np.mean([np.median(ordered[s : s + n_half]) for s in (starts[0], starts[-1])]))
    return centre, float(1.4826 * np.median(np.abs(values - centre)))


def _nu_quantiles(
    scores: PairwiseScores, among_L: NDArray[np.bool_], quantile: float
) -> tuple[dict[OrderedPair, float], dict[OrderedPair, float]] | SkippedRule:
    nu_eps: dict[OrderedPair, float] = {}
    nu_r: dict[OrderedPair, float] = {}
    for pair in scores.pairs:
        used_L = among_L & scores.nu_defined[pair]
        n_used = int(used_L.sum())
        if n_used < FEWEST_FOR_QUANTILE:
            return SkippedRule(
                f"only {n_used} shared latents have a defined ν; {FEWEST_FOR_QUANTILE} are needed "
                f"for the {100 * quantile:g} % quantile"
            )
        nu_eps[pair] = float(np.quantile(scores.nu_eps[pair][used_L], quantile))
        nu_r[pair] = float(np.quantile(scores.nu_r[pair][used_L], quantile))
    return nu_eps, nu_r
