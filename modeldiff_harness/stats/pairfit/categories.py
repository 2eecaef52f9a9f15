"""The pair fit by category: shared style effects, an intercept each, and whether they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import fdtrc

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.clusters import clustered_covariance, sum_within
from modeldiff_harness.stats.estimates import (
    Estimate,
    Floats,
    Ints,
    Undetermined,
    two_sided_p,
)
from modeldiff_harness.stats.multiplicity import benjamini_hochberg
from modeldiff_harness.stats.pairfit.fit import (
    FEWEST_DECIDED,
    degrees_of_freedom,
    extra_se_of_few_decided,
    one_sided_raw,
    raw_se_logit,
    widened_estimate,
)
from modeldiff_harness.stats.pairfit.parts import (
    ControlledFit,
    ControlledParts,
    RawParts,
    fit_controlled,
    raw_parts,
    scaled_estimate,
)
from modeldiff_harness.stats.pairfit.rows import DEFAULT_OPTIONS, FitOptions, PairRows
from modeldiff_harness.stats.power import ELO_PER_LOGIT

FEWEST_PROMPTS = 100
"""Categories with fewer prompts are marked `few_prompts`."""
_FEWEST_CLUSTERS_TO_TEST = 10


@dataclass(frozen=True)
class CategoryFit:
    """The preference within one category."""

    name: str
    """The category."""
    n_battles: int
    """Rows in it."""
    n_prompts: int
    """Clusters in it."""
    tie_rate: float
    """Weighted share of ties."""
    raw_elo: Estimate | None
    """None with a single cluster."""
    substance_elo: Estimate | None
    """None when style is not controlled or the category is one-sided."""
    p_value: float | None
    """Two-sided p of no preference: substance, or raw when style is not controlled."""
    q_value: float | None
    """p after Benjamini-Hochberg over the categories."""
    few_prompts: bool
    """Fewer than 100 prompts, or 20 that prefer a side: to be shown grey."""
    flags: tuple[str, ...]
    """`all_wins`, `all_losses`, `one_cluster`."""


@dataclass(frozen=True)
class CategoryFits:
    """All categories; battles may lie in several, so rows do not add up."""

    categories: tuple[CategoryFit, ...]
    """By name."""
    tested: Literal["substance", "raw"]
    """Which part p, q and heterogeneity are about."""
    heterogeneity_p: float | Undetermined
    """Wald test that the tested part is the same in all categories with 10 clusters or more."""
    flags: tuple[str, ...]
    """Why style is not controlled, if so."""


@dataclass(frozen=True, eq=False)
class _Joint:
    rows: PairRows
    group_N: Ints
    column_of: dict[int, int]
    raw: RawParts
    parts: ControlledParts | None
    borrowed_JJ: Floats
    """Covariance of the substances from style coefficients that other battles taught."""


def fit_categories(
    rows: PairRows, categories: Sequence[Sequence[str]], options: FitOptions = DEFAULT_OPTIONS
) -> CategoryFits | Undetermined:
    """One fit with shared style slopes and an intercept per category.

    `categories[i]`: the categories of row i, none or several; a battle in two counts in both,
    and the clustered covariance knows it. Returns `Undetermined` when no battle has a category or
    there is one cluster.
    """
    if len(categories) != len(rows.y_N):
        raise UsageError(f"{len(categories)} category lists for {len(rows.y_N)} rows")
    names = sorted({name for row in categories for name in row})
    number = {name: j for j, name in enumerate(names)}
    cells = [(i, number[name]) for i, row in enumerate(categories) for name in sorted(set(row))]
    if not cells:
        return Undetermined("no battle has a category", 0)
    member = rows.take(np.array([i for i, _ in cells], dtype=np.int64))
    group_N = np.array([j for _, j in cells], dtype=np.int64)
    if member.n_clusters < 2:
        return Undetermined("one cluster of battles has no variance", member.n_clusters)
    joint, flags = _joint_fit(member, group_N, len(names), options)
    fits = [
        _category(member.take(group_N == j), j, name, joint, options.confidence)
        for j, name in enumerate(names)
    ]
    tested: Literal["substance", "raw"] = "substance" if joint and joint.parts else "raw"
    return CategoryFits(_with_q(fits), tested, _heterogeneity(member, group_N, joint), flags)


def _joint_fit(
    rows: PairRows, group_N: Ints, n_groups: int, options: FitOptions
) -> tuple[_Joint | None, tuple[str, ...]]:
    """The fit of all categories that have both wins and losses."""
    rates = raw_parts(rows, group_N, n_groups).win_rate_J
    usable = np.flatnonzero((rates > 0.0) & (rates < 1.0))
    if len(usable) == 0:
        return None, ("one_sided_categories",)
    column_of = {int(j): column for column, j in enumerate(usable)}
    kept = np.isin(group_N, usable)
    # Clusters keep their numbers, so that influences of all categories share one axis.
    part = replace(rows.take(kept), cluster_N=rows.cluster_N[kept], n_clusters=rows.n_clusters)
    groups = np.array([column_of[int(j)] for j in group_N[kept]], dtype=np.int64)
    raw = raw_parts(part, groups, len(usable))
    controlled, refused = fit_controlled(part, groups, len(usable), options)
    parts = None if controlled is None else controlled.parts
    borrowed_JJ = _borrowed(part, groups, len(usable), controlled, options)
    return _Joint(part, groups, column_of, raw, parts, borrowed_JJ), refused


def _borrowed(
    rows: PairRows,
    group_N: Ints,
    n_groups: int,
    controlled: ControlledFit | None,
    options: FitOptions,
) -> Floats:
    """M Σ Mᵀ (J, J): Σ that of the given coefficients, M (J, K) how each moves a substance.

    A substance moves by minus the information-weighted mean style difference of its battles.
    """
    if controlled is None or options.style_covariance is None:
        return np.zeros((n_groups, n_groups))
    p_N = controlled.logit.probability_N
    information_N = rows.weight_N * p_N * (1.0 - p_N)
    total_J = sum_within(information_N, group_N, n_groups)
    mean_JK = sum_within(information_N[:, None] * rows.z_NK, group_N, n_groups) / total_J[:, None]
    borrowed: Floats = mean_JK @ options.style_covariance @ mean_JK.T
    return borrowed


def _category(
    own: PairRows, j: int, name: str, joint: _Joint | None, confidence: float
) -> CategoryFit:
    base = CategoryFit(
        name=name,
        n_battles=len(own.y_N),
        n_prompts=own.n_clusters,
        tie_rate=own.tie_rate,
        raw_elo=None,
        substance_elo=None,
        p_value=None,
        q_value=None,
        few_prompts=own.n_clusters < FEWEST_PROMPTS or own.n_decided < FEWEST_DECIDED,
        flags=(),
    )
    if own.n_clusters < 2:
        return replace(base, flags=("one_cluster",))
    df = degrees_of_freedom(own.n_clusters)
    if joint is None or j not in joint.column_of:
        raw_elo, _ = one_sided_raw(own, confidence, df)
        flag = "all_wins" if own.y_N.max() == 1.0 else "all_losses"
        p = two_sided_p(raw_elo.estimate, raw_elo.se or 0.0, df)
        return replace(base, raw_elo=raw_elo, p_value=p, flags=(flag,))
    column = joint.column_of[j]
    # The small-sample factor is that of the category's own clusters, not of all of them.
    factor = _inflation(own.n_clusters) / _inflation(joint.rows.n_clusters)

    def elo(value: float, influence_C: Floats) -> Estimate:
        return scaled_estimate(
            ELO_PER_LOGIT, float(value), influence_C * factor**0.5, confidence, df
        )

    tested = raw_elo = elo(joint.raw.log_odds_J[column], joint.raw.log_odds_CJ[:, column])
    substance_elo = None
    if joint.parts is not None:
        influence_C = joint.parts.substance_CJ[:, column]
        own_only = elo(joint.parts.substance_J[column], influence_C)
        borrowed = ELO_PER_LOGIT * float(joint.borrowed_JJ[column, column]) ** 0.5
        tested = substance_elo = widened_estimate(own_only, borrowed, confidence, df)
    if own.n_decided < FEWEST_DECIDED:
        extra = ELO_PER_LOGIT * extra_se_of_few_decided(own, raw_se_logit(raw_elo))
        raw_elo = widened_estimate(raw_elo, extra, confidence, df)
        if substance_elo is not None:
            substance_elo = widened_estimate(substance_elo, extra, confidence, df)
        tested = substance_elo or raw_elo
    p = two_sided_p(tested.estimate, tested.se or 0.0, df)
    return replace(base, raw_elo=raw_elo, substance_elo=substance_elo, p_value=p)


def _heterogeneity(rows: PairRows, group_N: Ints, joint: _Joint | None) -> float | Undetermined:
    """Wald test of equal intercepts with Hotelling's F: dᵀ V⁺ d over the rank of V."""
    if joint is None:
        return Undetermined("every category is one-sided", 0)
    columns = [
        column
        for j, column in joint.column_of.items()
        if len(np.unique(rows.cluster_N[group_N == j])) >= _FEWEST_CLUSTERS_TO_TEST
    ]
    if len(columns) < 2:
        return Undetermined("fewer than two categories with 10 prompts", len(columns))
    if joint.parts is None:
        value_J, influence_CJ = joint.raw.log_odds_J, joint.raw.log_odds_CJ
    else:
        value_J, influence_CJ = joint.parts.substance_J, joint.parts.substance_CJ
    gap_J = value_J[columns[1:]] - value_J[columns[0]]
    covariance = clustered_covariance(influence_CJ[:, columns[1:]] - influence_CJ[:, columns[:1]])
    if joint.parts is not None:
        turn = np.column_stack([-np.ones(len(columns) - 1), np.eye(len(columns) - 1)])
        covariance = covariance + turn @ joint.borrowed_JJ[np.ix_(columns, columns)] @ turn.T
    # Categories over the same battles leave the covariance singular: only its rank is tested.
    rank = int(np.linalg.matrix_rank(covariance, hermitian=True))
    n_clusters = len(np.unique(rows.cluster_N))
    if rank == 0 or n_clusters <= rank:
        return Undetermined("the categories hold the same battles", len(columns))
    wald = float(gap_J @ np.linalg.pinv(covariance, hermitian=True) @ gap_J)
    scaled = wald * (n_clusters - rank) / ((n_clusters - 1.0) * rank)
    return float(fdtrc(rank, n_clusters - rank, scaled))


def _with_q(fits: Sequence[CategoryFit]) -> tuple[CategoryFit, ...]:
    known = [fit.p_value for fit in fits if fit.p_value is not None]
    q_values = iter(benjamini_hochberg(known).tolist() if known else [])
    return tuple(
        fit if fit.p_value is None else replace(fit, q_value=next(q_values)) for fit in fits
    )


def _inflation(n_clusters: int) -> float:
    return n_clusters / (n_clusters - 1.0)
