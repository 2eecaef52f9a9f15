from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.aggregate import aggregate_difference
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
