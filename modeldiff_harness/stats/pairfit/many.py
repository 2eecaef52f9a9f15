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

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.bradley_terry import (
    BradleyTerry,
    Graph,
    fit_bradley_terry,
    linked_models,
)
from modeldiff_harness.stats.clusters import ClusterLabels, sum_within
from modeldiff_harness.stats.estimates import (
    Bools,
    Estimate,
    Floats,
    Undetermined,
    check_confidence,
)
from modeldiff_harness.stats.pairfit.diagnostics import (
    feature_diagnostics,
    separation_flags,
)
from modeldiff_harness.stats.pairfit.fit import (
    T_BELOW_CLUSTERS,
    PairFit,
    Sensitivity,
    StyleFeature,
    fit_rows,
)
from modeldiff_harness.stats.pairfit.parts import scaled_estimate
from modeldiff_harness.stats.pairfit.rows import Design, PairRows, pair_design, pair_rows
from modeldiff_harness.stats.power import ELO_PER_LOGIT

__all__ = ["ManyFit", "fit_among_many"]


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


@dataclass(frozen=True, eq=False)
class _Problem:
    """Rows as recorded (a against b) and where the pair stands in the graph."""

    rows: PairRows
    graph: Graph
    candidate: int
    confidence: float
    df: float | None

    def estimate(self, unit: float, value: float, influence_N: Floats) -> Estimate:
        """unit x value with the interval of its influences summed within clusters."""
        influence_C = sum_within(influence_N, self.rows.cluster_N, self.rows.n_clusters)
        return scaled_estimate(unit, value, influence_C, self.confidence, self.df)


def fit_among_many(
    outcomes_a: npt.ArrayLike,
    model_a: Sequence[str],
    model_b: Sequence[str],
    *,
    baseline: str,
    candidate: str,
    style_a_minus_b: npt.ArrayLike | None = None,
    feature_names: Sequence[str] | None = None,
    clusters: ClusterLabels | None = None,
    a_first: npt.ArrayLike | None = None,
    both_bad: npt.ArrayLike | None = None,
    style_coefficients: npt.ArrayLike | None = None,
    ridge: float = 1.0,
    confidence: float = 0.95,
) -> ManyFit | Undetermined:
    """Fit all battles and report the pair, candidate - baseline.

    `outcomes_a` (N,): outcome for a in [0, 1]. `style_a_minus_b` (N, K). `a_first` (N,): +1 when
    the judge saw a first, -1 second, 0 unknown; None for no position term. Other arguments as in
    `pairfit.fit_pair`.

    Returns `Undetermined` when wins and losses do not link the two models, or with one cluster.
    Raises `UsageError` for shapes that differ, values out of range, or a model without battles.
    """
    check_confidence(confidence)
    if not 0.0 <= ridge <= 1.0:
        raise UsageError(f"ridge is {ridge}; more than 1 on the summed loss shrinks style away")
    rows = pair_rows(
        outcomes_a,
        style_a_minus_b,
        feature_names,
        clusters,
        a_first,
        None,
        both_bad,
        style_coefficients,
    )
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
    graph = Graph(a_N, b_N, len(number), number[baseline])
    fit = _fit(rows, graph, number[candidate], ridge, confidence)
    if isinstance(fit, Undetermined):
        return fit
    return replace(fit, pair=replace(fit.pair, sensitivity=_sensitivity(
        rows, graph, number[candidate], ridge, confidence)))  # fmt: skip


def _fit(
    rows: PairRows, graph: Graph, candidate: int, ridge: float, confidence: float
) -> ManyFit | Undetermined:
    linked_M = linked_models(graph, rows.y_N, graph.reference, candidate)
    if linked_M is None:
        return Undetermined("no chain of wins and losses links the two models", 0)
    kept = linked_M[graph.a_N] & linked_M[graph.b_N]
    place = np.cumsum(linked_M) - 1
    part = rows.take(kept)
    if part.n_clusters < 2:
        return Undetermined("one cluster of battles has no variance", part.n_clusters)
    smaller = Graph(
        place[graph.a_N[kept]],
        place[graph.b_N[kept]],
        int(linked_M.sum()),
        int(place[graph.reference]),
    )
    df = float(part.n_clusters - 1) if part.n_clusters < T_BELOW_CLUSTERS else None
    problem = _Problem(part, smaller, int(place[candidate]), confidence, df)
    return ManyFit(
        _pair_fit(problem, ridge),
        smaller.n_models,
        int(_direct(smaller, problem.candidate).sum()),
        int((~kept).sum()),
    )


