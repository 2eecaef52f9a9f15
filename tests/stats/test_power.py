from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats import power
from modeldiff_harness.stats.paired_binary import mcnemar_mid_p


def test_elo_per_logit() -> None:
    assert pytest.approx(173.7178, abs=1e-4) == power.ELO_PER_LOGIT


def test_mde_of_a_continuous_metric_against_statsmodels() -> None:
    effect = TTestPower().solve_power(nobs=2_000, alpha=0.05, power=0.8)
    assert power.mde(2_000, 3.0**2) == pytest.approx(3.0 * effect, rel=2e-3)


def test_a_difference_of_the_mde_is_found_with_the_stated_power() -> None:
    n, p10 = 600, 0.06
    p01 = 0.06
    for _ in range(50):  # the discordance that belongs to the effect itself
        p01 = p10 + power.mde(n, p01 + p10 - (p01 - p10) ** 2)
    rng = np.random.default_rng(0)
    tables = rng.multinomial(n, [p01, p10, 1 - p01 - p10], size=2_000)
    found = np.mean([mcnemar_mid_p(int(a), int(b)) < 0.05 for a, b, _ in tables])
    assert found == pytest.approx(0.80, abs=0.03)


def elo_half_width(n_prompts: int) -> float:
    return 1.959964 * math.sqrt(power.elo_variance() / n_prompts)


def test_figures_of_the_design() -> None:
    # 200 items at 10 % discordance resolve ±3.7 points; 1 point needs about 2,700 items.
    assert 100 * power.mde(200, 0.10, 0.90, power=0.5) == pytest.approx(3.7, abs=0.05)
    assert power.items_for_margin(0.01, 0.10, power=0.5) == pytest.approx(2_700, rel=0.01)
    assert elo_half_width(100) == pytest.approx(64, rel=0.02)
    assert elo_half_width(500) == pytest.approx(28, rel=0.02)
    assert elo_half_width(2_000) == pytest.approx(14, rel=0.02)


@pytest.mark.parametrize("effect", [0.01, 0.037, 0.2])
def test_items_are_the_fewest(effect: float) -> None:
    n = power.items_for_margin(effect, 0.17, confidence=0.95)
    assert power.mde(n, 0.17) <= effect < power.mde(n - 1, 0.17)


def test_margin_power_by_simulation() -> None:
    n = power.items_for_margin(0.03, 0.10, power=0.8)
    estimates = np.random.default_rng(1).normal(0, math.sqrt(0.10 / n), size=20_000)
    passed = estimates - stats.norm.ppf(0.95) * math.sqrt(0.10 / n) > -0.03
    assert passed.mean() == pytest.approx(0.80, abs=0.01)


def test_elo_precision_of_independent_battles_is_the_binomial_one() -> None:
    p, n = 0.6, 400
    own = power.elo_variance(tie_rate=0, order_correlation=1, win_rate=p, variance_inflation=1)
    assert math.sqrt(own / n) == pytest.approx(power.ELO_PER_LOGIT / math.sqrt(n * p * (1 - p)))


def test_bad_sizes_are_refused() -> None:
    for call in (
        lambda: power.mde(0, 0.1),
        lambda: power.mde(10, -0.1),
        lambda: power.mde(10, 0.1, power=1.0),
        lambda: power.items_for_margin(0.0, 0.1),
        lambda: power.elo_variance(tie_rate=1.0),
        lambda: power.elo_variance(win_rate=1.0),
    ):
        with pytest.raises(UsageError):
            call()


def test_few_clusters_detect_less_than_the_normal_says() -> None:
    """At 5 clusters 2.776 + 0.941 = 3.72 standard errors, not 2.80."""
    assert power.mde(1, 1.0, df=4) == pytest.approx(stats.t.ppf(0.975, 4) + stats.t.ppf(0.8, 4))
    assert power.mde(1, 1.0, df=4) == pytest.approx(3.72, abs=0.01)
    assert power.mde(1, 1.0) == pytest.approx(2.80, abs=0.005)
