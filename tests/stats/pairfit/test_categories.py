from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from scipy.special import expit

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import Undetermined
from modeldiff_harness.stats.pairfit.categories import CategoryFits, fit_categories
from modeldiff_harness.stats.pairfit.fit import PairFit, fit_pair
from modeldiff_harness.stats.pairfit.rows import FitOptions, pair_rows

ELO = 400 / np.log(10)


def fitted(result: CategoryFits | Undetermined) -> CategoryFits:
    assert isinstance(result, CategoryFits)
    return result


def test_shared_slopes_and_intercepts_against_statsmodels(battles: Any) -> None:
    label = battles.cluster % 3
    names = [(f"c{c}",) for c in label]
    fits = fitted(
        fit_categories(
            pair_rows(battles.y, battles.z, clusters=battles.cluster), names, FitOptions(ridge=0.0)
        )
    )
    design = np.column_stack([np.eye(3)[label], battles.z])
    groups = {"groups": battles.cluster, "use_correction": False}
    oracle = sm.GLM(battles.y, design, family=sm.families.Binomial()).fit(
        tol=1e-12, cov_type="cluster", cov_kwds=groups
    )
    for j, row in enumerate(fits.categories):
        assert row.name == f"c{j}"
        assert row.n_battles == (label == j).sum()
        assert row.n_prompts == len(set(battles.cluster[label == j]))
        assert row.substance_elo is not None
        assert row.substance_elo.estimate == pytest.approx(ELO * oracle.params[j], abs=1e-4)
        factor = np.sqrt(row.n_prompts / (row.n_prompts - 1))
        assert row.substance_elo.se == pytest.approx(ELO * oracle.bse[j] * factor, rel=1e-4)
    contrast = np.array([[1, -1, 0, 0, 0], [1, 0, -1, 0, 0]])
    test = oracle.wald_test(contrast, use_f=False, scalar=True)
    scaled = test.statistic * (399 / 400) * (400 - 2) / (399 * 2)
    assert fits.heterogeneity_p == pytest.approx(stats.f.sf(scaled, 2, 398), rel=1e-3)


def test_one_category_is_the_pair_fit(battles: Any) -> None:
    fits = fitted(
        fit_categories(pair_rows(battles.y, battles.z, clusters=battles.cluster), [("all",)] * 800)
    )
    whole = fit_pair(pair_rows(battles.y, battles.z, clusters=battles.cluster))
    assert isinstance(whole, PairFit)
    (row,) = fits.categories
    for name in ("raw", "substance"):
        own, other = getattr(row, f"{name}_elo"), getattr(whole.elo, name)
        assert (own.lower, own.upper) == pytest.approx((other.lower, other.upper), abs=1e-6)
    assert isinstance(fits.heterogeneity_p, Undetermined)


def test_heterogeneity_is_found_and_its_false_alarms_are_rare() -> None:
    rng = np.random.default_rng(0)
    names = [(f"c{i % 4}",) for i in range(400)]
    p_values = []
    for _ in range(300):
        y = (rng.random(400) < 0.55).astype(float)
        p = fitted(fit_categories(pair_rows(y), names)).heterogeneity_p
        assert isinstance(p, float)
        p_values.append(p)
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.03)
    shift = np.array([0.0, 0.0, 0.0, 1.5])[np.arange(400) % 4]
    planted = fitted(
        fit_categories(pair_rows((rng.random(400) < expit(shift)).astype(float)), names)
    )
    assert isinstance(planted.heterogeneity_p, float)
    assert planted.heterogeneity_p < 1e-3
    assert [row.q_value is not None and row.q_value < 0.05 for row in planted.categories] == [
        False,
        False,
        False,
        True,
    ]
    assert planted.tested == "raw"


def test_battles_may_lie_in_several_categories(battles: Any) -> None:
    names = [("a", "b") if c % 2 else ("b",) for c in battles.cluster]
    fits = fitted(fit_categories(pair_rows(battles.y, clusters=battles.cluster), names))
    a, b = fits.categories
    odd = battles.cluster % 2 == 1
    for row, kept in ((a, odd), (b, np.ones(800, bool))):
        alone = fit_pair(pair_rows(battles.y[kept], clusters=battles.cluster[kept]))
        assert isinstance(alone, PairFit)
        assert row.raw_elo is not None
        assert (row.raw_elo.lower, row.raw_elo.upper) == pytest.approx(
            (alone.elo.raw.lower, alone.elo.raw.upper)
        )
    # The same battles twice leave nothing to compare.
    twice = fitted(
        fit_categories(pair_rows(battles.y, clusters=battles.cluster), [("a", "b")] * 800)
    )
    assert isinstance(twice.heterogeneity_p, Undetermined)


def test_one_sided_small_and_single_prompt_categories() -> None:
    rng = np.random.default_rng(1)
    y = np.concatenate([(rng.random(200) < 0.6), np.ones(20), [1.0, 0.0]]).astype(float)
    names = [("mixed",)] * 200 + [("won",)] * 20 + [("lone",)] * 2
    clusters = [*range(220), 220, 220]
    fits = fitted(fit_categories(pair_rows(y, rng.normal(size=(222, 1)), clusters=clusters), names))
    lone, mixed, won = fits.categories
    assert lone.flags == ("one_cluster",)
    assert lone.raw_elo is None
    assert won.flags == ("all_wins",)
    assert won.substance_elo is None
    assert won.raw_elo is not None
    assert won.raw_elo.estimate == pytest.approx(ELO * np.log(20.5 / 0.5))
    assert mixed.substance_elo is not None
    assert (mixed.few_prompts, won.few_prompts) == (False, True)


def test_swap_negates_categories(battles: Any) -> None:
    names = [(f"c{c % 5}",) for c in battles.cluster]
    forward = fitted(
        fit_categories(pair_rows(battles.y, battles.z, clusters=battles.cluster), names)
    )
    backward = fitted(
        fit_categories(pair_rows(1 - battles.y, -battles.z, clusters=battles.cluster), names)
    )
    assert forward.heterogeneity_p == pytest.approx(backward.heterogeneity_p)
    for one, two in zip(forward.categories, backward.categories, strict=True):
        assert one.q_value == pytest.approx(two.q_value)
        assert one.substance_elo is not None
        assert two.substance_elo is not None
        assert one.substance_elo.lower == pytest.approx(-two.substance_elo.upper, abs=1e-6)


def test_nothing_to_fit_and_bad_input() -> None:
    assert isinstance(fit_categories(pair_rows([1.0, 0.0]), [(), ()]), Undetermined)
    assert isinstance(fit_categories(pair_rows([1.0]), [("a",)]), Undetermined)
    with pytest.raises(UsageError, match="category lists"):
        fit_categories(pair_rows([1.0, 0.0]), [("a",)])