def _pair_fit(problem: _Problem, ridge: float) -> PairFit:
    rows, graph = problem.rows, problem.graph
    n, none = len(rows.y_N), np.zeros((len(rows.y_N), 0))
    alone = fit_bradley_terry(rows.y_N, graph, none, rows.weight_N, np.zeros(0), np.zeros(n))
    raw, raw_N = _contrast(problem, alone, none)
    flags = ["few_clusters"] if problem.df is not None else []
    parts, refused = _controlled(problem, ridge, raw, raw_N)
    rate = float(expit(raw))
    diagnostics = feature_diagnostics(rows.z_NK, rows.weight_N)
    flags += refused
    for name, column, found in zip(rows.names, rows.z_NK.T, diagnostics, strict=True):
        if not column.any():
            flags.append(f"unused_feature:{name}")
        elif found.collinear:
            flags.append(f"collinear:{name}")
    if rows.position_N is not None and rows.position_N.any() and not _position_identified(problem):
        flags.append("position_not_identified")
    share_N = rows.weight_N / rows.weight_N.sum()
    rms_K = np.sqrt(share_N @ rows.z_NK**2)
    features = tuple(
        StyleFeature(
            name,
            float(rms_K[k]),
            float(parts.shift_K[k]) if parts else _direct_mean(problem, k),
            float(parts.per_unit_K[k]) if parts else None,
            parts.feature_elo[k]
            if parts and (rows.fixed_K is not None or not found.collinear)
            else None,
            found.overlap,
            found.vif,
        )
        for k, (name, found) in enumerate(zip(rows.names, diagnostics, strict=True))
    )
    return PairFit(
        n_battles=n,
        n_clusters=rows.n_clusters,
        win_rate=rate,
        tie_rate=float(share_N @ (rows.y_N == 0.5)),
        confidence=problem.confidence,
        df=problem.df,
        raw_elo=problem.estimate(ELO_PER_LOGIT, raw, raw_N),
        substance_elo=parts.elo[0] if parts else None,
        style_elo=parts.elo[1] if parts else None,
        dispersion_elo=parts.elo[2] if parts else None,
        raw_points=problem.estimate(100.0, rate - 0.5, rate * (1.0 - rate) * raw_N),
        substance_points=parts.points[0] if parts else None,
        style_points=parts.points[1] if parts else None,
        dispersion_points=parts.points[2] if parts else None,
        position_elo=parts.position_elo if parts else None,
        features=features,
        flags=tuple(flags),
    )


@dataclass(frozen=True, eq=False)
class _Parts:
    elo: tuple[Estimate, Estimate, Estimate]
    """Substance, style, dispersion."""
    points: tuple[Estimate, Estimate, Estimate]
    position_elo: Estimate | None
    per_unit_K: Floats
    shift_K: Floats
    """Least-squares shift of every feature between the two models."""
    feature_elo: tuple[Estimate, ...]


def _controlled(
    problem: _Problem, ridge: float, raw: float, raw_N: Floats
) -> tuple[_Parts | None, list[str]]:
    rows, graph = problem.rows, problem.graph
    if not rows.has_style:
        return None, ["style_control_not_available"]
    design = _design(problem, ridge)
    if rows.n_clusters <= design.x_NP.shape[1] + graph.n_models:
        return None, ["too_few_clusters"]
    fit = fit_bradley_terry(
        rows.y_N, graph, design.x_NP, rows.weight_N, design.penalty_P, design.offset_N
    )
    condition = fit.slope_condition(graph.n_models - 1)
    refused = separation_flags(
        fit.slope_K, fit.probability_N, rows.weight_N, condition, fit.converged
    )
    if refused:
        return None, list(refused)
    return _parts(problem, design, fit, raw, raw_N), []


