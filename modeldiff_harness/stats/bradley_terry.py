"""Bradley-Terry scores of many models with shared slopes, and least-squares shifts on their graph.

logit P(a beats b) = θ_a - θ_b + x·g + offset.  The reference's θ is 0.  The Hessian is assembled
from pairs of models, so a Newton step costs O(N·K² + (M + K)³) for N battles of M models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from modeldiff_harness.stats.estimates import Bools, Floats, Ints

__all__ = [
    "BradleyTerry",
    "Graph",
    "fit_bradley_terry",
    "linked_models",
    "refit_bradley_terry",
]

_STEPS = 60
_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Graph:
    """Who met whom: battle i is a_N[i] against b_N[i]."""

    a_N: Ints
    b_N: Ints
    n_models: int
    reference: int
    """The model whose score is 0."""

    @property
    def free_F(self) -> Ints:
        """Models other than the reference, in order."""
        return np.delete(np.arange(self.n_models), self.reference)

    def difference(self, score_M: Floats) -> Floats:
        """score_a - score_b of every battle (N,)."""
        found: Floats = score_M[self.a_N] - score_M[self.b_N]
        return found

    def gather(self, values_N: Floats) -> Floats:
        """Σ over battles of +value for a and -value for b: the transpose of `difference` (M,)."""
        plus = np.bincount(self.a_N, values_N, self.n_models)
        return np.asarray(plus - np.bincount(self.b_N, values_N, self.n_models), np.float64)

    def laplacian(self, weight_N: Floats) -> Floats:
        """Σ weight·(e_a - e_b)(e_a - e_b)ᵀ (M, M)."""
        m = self.n_models
        cells = np.bincount(self.a_N * m + self.b_N, weight_N, m * m).reshape(m, m)
        met = cells + cells.T
        found: Floats = np.diag(met.sum(axis=1)) - met
        return found

    def shifts(self, values_NQ: Floats, weight_N: Floats) -> Floats:
        """Scores (M, Q) whose differences fit the values of battles best by least squares.

        With two models this is the mean value, oriented; with many it is the mean over the whole
        graph (HodgeRank; Jiang, Lim, Yao and Ye 2011).
        """
        free = self.free_F
        right = np.stack([self.gather(weight_N * column) for column in values_NQ.T], axis=1)
        found = np.zeros((self.n_models, values_NQ.shape[1]))
        found[free] = np.linalg.solve(self.laplacian(weight_N)[np.ix_(free, free)], right[free])
        return found


@dataclass(frozen=True, eq=False)
class BradleyTerry:
    """The penalised optimum."""

    score_M: Floats
    """θ in log-odds; the reference's is 0."""
    slope_K: Floats
    """Log-odds per unit of x."""
    probability_N: Floats
    """Fitted P(a preferred)."""
    residual_N: Floats
    """weight x (y - fitted probability)."""
    information: Floats
    """Hessian over free models, then slopes, penalty included."""
    penalty_K: Floats
    converged: bool

    def slope_condition(self, n_free: int) -> float:
        """Condition number of the unpenalised information on the slopes after the scores."""
        if len(self.slope_K) == 0:
            return 1.0
        models_FF, cross_FK = self.information[:n_free, :n_free], self.information[:n_free, n_free:]
        own_KK = self.information[n_free:, n_free:] - np.diag(self.penalty_K)
        left_KK = own_KK - cross_FK.T @ np.linalg.solve(models_FF, cross_FK)
        # Columns are scaled before, not after, what the scores explain is taken out.
        size_K = np.sqrt(np.diag(own_KK))
        if (size_K == 0.0).any():
            return float("inf")
        return float(np.linalg.cond(left_KK / np.outer(size_K, size_K)))

    def influence(
        self, graph: Graph, x_NK: Floats, weight_N: Floats, direction: Floats
    ) -> tuple[Floats, float]:
        """Influence of direction·(free θ, g): per battle (N,), and the penalty's share of it.

        The influences of all battles and the penalty's share add up to zero.
        """
        solved = np.linalg.solve(self.information, direction)
        n_free = graph.n_models - 1
        score_M = np.zeros(graph.n_models)
        score_M[graph.free_F] = solved[:n_free]
        reach_N = graph.difference(score_M) + x_NK @ solved[n_free:]
        pull = -float(solved[n_free:] @ (self.penalty_K * self.slope_K))
        influence_N: Floats = self.residual_N * reach_N + pull * weight_N / weight_N.sum()
        return influence_N, pull


