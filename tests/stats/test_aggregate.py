from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.aggregate import aggregate_difference, summed_difference
from modeldiff_harness.stats.estimates import PairedEstimate, Undetermined
from modeldiff_harness.stats.paired import paired_difference


def mean(records: Sequence[float]) -> float:
    return sum(records) / len(records)


def perplexity(records: Sequence[tuple[float, int]]) -> float:
    return math.exp(-sum(loglik for loglik, _ in records) / sum(length for _, length in records))


def test_of_a_mean_it_is_the_paired_difference() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=250)
    cand = base + rng.normal(0.1, 0.5, size=250)
    joint = aggregate_difference(base.tolist(), cand.tolist(), mean, n_resamples=2_000)
    direct = paired_difference(base, cand)
    assert isinstance(joint, PairedEstimate)
    assert isinstance(direct, PairedEstimate)
    assert joint.delta == pytest.approx(direct.delta)
    assert joint.se == pytest.approx(direct.se, rel=0.06)
    assert (joint.lower, joint.upper) == pytest.approx((direct.lower, direct.upper), abs=0.01)


def test_perplexity_against_the_delta_method() -> None:
    rng = np.random.default_rng(1)
    lengths = rng.integers(20, 200, size=300)
    base = [
        (-2.0 * n + math.sqrt(n) * e, int(n))
        for n, e in zip(lengths, rng.normal(size=300), strict=True)
    ]
    cand = [(ll - 0.1 * n, n) for ll, n in base]
    result = aggregate_difference(base, cand, perplexity)
    assert isinstance(result, PairedEstimate)
    # The candidate loses 0.1 nat on every token: its perplexity is exp(0.1) times the baseline's.
    assert result.candidate == pytest.approx(result.baseline * math.exp(0.1))
    rate = np.array([-ll - math.log(result.baseline) * n for ll, n in base])
    log_se = math.sqrt((rate**2).sum()) / lengths.sum()
    assert result.se == pytest.approx(result.delta * log_se, rel=0.12)
    assert result.lower > 0
    assert result.p_value == pytest.approx(2 / 1001)


def test_clusters_are_drawn_whole() -> None:
    rng = np.random.default_rng(2)
    d = np.repeat(rng.normal(size=40), 10)
    zeros = np.zeros(400).tolist()
    cluster = np.repeat(np.arange(40), 10)
    result = aggregate_difference(zeros, d.tolist(), mean, clusters=cluster)
    assert isinstance(result, PairedEstimate)
    assert result.n_clusters == 40
    assert result.se == pytest.approx(d[::10].std() / math.sqrt(40), rel=0.1)


def test_swap_negates_with_one_seed() -> None:
    rng = np.random.default_rng(3)
    base, cand = rng.normal(size=(2, 50)).tolist()
    one = aggregate_difference(base, cand, mean, seed=4)
    two = aggregate_difference(cand, base, mean, seed=4)
    assert isinstance(one, PairedEstimate)
    assert isinstance(two, PairedEstimate)
    assert (two.delta, two.lower, two.upper) == pytest.approx((-one.delta, -one.upper, -one.lower))
    assert two.p_value == one.p_value


def test_what_cannot_be_resampled_is_undetermined() -> None:
    assert isinstance(aggregate_difference([], [], mean), Undetermined)
    assert isinstance(aggregate_difference([1.0], [2.0], mean), Undetermined)
    constant = aggregate_difference([1.0, 2.0], [2.0, 3.0], mean)
    assert isinstance(constant, Undetermined)
    assert constant.delta == pytest.approx(1.0)

    def defined_with_both(records: Sequence[float]) -> float:
        return mean(records) if len(set(records)) > 1 else math.nan

    often = aggregate_difference([0.0, 1.0, 2.0], [1.0, 5.0, 2.0], defined_with_both)
    assert isinstance(often, Undetermined)
    assert "resamples" in often.reason
    with pytest.raises(UsageError, match="align"):
        aggregate_difference([1.0], [], mean)


# ── metrics of sums ──────────────────────────────────────────────────────────────────────────


def by_ratio(sums: np.ndarray) -> float:
    return math.exp(-float(sums[0]) / float(sums[1]))


def pairs(seed: int, n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    words = rng.integers(3, 30, n)
    return tuple(
        np.stack([-words * rng.gamma(4, scale, n), words], axis=1).astype(float)
        for scale in (0.3, 0.27)
    )  # type: ignore[return-value]


def test_sums_and_records_are_the_same_bootstrap() -> None:
    base, cand = pairs(0)
    left, right = ([(a, int(b)) for a, b in side.tolist()] for side in (base, cand))
    slow = aggregate_difference(left, right, perplexity, n_resamples=800, seed=5)
    fast = summed_difference(base, cand, by_ratio, n_resamples=800, seed=5)
    assert isinstance(slow, PairedEstimate)
    assert isinstance(fast, PairedEstimate)
    same = ("baseline", "candidate", "delta", "se", "lower", "upper", "p_value", "n")
    for name in same:
        assert getattr(fast, name) == pytest.approx(getattr(slow, name)), name


def test_of_a_ratio_it_is_the_delta_method() -> None:
    """se² = Σ u_i² with u_i the influence of an item on the difference of exp(−a/b)."""
    base, cand = pairs(3, 600)
    result = summed_difference(base, cand, by_ratio)
    assert isinstance(result, PairedEstimate)

    def influence(side: np.ndarray) -> np.ndarray:
        a, b = side.sum(axis=0)
        value = math.exp(-a / b)
        return -value * (side[:, 0] / b - a * side[:, 1] / b**2)

    expected = math.sqrt(float(((influence(cand) - influence(base)) ** 2).sum()))
    assert result.se == pytest.approx(expected, rel=0.05)


def test_sums_within_clusters_widen_the_interval() -> None:
    base, cand = (np.repeat(side, 4, axis=0) for side in pairs(1, 40))
    labels = np.repeat(np.arange(40), 4).tolist()
    alone = summed_difference(base, cand, by_ratio)
    together = summed_difference(base, cand, by_ratio, labels)
    assert isinstance(alone, PairedEstimate)
    assert isinstance(together, PairedEstimate)
    assert together.n_clusters == 40
    assert together.se == pytest.approx(2 * alone.se, rel=0.1)


def test_sums_that_cannot_be_compared_are_refused_or_undetermined() -> None:
    base, cand = pairs(2)
    with pytest.raises(UsageError, match="align them first"):
        summed_difference(base, cand[:-1], by_ratio)
    with pytest.raises(UsageError, match="not finite"):
        summed_difference(base * math.nan, cand, by_ratio)
    same = summed_difference(base, base, by_ratio)
    assert isinstance(same, Undetermined)
    assert "never varies" in same.reason
    nothing = summed_difference(np.zeros((9, 2)), np.zeros((9, 2)), by_ratio)
    assert isinstance(nothing, Undetermined)
    assert "undefined" in nothing.reason