def _design(problem: _Problem, ridge: float) -> Design:
    """Scaled style, and the position unless who met whom on which side determines it."""
    rows = problem.rows
    design = pair_design(replace(rows, position_N=None), ridge)
    if not _position_identified(problem) or rows.position_N is None:
        return design
    return replace(
        design,
        x_NP=np.asfortranarray(np.column_stack([design.x_NP, rows.position_N])),
        penalty_P=np.append(design.penalty_P, 0.0),
        has_position=True,
    )


def _position_identified(problem: _Problem) -> bool:
    rows, graph = problem.rows, problem.graph
    if rows.position_N is None or not rows.position_N.any():
        return False
    explained = graph.shifts(rows.position_N[:, None], rows.weight_N)[:, 0]
    left_N = rows.position_N - graph.difference(explained)
    return bool(rows.weight_N @ left_N**2 > 1e-6 * (rows.weight_N @ rows.position_N**2))


def _parts(
    problem: _Problem, design: Design, fit: BradleyTerry, raw: float, raw_N: Floats
) -> _Parts:
    rows, graph, c = problem.rows, problem.graph, problem.candidate
    s, s_N = _contrast(problem, fit, design.x_NP)
    per_unit = design.per_unit(fit.slope_K, rows.fixed_K)
    shift_MK = graph.shifts(rows.z_NK, rows.weight_N)
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
    return _Parts(
        (
            elo(ELO_PER_LOGIT, s, s_N),
            elo(ELO_PER_LOGIT, style, style_N),
            elo(ELO_PER_LOGIT, raw - s - style, raw_N - s_N - style_N),
        ),
        (
            elo(100.0, at_s - 0.5, s_points_N),
            elo(100.0, at_both - at_s, both_points_N - s_points_N),
            elo(100.0, at_raw - at_both, raw_points_N - both_points_N),
        ),
        position_elo,
        per_unit,
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


def _direct(graph: Graph, candidate: int) -> Bools:
    """Which battles are between the candidate and the baseline."""
    forth = (graph.a_N == candidate) & (graph.b_N == graph.reference)
    found: Bools = forth | ((graph.b_N == candidate) & (graph.a_N == graph.reference))
    return found


def _direct_mean(problem: _Problem, k: int) -> float:
    return float(problem.graph.shifts(problem.rows.z_NK, problem.rows.weight_N)[
        problem.candidate, k])  # fmt: skip


def _sensitivity(
    rows: PairRows, graph: Graph, candidate: int, ridge: float, confidence: float
) -> tuple[Sensitivity, ...]:
    """The fit without ties, without both-bad votes, and of the pair's own battles alone."""
    choices = [("ties_dropped", rows.y_N != 0.5)]
    if rows.both_bad_N is not None:
        choices.append(("both_bad_dropped", ~rows.both_bad_N))
    found = []
    for name, kept in choices:
        if kept.all():
            continue
        part = Graph(graph.a_N[kept], graph.b_N[kept], graph.n_models, graph.reference)
        fit = _fit(rows.take(kept), part, candidate, ridge, confidence)
        found.append(Sensitivity(name, int(kept.sum()),
                                 fit if isinstance(fit, Undetermined) else fit.pair))  # fmt: skip
    direct = _direct(graph, candidate)
    own = rows.take(direct)
    sign = np.where(graph.a_N[direct] == candidate, 1.0, -1.0)
    oriented = replace(
        own,
        y_N=np.where(sign > 0, own.y_N, 1.0 - own.y_N),
        z_NK=own.z_NK * sign[:, None],
        position_N=None if own.position_N is None else own.position_N * sign,
    )
    fit_direct = fit_rows(oriented, ridge, confidence, sensitivity=False)
    found.append(Sensitivity("direct_battles_only", int(direct.sum()), fit_direct))
    return tuple(found)
