from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.gate import Criterion, decide_criteria
from modeldiff_harness.stats.gate_rates import (
    operating_characteristics,
    simulate_binary_gate,
    simulate_gate,
)
from modeldiff_harness.stats.paired_binary import bonett_price_interval

N_RUNS = 20_000


def slack(rate: float, n_runs: int = N_RUNS) -> float:
    """Four standard errors of a simulated rate."""
    return 4 * math.sqrt(max(rate * (1 - rate), 1e-4) / n_runs)


# Every gate of equal models blocks at most one release in twenty, whatever the margin: the
# smallest margins are the hardest, for then the estimate alone hardly ever saves the candidate.
@pytest.mark.parametrize("n", [12, 60, 400])
@pytest.mark.parametrize("discordance", [0.02, 0.10, 0.60])
@pytest.mark.parametrize("margin", [0.001, 0.02])
def test_equal_models_are_blocked_at_most_one_time_in_twenty(n, discordance, margin):
    for k in (1, 8):
        rates = simulate_binary_gate([n] * k, [discordance] * k, [margin] * k, [0.0] * k, N_RUNS)
        assert rates.verdicts["FAIL"] <= 0.05 + slack(0.05)


def test_the_false_block_rate_is_used_up_where_it_can_be():
    """The bound is no accident of a gate that never blocks."""
    rates = simulate_gate([1.0] * 5, [0.01] * 5, [0.0] * 5, N_RUNS)
    assert rates.verdicts["FAIL"] == pytest.approx(1 - (1 - 0.01) ** 5, abs=0.006)


@pytest.mark.parametrize(("n", "discordance", "margin"), [(600, 0.10, 0.03), (1319, 0.17, 0.02)])
def test_power_of_items_is_what_the_closed_form_says(n, discordance, margin):
    se = math.sqrt(discordance / n)
    for point in operating_characteristics(se, margin):
        truth = point.true_delta
        rates = simulate_binary_gate([n], [discordance], [margin], [truth], N_RUNS).criteria[0]
        # The exact test and the two pseudo-items cost a little at the edge of the margin.
        assert rates["PASS"] == pytest.approx(point.p_pass, abs=0.03)
        assert rates["FAIL"] == pytest.approx(point.p_fail, abs=0.04)


def test_a_candidate_at_its_margin_passes_one_time_in_twenty():
    rates = simulate_binary_gate([2000], [0.2], [0.03], [-0.03], N_RUNS)
    assert rates.verdicts["PASS"] == pytest.approx(0.05, abs=0.01)


def test_simulated_items_are_decided_as_the_gate_decides_them():
    ns, shares, margins, truths = [80, 300], [0.25, 0.1], [0.05, 0.03], [-0.06, -0.05]
    rates = simulate_binary_gate(ns, shares, margins, truths, n_runs=600, seed=3)
    rng = np.random.default_rng(3)
    cells = [
        rng.multinomial(n, [(w + t) / 2, (w - t) / 2, 1 - w], size=600)
        for n, w, t in zip(ns, shares, truths, strict=True)
    ]
    found = []
    for run in range(600):
        criteria = []
        for i, n in enumerate(ns):
            fixed, broken = (int(x) for x in cells[i][run, :2])
            p = stats.binomtest(fixed, fixed + broken, 0.5, "less").pvalue if fixed + broken else 1
            low, high, se = bonett_price_interval(fixed, broken, n, 0.90)
            criteria.append(
                Criterion(str(i), (fixed - broken) / n, se, margins[i], interval=(low, high),
                          loss_p=min(1.0, float(p)))
            )  # fmt: skip
        each = {decision.verdict for decision in decide_criteria(criteria)}
        whole = "PASS" if each == {"PASS"} else "INCONCLUSIVE"
        found.append("FAIL" if "FAIL" in each else whole)
    for verdict, rate in rates.verdicts.items():
        assert rate == pytest.approx(found.count(verdict) / 600)


@settings(deadline=None, max_examples=40)
@given(
    k=st.integers(1, 4),
    n=st.integers(5, 500),
    discordance=st.floats(0, 1),
    truth=st.floats(-0.3, 0.3),
)
def test_rates_are_shares_that_add_up(k, n, discordance, truth):
    rates = simulate_binary_gate([n] * k, [discordance] * k, [0.02] * k, [truth] * k, 200)
    for one in (rates.verdicts, *rates.criteria):
        assert sum(one.values()) == pytest.approx(1)
        assert min(one.values()) >= 0
    assert rates.verdicts["PASS"] <= min(one["PASS"] for one in rates.criteria)
    assert rates.verdicts["FAIL"] >= max(one["FAIL"] for one in rates.criteria)


def test_impossible_simulations_are_refused():
    for call in (
        lambda: simulate_binary_gate([10], [0.1], [0.02], [0.0, 0.0]),
        lambda: simulate_binary_gate([], [], [], []),
        lambda: simulate_binary_gate([0], [0.1], [0.02], [0.0]),
        lambda: simulate_binary_gate([10], [1.2], [0.02], [0.0]),
        lambda: simulate_binary_gate([10], [-0.2], [0.02], [0.0]),
        lambda: simulate_binary_gate([10], [0.2], [0.0], [0.0]),
    ):
        with pytest.raises(UsageError):
            call()
