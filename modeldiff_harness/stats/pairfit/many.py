"""The pair fit within a file of many models: style is learnt from all battles.

Bradley-Terry over all models that wins and losses link to the pair; a shared g.  For the pair,
 raw:        difference of the scores without style
 substance:  difference of the scores with style
 style:      difference of the least-squares shifts of z·g over the graph of battles
 dispersion: what is left of raw
With two models these are the parts of `pairfit`.  Intervals come from influence functions summed
within clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import expit

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.bradley_terry import (
    BradleyTerry,
    Graph,
    fit_bradley_terry,
    linked_models,
)
from modeldiff_harness.stats.clusters import clustered_covariance, sum_within
from modeldiff_harness.stats.estimates import Bools, Estimate, Floats, Ints, Undetermined
from modeldiff_harness.stats.pairfit.diagnostics import (
    LEAST_CLUSTERS,
    feature_diagnostics,
    separation_flags,
)
from modeldiff_harness.stats.pairfit.dispersion import with_percentiles
from modeldiff_harness.stats.pairfit.dispersion_of_many import resample_dispersion_of_many
from modeldiff_harness.stats.pairfit.fit import (
    PairFit,
    StyleFeature,
    degrees_of_freedom,
    fit_pair,
    kept_by_choice,
    size_flags,
)
from modeldiff_harness.stats.pairfit.parts import PartEstimates, scaled_estimate
from modeldiff_harness.stats.pairfit.rows import (
    DEFAULT_OPTIONS,
    Design,
    FitOptions,
    PairRows,
    pair_design,
    rms_style,
    with_position,
)
from modeldiff_harness.stats.power import ELO_PER_LOGIT

__all__ = ["ManyFit", "ManyRows", "fit_among_many", "fit_among_many_otherwise", "many_rows"]


@dataclass(frozen=True, eq=False)
class ManyRows:
    """Battles of many models as they were recorded, and the pair of interest among them."""

    rows: PairRows
    """a - b."""
    graph: Graph
    """Who met whom; the reference is the baseline."""
    candidate: int
    """The candidate's number in the graph."""

    @property
    def direct_N(self) -> Bools:
        """Which battles are between the candidate and the baseline."""
        graph = self.graph
        forth = (graph.a_N == self.candidate) & (graph.b_N == graph.reference)
        found: Bools = forth | ((graph.b_N == self.candidate) & (graph.a_N == graph.reference))
        return found

    def own_rows(self) -> PairRows:
        """The battles between the two models, candidate - baseline."""
        direct = self.direct_N
        sign = np.where(self.graph.a_N[direct] == self.candidate, 1.0, -1.0)
        return self.rows.take(direct).turned(sign)

    def take(self, kept: Ints | Bools) -> ManyRows:
        """Some of the battles; the models keep their numbers."""
        graph = replace(self.graph, a_N=self.graph.a_N[kept], b_N=self.graph.b_N[kept])
        return ManyRows(self.rows.take(kept), graph, self.candidate)

    def linked(self) -> ManyRows | None:
        """The battles of models that wins and losses link to the pair; None: not the pair itself.

        Those models are numbered anew.
        """
        graph = self.graph
        linked_M = linked_models(graph, self.rows.y_N, graph.reference, self.candidate)
        if linked_M is None:
            return None
        part = self.take(linked_M[graph.a_N] & linked_M[graph.b_N])
        place = np.cumsum(linked_M) - 1
        smaller = Graph(
            place[part.graph.a_N],
            place[part.graph.b_N],
            int(linked_M.sum()),
            int(place[graph.reference]),
        )
        return ManyRows(part.rows, smaller, int(place[self.candidate]))


@dataclass(frozen=True)
class ManyFit:
    """The pair's parts, and what they rest on."""

    pair: PairFit
    """Parts, intervals and flags; `n_battles` counts all battles used, `win_rate` is predicted."""
    n_models: int
    """Models in the fit, the pair included."""
    n_direct: int
    """Battles between the two models themselves."""
    n_left_out: int
    """Battles of models that no chain of wins and losses links to the pair."""