def linked_models(graph: Graph, y_N: Floats, one: int, other: int) -> Bools | None:
    """Which models a chain of wins and a chain of losses link to both (M,), or None.

    Within such a set the maximum of the likelihood is finite (Ford 1957); a tie counts both ways.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    over, under = y_N > 0.0, y_N < 1.0
    start = np.concatenate([graph.a_N[over], graph.b_N[under]])
    end = np.concatenate([graph.b_N[over], graph.a_N[under]])
    edges = coo_matrix((np.ones(len(start)), (start, end)), shape=(graph.n_models,) * 2)
    _, component_M = connected_components(edges, directed=True, connection="strong")
    if component_M[one] != component_M[other]:
        return None
    found: Bools = component_M == component_M[one]
    return found


def fit_bradley_terry(
    y_N: Floats,
    graph: Graph,
    x_NK: Floats,
    weight_N: Floats,
    penalty_K: Floats,
    offset_N: Floats,
) -> BradleyTerry:
    """Minimise Σ weight·logloss + Σ penalty·slope²/2 by Newton's method with halved steps.

    `y_N` in [0, 1] is the outcome for a; every model must be linked (`linked_models`).
    """
    free, n_free = graph.free_F, graph.n_models - 1
    beta = np.zeros(n_free + x_NK.shape[1])
    penalty = np.concatenate([np.zeros(n_free), penalty_K])
    score_M = np.zeros(graph.n_models)

    def predict(at: Floats) -> Floats:
        score_M[free] = at[:n_free]
        found: Floats = graph.difference(score_M) + x_NK @ at[n_free:] + offset_N
        return found

    def loss(at: Floats, eta_N: Floats) -> float:
        logloss = np.logaddexp(0.0, eta_N) - y_N * eta_N
        return float(weight_N @ logloss + 0.5 * penalty @ at**2)

    eta_N = predict(beta)
    current, converged = loss(beta, eta_N), False
    for _ in range(_STEPS):
        p_N = expit(eta_N)
        residual_N = weight_N * (y_N - p_N)
        score = np.concatenate([graph.gather(residual_N)[free], x_NK.T @ residual_N])
        information = _information(graph, x_NK, weight_N * p_N * (1.0 - p_N), penalty)
        step = np.linalg.lstsq(information, score - penalty * beta, rcond=None)[0]
        size = 1.0
        for _ in range(30):
            eta_N = predict(beta + size * step)
            trial = loss(beta + size * step, eta_N)
            if trial <= current + 1e-12 * abs(current):
                break
            size /= 2.0
        beta, current = beta + size * step, trial
        if np.abs(step).max(initial=0.0) < _TOLERANCE:
            converged = True
            break
    p_N = expit(eta_N)
    information = _information(graph, x_NK, weight_N * p_N * (1.0 - p_N), penalty)
    final_M = np.zeros(graph.n_models)
    final_M[free] = beta[:n_free]
    residual_N = weight_N * (y_N - p_N)
    return BradleyTerry(final_M, beta[n_free:], p_N, residual_N, information, penalty_K, converged)


def refit_bradley_terry(
    start: BradleyTerry,
    y_N: Floats,
    graph: Graph,
    x_NK: Floats,
    weight_N: Floats,
    offset_N: Floats,
    n_steps: int = 2,
) -> tuple[Floats, Floats]:
    """Scores (M,) and slopes (K,) for other weights, by Newton steps from a fit of the same rows.

    A direction that the weights say nothing about stays where it was (the shortest step).
    """
    free, n_free = graph.free_F, graph.n_models - 1
    score_M, slope_K = start.score_M.copy(), start.slope_K.copy()
    penalty = np.concatenate([np.zeros(n_free), start.penalty_K])
    for _ in range(n_steps):
        p_N = expit(graph.difference(score_M) + x_NK @ slope_K + offset_N)
        residual_N = weight_N * (y_N - p_N)
        score = np.concatenate([graph.gather(residual_N)[free], x_NK.T @ residual_N])
        score[n_free:] -= start.penalty_K * slope_K
        information = _information(graph, x_NK, weight_N * p_N * (1.0 - p_N), penalty)
        step = np.linalg.lstsq(information, score, rcond=None)[0]
        score_M[free] += step[:n_free]
        slope_K = slope_K + step[n_free:]
    return score_M, slope_K


def _information(graph: Graph, x_NK: Floats, information_N: Floats, penalty: Floats) -> Floats:
    free = graph.free_F
    weighted_NK = information_N[:, None] * x_NK
    cross = [graph.gather(column)[free] for column in weighted_NK.T]
    cross_FK = np.stack(cross, axis=1) if cross else np.zeros((len(free), 0))
    models_FF = graph.laplacian(information_N)[np.ix_(free, free)]
    slopes_KK = weighted_NK.T @ x_NK
    whole: Floats = np.block([[models_FF, cross_FK], [cross_FK.T, slopes_KK]]) + np.diag(penalty)
    return whole
