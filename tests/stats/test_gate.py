from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import Estimate, Undetermined
from modeldiff_harness.stats.gate import Criterion, decide_criteria, style_driven_gain
from modeldiff_harness.stats.gate_rates import operating_characteristics, simulate_gate

Z90 = stats.norm.ppf(0.95)


def whole(criteria: Iterable[Criterion]) -> str:
    """The gate's verdict when every criterion is required."""
    found = {decision.verdict for decision in decide_criteria(list(criteria))}
    return "FAIL" if "FAIL" in found else "PASS" if found == {"PASS"} else "INCONCLUSIVE"


def decide_one(estimate: float, se: float, margin: float = 2.0) -> str:
    (decision,) = decide_criteria([Criterion("one", estimate, se, margin)])
    return decision.verdict


@pytest.mark.parametrize(
    ("estimate", "se", "verdict"),
    [
        (0.0, 1.0, "PASS"),  # lower -1.64 > -2
        (0.0, 1.3, "INCONCLUSIVE"),  # lower -2.14: too wide
        (-1.9, 0.01, "PASS"),  # worse, but within the margin
        (-2.1, 0.5, "FAIL"),
        (-2.1, 2.0, "INCONCLUSIVE"),  # beyond the margin, not significant
        (-1.9, 0.5, "INCONCLUSIVE"),  # significant, yet short of the margin
        (5.0, 1.0, "PASS"),
    ],
)
def test_one_criterion(estimate: float, se: float, verdict: str) -> None:
    assert decide_one(estimate, se) == verdict


def test_amber_is_a_pass_that_is_worse() -> None:
    (decision,) = decide_criteria([Criterion("one", -1.0, 0.2, 2.0)])
    assert decision.verdict == "PASS"
    assert decision.worse_but_tolerated
    assert decision.lower == pytest.approx(-1 - Z90 * 0.2)
    (fine,) = decide_criteria([Criterion("one", 0.0, 0.2, 2.0)])
    assert not fine.worse_but_tolerated


def test_holm_over_the_criteria_decides_significance() -> None:
    loss = Criterion("loss", -2.0, 1.0, 1.0)  # one-sided p = 0.023
    assert decide_criteria([loss])[0].verdict == "FAIL"
    others = [Criterion(f"c{i}", 0.0, 0.1, 1.0) for i in range(3)]
    among = decide_criteria([loss, *others])
    assert [one.verdict for one in among] == ["INCONCLUSIVE", "PASS", "PASS", "PASS"]
    assert among[0].loss_p == pytest.approx(stats.norm.cdf(-2.0))
    assert among[0].loss_p_holm == pytest.approx(4 * stats.norm.cdf(-2.0))


def test_undetermined_is_inconclusive() -> None:
    (decision,) = decide_criteria([Criterion("none", Undetermined("no items", 0), 0.0, 1.0)])
    assert (decision.verdict, decision.lower, decision.loss_p) == ("INCONCLUSIVE", None, None)


def test_given_interval_exact_p_and_t() -> None:
    exact = Criterion("exact", -3.0, 1.0, 2.0, interval=(-4.5, -1.0), loss_p=0.20)
    assert decide_criteria([exact])[0].verdict == "INCONCLUSIVE"
    passing = Criterion("narrow", -1.0, 5.0, 2.0, interval=(-1.9, -0.5), loss_p=0.01)
    assert decide_criteria([passing])[0].verdict == "PASS"
    (with_t,) = decide_criteria([Criterion("t", 0.0, 1.0, 2.0, df=4)])
    assert with_t.lower == pytest.approx(-stats.t.ppf(0.95, 4))
    assert with_t.verdict == "INCONCLUSIVE"


def test_noise_floor_widens_interval_and_null() -> None:
    quiet, noisy = Criterion("c", -2.0, 1.0, 1.0), Criterion("c", -2.0, 1.0, 1.0, noise_se=2.0)
    assert decide_criteria([quiet])[0].verdict == "FAIL"
    (widened,) = decide_criteria([noisy])
    assert widened.verdict == "INCONCLUSIVE"
    assert widened.upper == pytest.approx(-2 + Z90 * math.sqrt(5))
    given_interval = Criterion("c", 0.0, 1.0, 5.0, interval=(-3.0, 4.0), noise_se=4 / Z90)
    assert decide_criteria([given_interval])[0].lower == pytest.approx(-5.0)