def many_rows(
    rows: PairRows,
    model_a: Sequence[str],
    model_b: Sequence[str],
    *,
    baseline: str,
    candidate: str,
) -> ManyRows:
    """Gather rows a - b of battles of `model_a` against `model_b` (N each).

    Raises `UsageError` for lengths that differ, a model without battles or against itself.
    """
    if not len(model_a) == len(model_b) == len(rows.y_N):
        raise UsageError(f"{len(model_a)} and {len(model_b)} models for {len(rows.y_N)} outcomes")
    number = {name: i for i, name in enumerate(sorted({*model_a, *model_b}))}
    for name in (baseline, candidate):
        if name not in number:
            raise UsageError(f"no battle has the model {name!r}")
    a_N = np.fromiter((number[name] for name in model_a), np.int64, len(rows.y_N))
    b_N = np.fromiter((number[name] for name in model_b), np.int64, len(rows.y_N))
    if (a_N == b_N).any():
        raise UsageError("a battle of a model against itself")
    return ManyRows(rows, Graph(a_N, b_N, len(number), number[baseline]), number[candidate])


def fit_among_many(
    battles: ManyRows, options: FitOptions = DEFAULT_OPTIONS
) -> ManyFit | Undetermined:
    """Fit all battles and report the pair, candidate - baseline.

    Returns `Undetermined` when wins and losses do not link the two models, or with one cluster.
    """
    part = battles.linked()
    if part is None:
        return Undetermined("no chain of wins and losses links the two models", 0)
    n_clusters = part.rows.n_clusters
    if n_clusters < 2:
        return Undetermined("one cluster of battles has no variance", n_clusters)
    problem = _Problem(part.rows, part.graph, part.candidate, options)
    return ManyFit(
        _pair_fit(problem),
        part.graph.n_models,
        int(part.direct_N.sum()),
        len(battles.rows.y_N) - len(part.rows.y_N),
    )


def fit_among_many_otherwise(
    battles: ManyRows, options: FitOptions = DEFAULT_OPTIONS
) -> dict[str, PairFit | Undetermined]:
    """The fit without ties, without both-bad votes, and `direct_battles_only`."""
    found: dict[str, PairFit | Undetermined] = {}
    for name, kept in kept_by_choice(battles.rows):
        fit = fit_among_many(battles.take(kept), options)
        found[name] = fit if isinstance(fit, Undetermined) else fit.pair
    found["direct_battles_only"] = fit_pair(battles.own_rows(), options)
    return found


@dataclass(frozen=True, eq=False)
class _Problem:
    """Linked rows as recorded (a against b) and where the pair stands in the graph."""

    rows: PairRows
    graph: Graph
    candidate: int
    options: FitOptions

    @cached_property
    def n_clusters_of_pair(self) -> int:
        """Clusters with battles of the candidate, or of the baseline if those are fewer."""
        return min(self._clusters_of(np.ones(len(self.rows.y_N), np.bool_)))

    @cached_property
    def n_decided_of_pair(self) -> int:
        """The same without battles that ended in a tie."""
        return min(self._clusters_of(self.rows.y_N != 0.5))

    def _clusters_of(self, kept_N: Bools) -> tuple[int, int]:
        graph = self.graph
        candidate, baseline = (
            len(np.unique(self.rows.cluster_N[kept_N & ((graph.a_N == m) | (graph.b_N == m))]))
            for m in (self.candidate, graph.reference)
        )
        return candidate, baseline

    @property
    def df(self) -> float | None:
        """Of the pair's own clusters: a million battles of others do not make its scores known."""
        return degrees_of_freedom(max(2, self.n_clusters_of_pair))

    def estimate(self, unit: float, value: float, influence_N: Floats) -> Estimate:
        """unit x value with the interval of its influences summed within clusters."""
        influence_C = sum_within(influence_N, self.rows.cluster_N, self.rows.n_clusters)
        return scaled_estimate(unit, value, influence_C, self.options.confidence, self.df)


