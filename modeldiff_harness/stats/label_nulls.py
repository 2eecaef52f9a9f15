"""What category counts of latents would look like if owners did not matter, and a calm display."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import Floats, as_finite_vector, check_confidence


@dataclass(frozen=True, eq=False)
class LabelPermutation:
    """Share differences when owner labels are shuffled over latents; descriptive only.

    Latents cluster and come from two dictionaries, so they are not exchangeable.
    """

    difference_K: Floats
    """Observed share of candidate - share of baseline per category."""
    lower_K: Floats
    """Lower end of the central band under shuffled labels."""
    upper_K: Floats
    """Upper end of that band."""
    p_K: Floats
    """Share of shuffles with a difference at least as large, two-sided."""
    p_largest: float
    """The same for the largest absolute difference over categories."""


@dataclass(frozen=True, eq=False)
class ShrunkenShares:
    """Posterior shares under a Dirichlet prior centred on the pooled shares; a display."""

    share_MK: Floats
    """Posterior mean shares; row 0 baseline, row 1 candidate."""
    lower_MK: Floats
    """Lower end of the marginal (beta) intervals."""
    upper_MK: Floats
    """Upper end of the marginal intervals."""
    difference_K: Floats
    """Posterior mean of the candidate's share - the baseline's."""
    difference_lower_K: Floats
    """Lower end of its interval, by seeded draws."""
    difference_upper_K: Floats
    """Upper end of its interval."""


def permute_owner_labels(
    counts_baseline: npt.ArrayLike,
    counts_candidate: npt.ArrayLike,
    confidence: float = 0.95,
    n_permutations: int = 9_999,
    seed: int = 0,
) -> LabelPermutation:
    """Shuffle which model owns each latent, keeping categories and both totals.

    `counts_*`: (K,) latents per category. Raises `UsageError` for shapes that differ, negative
    counts or a model without latents.
    """
    check_confidence(confidence)
    base, cand = _counts(counts_baseline, counts_candidate)
    pooled = base + cand
    n_base, n_cand = int(base.sum()), int(cand.sum())
    rng = np.random.default_rng(seed)
    drawn = rng.multivariate_hypergeometric(pooled, n_cand, size=n_permutations, method="marginals")
    null_RK = drawn / n_cand - (pooled - drawn) / n_base
    observed = cand / n_cand - base / n_base
    tail = (1.0 - confidence) / 2.0
    lower, upper = np.quantile(null_RK, [tail, 1.0 - tail], axis=0)
    reach = np.abs(observed) - 1e-12
    hits = (np.abs(null_RK) >= reach).sum(axis=0)
    largest = int((np.abs(null_RK).max(axis=1) >= reach.max()).sum())
    return LabelPermutation(
        observed,
        lower,
        upper,
        (1.0 + hits) / (1.0 + n_permutations),
        (1.0 + largest) / (1.0 + n_permutations),
    )


def shrunken_shares(
    counts_baseline: npt.ArrayLike,
    counts_candidate: npt.ArrayLike,
    prior_strength: float = 10.0,
    confidence: float = 0.95,
    n_draws: int = 4_000,
    seed: int = 0,
) -> ShrunkenShares:
    """Shares with a Dirichlet prior of `prior_strength` pseudo-latents at the pooled shares.

    Half a count is added to each pooled category so that an empty one keeps a width. Raises
    `UsageError` as `permute_owner_labels` does, and for a strength that is not positive.
    """
    check_confidence(confidence)
    if prior_strength <= 0:
        raise UsageError(f"prior_strength is {prior_strength}; give a positive number of latents")
    base, cand = _counts(counts_baseline, counts_candidate)
    pooled = base + cand + 0.5
    alpha_MK = np.stack([base, cand]) + prior_strength * pooled / pooled.sum()
    rest_MK = alpha_MK.sum(axis=1, keepdims=True) - alpha_MK
    share_MK = alpha_MK / (alpha_MK + rest_MK)
    tail = (1.0 - confidence) / 2.0
    rng = np.random.default_rng(seed)
    drawn = rng.dirichlet(alpha_MK[1], n_draws) - rng.dirichlet(alpha_MK[0], n_draws)
    lower, upper = np.quantile(drawn, [tail, 1.0 - tail], axis=0)
    return ShrunkenShares(
        share_MK,
        np.asarray(betaincinv(alpha_MK, rest_MK, tail)),
        np.asarray(betaincinv(alpha_MK, rest_MK, 1.0 - tail)),
        share_MK[1] - share_MK[0],
        lower,
        upper,
    )


def sign_stability(differences_SK: Sequence[Sequence[float]] | Floats) -> Floats:
    """Share of seeds (S) that agree with the majority sign of each category (K,).

    Zero differences agree with nobody. Raises `UsageError` for fewer than 3 seeds.
    """
    differences = np.asarray(differences_SK, dtype=np.float64)
    if differences.ndim != 2 or len(differences) < 3:
        raise UsageError("sign stability needs at least 3 seeds, as rows of one matrix")
    up, down = (differences > 0).mean(axis=0), (differences < 0).mean(axis=0)
    return np.asarray(np.maximum(up, down), dtype=np.float64)


def _counts(
    counts_baseline: npt.ArrayLike, counts_candidate: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    base = as_finite_vector(counts_baseline, "counts_baseline")
    cand = as_finite_vector(counts_candidate, "counts_candidate")
    if base.shape != cand.shape:
        raise UsageError(f"{len(base)} baseline and {len(cand)} candidate categories")
    if (base < 0).any() or (cand < 0).any() or base.sum() < 1 or cand.sum() < 1:
        raise UsageError("category counts must not be negative and each model needs a latent")
    return base.astype(np.int64), cand.astype(np.int64)