def test_operating_characteristics_against_simulation() -> None:
    rng = np.random.default_rng(0)
    for point in operating_characteristics(se=0.8, margin=2.0):
        drawn = rng.normal(point.true_delta, 0.8, size=40_000)
        verdicts = np.array([drawn - Z90 * 0.8 > -2.0, (drawn <= -2.0) & (drawn <= -Z90 * 0.8)])
        assert point.p_pass == pytest.approx(verdicts[0].mean(), abs=0.01)
        assert point.p_fail == pytest.approx(verdicts[1].mean(), abs=0.01)
        assert point.p_pass + point.p_fail + point.p_inconclusive == pytest.approx(1)


def test_operating_characteristics_at_their_fixed_points() -> None:
    zero, half, at_margin, double = operating_characteristics(se=1.0, margin=2.0, n_criteria=5)
    assert [p.true_delta for p in (zero, half, at_margin, double)] == [0.0, -1.0, -2.0, -4.0]
    assert at_margin.p_pass == pytest.approx(0.05)
    assert zero.p_fail == pytest.approx(0.01)
    assert double.p_fail > at_margin.p_fail > half.p_fail


@pytest.mark.parametrize("margin", [0.5, 2.0])
def test_family_wise_false_block_at_no_difference(margin: float) -> None:
    rates = simulate_gate([1.0] * 6, [margin] * 6, [0.0] * 6, n_runs=40_000)
    assert rates.verdicts["FAIL"] <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 40_000)


def test_simulated_gate_agrees_with_deciding_one_by_one() -> None:
    ses, margins, truths = [1.0, 0.5, 2.0], [2.0, 1.0, 3.0], [-2.0, 0.0, -4.0]
    drawn = np.asarray(truths) + np.asarray(ses) * np.random.default_rng(7).standard_normal(
        (2_000, 3)
    )
    verdicts = [
        whole(
            Criterion(str(i), x, se, margin)
            for i, (x, se, margin) in enumerate(zip(row, ses, margins, strict=True))
        )
        for row in drawn.tolist()
    ]
    rates = simulate_gate(ses, margins, truths, n_runs=2_000, seed=7)
    for verdict, rate in rates.verdicts.items():
        assert rate == pytest.approx(verdicts.count(verdict) / 2_000)


@settings(deadline=None)
@given(estimate=st.floats(-10, 10), se=st.floats(0.01, 5), margin=st.floats(0.1, 5))
def test_a_better_estimate_is_never_judged_worse(estimate: float, se: float, margin: float) -> None:
    rank = {"FAIL": 0, "INCONCLUSIVE": 1, "PASS": 2}
    assert rank[decide_one(estimate, se, margin)] <= rank[decide_one(estimate + 0.5, se, margin)]


def test_style_driven_gain() -> None:
    gain, none, loss = (
        Estimate(30, 10, 50, 10),
        Estimate(5, -15, 25, 10),
        Estimate(-30, -50, -10, 10),
    )
    assert style_driven_gain(gain, none, gain) is True
    assert style_driven_gain(gain, loss, gain) is True
    assert style_driven_gain(gain, gain, gain) is False
    assert style_driven_gain(none, none, gain) is False
    assert style_driven_gain(gain, none, none) is False
    assert style_driven_gain(gain, None, None) is None


def test_bad_criteria_are_refused() -> None:
    for call in (
        lambda: Criterion("c", 0.0, 1.0, 0.0),
        lambda: Criterion("c", 0.0, -1.0, 1.0),
        lambda: Criterion("c", 0.0, 0.0, 1.0),
        lambda: Criterion("c", 0.0, 1.0, 1.0, loss_p=1.5),
        lambda: Criterion("c", 0.0, 1.0, 1.0, interval=(1.0, -1.0)),
        lambda: decide_criteria([]),
        lambda: decide_criteria([Criterion("c", 0.0, 1.0, 1.0)] * 2),
        lambda: operating_characteristics(0.0, 1.0),
        lambda: simulate_gate([1.0], [1.0, 2.0], [0.0]),
    ):
        with pytest.raises(UsageError):
            call()