def _pair_fit(problem: _Problem) -> PairFit:
    rows, graph = problem.rows, problem.graph
    n, none = len(rows.y_N), np.zeros((len(rows.y_N), 0))
    alone = fit_bradley_terry(rows.y_N, graph, none, rows.weight_N, np.zeros(0), np.zeros(n))
    raw, raw_N = _contrast(problem, alone, none)
    rate = float(expit(raw))
    raw_elo = problem.estimate(ELO_PER_LOGIT, raw, raw_N)
    raw_points = problem.estimate(100.0, rate - 0.5, rate * (1.0 - rate) * raw_N)
    flags = size_flags(problem.n_clusters_of_pair, problem.n_decided_of_pair)
    controlled, refused = _controlled(problem, alone, raw, raw_N)
    diagnostics = feature_diagnostics(rows.z_NK, rows.cluster_share_N)
    flags += refused
    for name, column, found in zip(rows.names, rows.z_NK.T, diagnostics, strict=True):
        if not column.any():
            flags.append(f"unused_feature:{name}")
        elif found.collinear:
            flags.append(f"collinear:{name}")
    if rows.position_N is not None and rows.position_N.any() and not _position_identified(problem):
        flags.append("position_not_identified")
    rms_K, fixed = rms_style(rows), problem.options.style_coefficients is not None
    # Without style control the shift is told all the same.
    shift_K = controlled.shift_K if controlled else _shifts(problem)[problem.candidate]
    features = tuple(
        StyleFeature(
            name,
            float(rms_K[k]),
            float(shift_K[k]),
            float(controlled.per_unit_K[k]) if controlled else None,
            controlled.feature_elo[k] if controlled and (fixed or not found.collinear) else None,
            found.overlap,
            found.vif,
        )
        for k, (name, found) in enumerate(zip(rows.names, diagnostics, strict=True))
    )
    return PairFit(
        n_battles=n,
        n_clusters=rows.n_clusters,
        win_rate=rate,
        tie_rate=float(rows.share_N @ (rows.y_N == 0.5)),
        df=problem.df,
        elo=PartEstimates(raw_elo, *(controlled.elo if controlled else ())),
        points=PartEstimates(raw_points, *(controlled.points if controlled else ())),
        position_elo=controlled.position_elo if controlled else None,
        features=features,
        flags=tuple(flags),
        style_covariance=controlled.per_unit_KK if controlled else None,
    )


@dataclass(frozen=True, eq=False)
class _Controlled:
    elo: tuple[Estimate, Estimate, Estimate]
    """Substance, style, dispersion."""
    points: tuple[Estimate, Estimate, Estimate]
    position_elo: Estimate | None
    per_unit_K: Floats
    per_unit_KK: Floats
    """Their covariance."""
    shift_K: Floats
    """Least-squares shift of every feature between the two models."""
    feature_elo: tuple[Estimate, ...]


def _controlled(
    problem: _Problem, alone: BradleyTerry, raw: float, raw_N: Floats
) -> tuple[_Controlled | None, list[str]]:
    rows, graph = problem.rows, problem.graph
    if not rows.names:
        return None, ["style_control_not_available"]
    design = _design(problem)
    least = LEAST_CLUSTERS if problem.options.style_coefficients is None else 0
    if rows.n_clusters < max(least, design.x_NP.shape[1] + graph.n_models + 1):
        return None, ["too_few_clusters"]
    fit = fit_bradley_terry(
        rows.y_N, graph, design.x_NP, rows.weight_N, design.penalty_P, design.offset_N
    )
    condition = fit.slope_condition(graph.n_models - 1)
    refused = separation_flags(
        fit.slope_K, fit.probability_N, rows.cluster_share_N, condition, fit.converged
    )
    if refused:
        return None, list(refused)
    return _parts(problem, design, alone, fit, raw, raw_N), []


def _design(problem: _Problem) -> Design:
    """Scaled style, and the position unless who met whom on which side determines it."""
    position_N = problem.rows.position_N
    design = pair_design(replace(problem.rows, position_N=None), problem.options)
    if position_N is None or not _position_identified(problem):
        return design
    return with_position(design, position_N)


def _position_identified(problem: _Problem) -> bool:
    rows, graph = problem.rows, problem.graph
    if rows.position_N is None or not rows.position_N.any():
        return False
    explained = graph.shifts(rows.position_N[:, None], rows.weight_N)[:, 0]
    left_N = rows.position_N - graph.difference(explained)
    return bool(rows.weight_N @ left_N**2 > 1e-6 * (rows.weight_N @ rows.position_N**2))


