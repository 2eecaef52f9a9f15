from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm

from modeldiff_harness.artifacts import PairedCounts
from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import PairedEstimate, Undetermined
from modeldiff_harness.stats.paired import paired_binary, paired_difference
from modeldiff_harness.stats.stratified import (
    Stratum,
    crossed_difference,
    stratified_difference,
)


def part(counts: PairedCounts) -> PairedEstimate:
    result = paired_binary(counts)
    assert isinstance(result, PairedEstimate)
    return result


SMALL, LARGE = part(PairedCounts(30, 10, 8, 2)), part(PairedCounts(300, 60, 20, 70))


def test_parts_are_pooled_by_their_items() -> None:
    pooled = stratified_difference([SMALL, LARGE])
    assert isinstance(pooled, PairedEstimate)
    assert pooled.delta == pytest.approx((28 - 72) / 500)
    assert (pooled.counts, pooled.n) == (PairedCounts(330, 70, 28, 72), 500)
    assert pooled.se == pytest.approx(math.hypot(0.1 * SMALL.se, 0.9 * LARGE.se))
    assert pooled.interval_method == "MOVER"


def test_only_parts_that_are_normal_give_a_normal_interval() -> None:
    still = [paired_difference([0.25] * n, [0.25] * n) for n in (40, 90)]
    group = stratified_difference(still)
    assert isinstance(group, PairedEstimate)
    assert group.interval_method == "normal"
    assert group.upper == pytest.approx(1.959964 * group.se, rel=1e-6)


def test_one_part_is_itself() -> None:
    alone = stratified_difference([SMALL])
    assert isinstance(alone, PairedEstimate)
    assert (alone.delta, alone.se) == pytest.approx((SMALL.delta, SMALL.se))
    assert (alone.lower, alone.upper) == pytest.approx((SMALL.lower, SMALL.upper))


def test_simulated_coverage() -> None:
    rng = np.random.default_rng(0)
    hits, truth = 0, (0.05 * 40 - 0.10 * 160) / 200
    for _ in range(500):
        parts = []
        for n, p01, p10 in ((40, 0.15, 0.10), (160, 0.05, 0.15)):
            fixed, broken, same = rng.multinomial(n, [p01, p10, 1 - p01 - p10])
            parts.append(part(PairedCounts(int(same), 0, int(fixed), int(broken))))
        group = stratified_difference(parts)
        assert isinstance(group, PairedEstimate)
        hits += group.lower <= truth <= group.upper
    assert 0.93 <= hits / 500 <= 0.98


def test_undetermined_parts_are_not_skipped() -> None:
    nothing = paired_difference([], [])
    assert isinstance(stratified_difference([SMALL, nothing]), Undetermined)
    with pytest.raises(UsageError, match="at least one"):
        stratified_difference([])
    other = paired_binary(PairedCounts(3, 3, 1, 1), confidence=0.9)
    with pytest.raises(UsageError, match="confidence"):
        stratified_difference([SMALL, other])


def test_degrees_of_freedom_by_welch_satterthwaite() -> None:
    rng = np.random.default_rng(1)
    parts = [paired_difference(*rng.normal(size=(2, n))) for n in (10, 30)]
    group = stratified_difference(parts)
    assert isinstance(group, PairedEstimate)
    assert group.df is not None
    assert 9 <= group.df <= 38


# ── clusters that cross the sub-tasks ────────────────────────────────────────────────────────


def _strata(seed: int, n_strata: int = 3, n: int = 50) -> list[Stratum]:
    rng = np.random.default_rng(seed)
    return [
        Stratum(rng.integers(0, 2, n), rng.integers(0, 2, n), [f"q{i}" for i in range(n)])
        for _ in range(n_strata)
    ]


def test_crossed_clusters_are_the_regression_on_strata_with_clustered_errors() -> None:
    """Against statsmodels: d on sub-task dummies, cluster-robust, the mean of fitted values."""
    strata = _strata(4)
    result = crossed_difference(strata)
    assert isinstance(result, PairedEstimate)
    d = np.concatenate([np.asarray(s.candidate) - np.asarray(s.baseline) for s in strata])
    dummies = np.kron(np.eye(3), np.ones((50, 1)))
    groups = np.tile(np.arange(50), 3)
    fit = sm.OLS(d, dummies).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    weights = np.full(3, 1 / 3)
    variance = float(weights @ fit.cov_params() @ weights) * 50 / 49
    assert result.delta == pytest.approx(float(weights @ fit.params))
    assert result.se == pytest.approx(math.sqrt(variance), rel=1e-9)
    assert (result.n, result.n_clusters) == (150, 50)
    assert result.df == pytest.approx(49)


def test_crossed_clusters_of_copies_have_the_error_of_one_copy() -> None:
    (one,) = _strata(7, n_strata=1)
    result = crossed_difference([one, one, one])
    d = np.asarray(one.candidate) - np.asarray(one.baseline)
    assert isinstance(result, PairedEstimate)
    assert result.se == pytest.approx(float(d.std(ddof=1)) / math.sqrt(50))
    assert result.counts is not None
    assert result.counts.fixed == 3 * int((d > 0).sum())


def test_crossed_clusters_swap() -> None:
    forth = crossed_difference(_strata(9))
    back = crossed_difference([Stratum(s.candidate, s.baseline, s.clusters) for s in _strata(9)])
    assert isinstance(forth, PairedEstimate)
    assert isinstance(back, PairedEstimate)
    assert forth.counts is not None
    assert back.counts is not None
    assert (back.delta, back.se) == (-forth.delta, forth.se)
    assert back.counts.fixed == forth.counts.broken
    assert (back.lower, back.upper) == pytest.approx((-forth.upper, -forth.lower))


def test_crossed_clusters_need_more_than_one() -> None:
    one = Stratum([1, 0], [0, 1], ["q", "q"])
    assert isinstance(crossed_difference([one, one]), Undetermined)
    with pytest.raises(UsageError, match="different numbers"):
        crossed_difference([Stratum([1], [0], ["a", "b"])])