def _parts(
    problem: _Problem,
    design: Design,
    alone: BradleyTerry,
    fit: BradleyTerry,
    raw: float,
    raw_N: Floats,
) -> _Controlled:
    rows, graph, c = problem.rows, problem.graph, problem.candidate
    s, s_N = _contrast(problem, fit, design.x_NP)
    per_unit = design.per_unit(fit.slope_K)
    shift_MK = _shifts(problem)
    slope_NP = np.stack([_slope(problem, fit, design, k) for k in range(len(fit.slope_K))], axis=1)
    per_unit_NK = np.zeros(rows.z_NK.shape)
    for column, k in enumerate(design.active_A):
        per_unit_NK[:, k] = slope_NP[:, column] / design.rms_K[k]
    # e_cᵀ L⁻¹ B: how much a battle's residual moves the candidate's shift.
    free = graph.free_F
    unit = np.zeros(graph.n_models)
    laplacian = graph.laplacian(rows.weight_N)[np.ix_(free, free)]
    unit[free] = np.linalg.solve(laplacian, (free == c).astype(np.float64))
    reach_N = rows.weight_N * graph.difference(unit)
    shift_NK = np.stack(
        [reach_N * (z - graph.difference(shift_MK[:, k])) for k, z in enumerate(rows.z_NK.T)],
        axis=1,
    )
    feature_NK = shift_NK * per_unit + per_unit_NK * shift_MK[c]
    style, style_N = float(shift_MK[c] @ per_unit), feature_NK.sum(axis=1)
    at_raw, at_s, at_both = (float(expit(v)) for v in (raw, s, s + style))
    raw_points_N = at_raw * (1.0 - at_raw) * raw_N
    s_points_N = at_s * (1.0 - at_s) * s_N
    both_points_N = at_both * (1.0 - at_both) * (s_N + style_N)
    position_elo = None
    if design.has_position:
        position_elo = problem.estimate(ELO_PER_LOGIT, float(fit.slope_K[-1]), slope_NP[:, -1])
    elo = problem.estimate
    in_elo = [
        elo(ELO_PER_LOGIT, s, s_N),
        elo(ELO_PER_LOGIT, style, style_N),
        elo(ELO_PER_LOGIT, raw - s - style, raw_N - s_N - style_N),
    ]
    in_points = [
        elo(100.0, at_s - 0.5, s_points_N),
        elo(100.0, at_both - at_s, both_points_N - s_points_N),
        elo(100.0, at_raw - at_both, raw_points_N - both_points_N),
    ]
    draws = resample_dispersion_of_many(rows, graph, c, design, alone, fit)
    if draws is not None:
        level = problem.options.confidence
        in_elo[2] = with_percentiles(in_elo[2], draws.elo_R, level)
        in_points[2] = with_percentiles(in_points[2], draws.points_R, level)
    return _Controlled(
        (in_elo[0], in_elo[1], in_elo[2]),
        (in_points[0], in_points[1], in_points[2]),
        position_elo,
        per_unit,
        clustered_covariance(sum_within(per_unit_NK, rows.cluster_N, rows.n_clusters)),
        shift_MK[c],
        tuple(
            elo(ELO_PER_LOGIT, float(shift_MK[c, k] * per_unit[k]), feature_NK[:, k])
            for k in range(rows.z_NK.shape[1])
        ),
    )


def _contrast(problem: _Problem, fit: BradleyTerry, x_NP: Floats) -> tuple[float, Floats]:
    """The candidate's score (the baseline's is 0) and its influences."""
    direction = np.zeros(len(fit.information))
    direction[int(np.flatnonzero(problem.graph.free_F == problem.candidate)[0])] = 1.0
    influence_N, _ = fit.influence(problem.graph, x_NP, problem.rows.weight_N, direction)
    return float(fit.score_M[problem.candidate]), influence_N


def _slope(problem: _Problem, fit: BradleyTerry, design: Design, k: int) -> Floats:
    direction = np.zeros(len(fit.information))
    direction[problem.graph.n_models - 1 + k] = 1.0
    return fit.influence(problem.graph, design.x_NP, problem.rows.weight_N, direction)[0]


def _shifts(problem: _Problem) -> Floats:
    """Least-squares shift of every model (M, K) in the style differences."""
    graph, rows = problem.graph, problem.rows
    if not rows.names:
        return np.zeros((graph.n_models, 0))
    return graph.shifts(rows.z_NK, rows.weight_N)
