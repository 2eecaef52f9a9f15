from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from scipy.special import expit, logit

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import Estimate, Undetermined
from modeldiff_harness.stats.pairfit.fit import PairFit, fit_pair, fit_without_ties_or_bad
from modeldiff_harness.stats.pairfit.rows import FitOptions, pair_rows

ELO = 400 / np.log(10)


def fitted(result: PairFit | Undetermined) -> PairFit:
    assert isinstance(result, PairFit)
    return result


def part(estimate: Estimate | None) -> Estimate:
    assert estimate is not None
    return estimate


def test_coefficients_and_errors_against_statsmodels(battles: Any) -> None:
    fit = fitted(
        fit_pair(pair_rows(battles.y, battles.z, clusters=battles.cluster), FitOptions(ridge=0.0))
    )
    design = sm.add_constant(battles.z)
    model = sm.GLM(battles.y, design, family=sm.families.Binomial())
    groups = {"groups": battles.cluster, "use_correction": False}
    oracle = model.fit(tol=1e-12, cov_type="cluster", cov_kwds=groups)
    factor = np.sqrt(400 / 399)
    substance, raw = part(fit.elo.substance), fit.elo.raw
    assert substance.estimate == pytest.approx(ELO * oracle.params[0], abs=1e-4)
    assert substance.se == pytest.approx(ELO * oracle.bse[0] * factor, rel=1e-4)
    coefficients = [feature.coefficient for feature in fit.features]
    assert coefficients == pytest.approx(list(oracle.params[1:]), abs=1e-4)
    alone = sm.GLM(battles.y, np.ones(800), family=sm.families.Binomial())
    alone_fit = alone.fit(cov_type="cluster", cov_kwds=groups)
    assert raw.estimate == pytest.approx(ELO * alone_fit.params[0], abs=1e-4)
    assert raw.se == pytest.approx(ELO * alone_fit.bse[0] * factor, rel=1e-4)
    assert raw.estimate == pytest.approx(ELO * logit(battles.y.mean()))
    shift = ELO * battles.z.mean(axis=0) @ oracle.params[1:]
    assert part(fit.elo.style).estimate == pytest.approx(shift, abs=1e-4)


def test_ridge_is_on_the_summed_loss_and_on_scaled_style_only(battles: Any) -> None:
    from scipy.optimize import minimize

    rms = np.sqrt((battles.z**2).mean(axis=0))
    x = battles.z / rms

    def objective(theta: np.ndarray) -> float:
        eta = theta[0] + x @ theta[1:]
        return float((np.logaddexp(0, eta) - battles.y * eta).sum() + 0.5 * theta[1:] @ theta[1:])

    best = minimize(objective, np.zeros(3), method="BFGS", options={"gtol": 1e-8}).x
    fit = fitted(fit_pair(pair_rows(battles.y, battles.z), FitOptions(ridge=1.0)))
    assert part(fit.elo.substance).estimate == pytest.approx(ELO * best[0], abs=1e-3)
    coefficients = [feature.coefficient for feature in fit.features]
    assert coefficients == pytest.approx(list(best[1:] / rms), abs=1e-5)


def test_parts_add_up_in_elo_and_points(battles: Any) -> None:
    fit = fitted(fit_pair(pair_rows(battles.y, battles.z, clusters=battles.cluster)))
    parts = [part(p).estimate for p in (fit.elo.substance, fit.elo.style, fit.elo.dispersion)]
    assert sum(parts) == pytest.approx(fit.elo.raw.estimate)
    points = [
        part(p).estimate for p in (fit.points.substance, fit.points.style, fit.points.dispersion)
    ]
    assert sum(points) == pytest.approx(fit.points.raw.estimate) == 100 * (fit.win_rate - 0.5)
    assert points[0] == pytest.approx(100 * (expit(parts[0] / ELO) - 0.5))
    by_feature = [part(feature.style_elo).estimate for feature in fit.features]
    assert sum(by_feature) == pytest.approx(parts[1])
    assert fit.tie_rate == pytest.approx((battles.y == 0.5).mean())


def test_recovers_the_planted_truth(simulate: Any) -> None:
    big = simulate(np.random.default_rng(1), 100_000)
    fit = fitted(fit_pair(pair_rows(big.y, big.z, clusters=big.cluster)))
    for name, truth in big.truth.items():
        found = part(getattr(fit.elo, name))
        assert found.estimate == pytest.approx(truth, abs=4 * found.se)
        assert found.se < 3


def test_noisy_length_judge_is_all_style() -> None:
    rng = np.random.default_rng(2)
    length = rng.normal(0.4, 0.5, size=4_000)
    other = rng.normal(0.1, 0.3, size=4_000)
    y = (rng.random(4_000) < expit(1.5 * length)).astype(float)
    fit = fitted(fit_pair(pair_rows(y, np.column_stack([length, other]), names=["tokens", "bold"])))
    substance, style = part(fit.elo.substance), part(fit.elo.style)
    assert substance.lower < 0 < substance.upper
    assert style.estimate / (style.estimate + substance.estimate) == pytest.approx(1.0, abs=0.12)
    tokens, bold = (part(feature.style_elo).estimate for feature in fit.features)
    assert tokens > 20 * abs(bold)


def test_deterministic_length_judge_trips_the_guard() -> None:
    rng = np.random.default_rng(3)
    length = rng.normal(0.2, 0.5, size=(2_000, 1))
    fit = fitted(fit_pair(pair_rows((length[:, 0] > 0).astype(float), length)))
    assert "separation" in fit.flags
    assert not fit.style_controlled
    assert fit.elo.style is None
    assert fit.points.dispersion is None
    assert fit.elo.raw.lower > 0
    assert fit.features[0].style_elo is None
    assert fit.features[0].coefficient is None


def test_zero_mean_style_difference_gives_zero_style_and_negative_dispersion() -> None:
    rng = np.random.default_rng(4)
    half = rng.normal(0, 1.0, size=20_000)
    z = np.concatenate([half, -half])  # the mean is exactly zero
    y = (rng.random(40_000) < expit(0.8 + 2.0 * z)).astype(float)
    fit = fitted(fit_pair(pair_rows(y, z[:, None])))
    assert part(fit.elo.style).estimate == pytest.approx(0, abs=1e-9)
    assert part(fit.elo.substance).estimate == pytest.approx(ELO * 0.8, abs=8)
    assert part(fit.elo.dispersion).upper < -30


def test_no_style_columns_and_identical_style() -> None:
    y = np.array([1.0, 0.5, 0.0, 1.0, 1.0] * 20)
    bare = fitted(fit_pair(pair_rows(y)))
    assert "style_control_not_available" in bare.flags
    assert bare.elo.substance is None
    same = fitted(fit_pair(pair_rows(y, np.zeros((100, 2)), names=["tokens", "bold"])))
    assert {"unused_feature:tokens", "unused_feature:bold"} <= set(same.flags)
    for end in ("estimate", "lower", "upper", "se"):
        assert getattr(part(same.elo.substance), end) == pytest.approx(getattr(same.elo.raw, end))
    assert part(same.elo.style).estimate == 0
    assert part(same.elo.style).se == 0


@pytest.mark.parametrize(("outcome", "flag"), [(1.0, "all_wins"), (0.0, "all_losses")])
def test_one_sided_battles_add_half_a_win_and_half_a_loss(outcome: float, flag: str) -> None:
    z = np.random.default_rng(5).normal(size=(60, 1))
    fit = fitted(fit_pair(pair_rows(np.full(60, outcome), z)))
    expected = ELO * np.log((60 * outcome + 0.5) / (60 * (1 - outcome) + 0.5))
    assert fit.elo.raw.estimate == pytest.approx(expected)
    assert fit.elo.raw.se == pytest.approx(ELO * np.sqrt(1 / 60.5 + 1 / 0.5))
    assert flag in fit.flags
    assert fit.elo.substance is None
    assert abs(fit.points.raw.upper) <= 50
    assert abs(fit.points.raw.lower) <= 50


def test_nothing_to_fit_is_undetermined() -> None:
    assert isinstance(fit_pair(pair_rows([])), Undetermined)
    assert isinstance(fit_pair(pair_rows([], np.zeros((0, 3)))), Undetermined)
    one = fit_pair(pair_rows([1.0, 0.0], clusters=["p", "p"]))
    assert isinstance(one, Undetermined)
    assert one.n == 1


def test_collinear_features_keep_only_their_joint_effect(battles: Any) -> None:
    rng = np.random.default_rng(6)
    twin = battles.z[:, :1] + rng.normal(0, 0.05, size=(800, 1))
    z = np.column_stack([battles.z, twin])
    fit = fitted(fit_pair(pair_rows(battles.y, z, names=["tokens", "bold", "words"])))
    assert {"collinear:tokens", "collinear:words"} <= set(fit.flags)
    assert fit.features[0].style_elo is None
    assert fit.features[2].style_elo is None
    assert fit.features[1].style_elo is not None
    alone = fitted(fit_pair(pair_rows(battles.y, battles.z)))
    difference = part(fit.elo.style).estimate - part(alone.elo.style).estimate
    assert abs(difference) < part(alone.elo.style).se


def test_exact_copies_are_ill_conditioned(battles: Any) -> None:
    fit = fitted(fit_pair(pair_rows(battles.y, np.column_stack([battles.z, battles.z[:, 0]]))))
    assert "ill_conditioned" in fit.flags
    assert fit.elo.substance is None


def test_no_overlap_is_called_an_extrapolation() -> None:
    rng = np.random.default_rng(7)
    z = np.abs(rng.normal(0.8, 0.3, size=(500, 1)))
    y = (rng.random(500) < expit(z[:, 0] - 0.5)).astype(float)
    fit = fitted(fit_pair(pair_rows(y, z, names=["tokens"])))
    assert "no_overlap:tokens" in fit.flags
    assert fit.elo.substance is not None
    mostly_zero = np.where(rng.random((500, 1)) < 0.9, 0.0, z)
    assert (
        "no_overlap:tokens"
        not in fitted(fit_pair(pair_rows(y, mostly_zero, names=["tokens"]))).flags
    )


def test_fixed_coefficients_are_used_as_given(battles: Any) -> None:
    given = np.array([0.7, -0.2])
    fit = fitted(fit_pair(pair_rows(battles.y, battles.z), FitOptions(style_coefficients=given)))
    offset = battles.z @ given
    model = sm.GLM(battles.y, np.ones(800), family=sm.families.Binomial(), offset=offset)
    oracle = model.fit(cov_type="HC0")
    assert part(fit.elo.substance).estimate == pytest.approx(ELO * oracle.params[0], abs=1e-4)
    assert part(fit.elo.substance).se == pytest.approx(ELO * oracle.bse[0], rel=2e-3)
    assert part(fit.elo.style).estimate == pytest.approx(ELO * offset.mean())
    assert part(fit.elo.style).se == pytest.approx(ELO * offset.std(ddof=1) / np.sqrt(800))
    refit = fitted(fit_pair(pair_rows(battles.y, battles.z), FitOptions(ridge=0.0)))
    again = fitted(
        fit_pair(
            pair_rows(battles.y, battles.z),
            FitOptions(style_coefficients=[f.coefficient for f in refit.features]),
        )
    )
    assert part(again.elo.substance).estimate == pytest.approx(part(refit.elo.substance).estimate)


def test_position_effect_is_found_and_kept_out_of_substance() -> None:
    rng = np.random.default_rng(8)
    position = np.tile([1.0, -1.0], 8_000)
    z = rng.normal(0.2, 0.5, size=(16_000, 1))
    y = (rng.random(16_000) < expit(0.3 + z[:, 0] + 0.5 * position)).astype(float)
    fit = fitted(
        fit_pair(pair_rows(y, z, position=position, clusters=np.repeat(np.arange(8_000), 2)))
    )
    found = part(fit.position_elo)
    assert found.estimate == pytest.approx(ELO * 0.5, abs=4 * (found.se or 0))
    substance = part(fit.elo.substance)
    assert substance.estimate == pytest.approx(ELO * 0.3, abs=4 * (substance.se or 0))
    fixed = fitted(fit_pair(pair_rows(y, z, position=np.ones(16_000))))
    assert fixed.position_elo is None
    assert "position_not_identified" in fixed.flags
    tilted = np.where(rng.random(16_000) < 0.8, 1.0, -1.0)
    assert "position_unbalanced" in fitted(fit_pair(pair_rows(y, z, position=tilted))).flags


def test_other_choices_are_fits_of_the_rows_left(battles: Any) -> None:
    bad = (battles.y == 0.5) & (np.arange(800) % 2 == 0)
    rows = pair_rows(battles.y, battles.z, clusters=battles.cluster, both_bad=bad)
    found = fit_without_ties_or_bad(rows)
    assert list(found) == ["ties_dropped", "both_bad_dropped"]
    for again, kept in zip(found.values(), (battles.y != 0.5, ~bad), strict=True):
        left = pair_rows(battles.y[kept], battles.z[kept], clusters=battles.cluster[kept])
        assert fitted(again).n_battles == kept.sum()
        direct = fitted(fit_pair(left))
        for name in ("raw", "substance", "style", "dispersion"):
            own, other = part(getattr(fitted(again).elo, name)), part(getattr(direct.elo, name))
            assert (own.lower, own.upper) == pytest.approx((other.lower, other.upper))
    all_ties = fit_without_ties_or_bad(pair_rows([0.5] * 5))
    assert all_ties == {"ties_dropped": Undetermined("no battles", 0)}
    assert fit_without_ties_or_bad(pair_rows([1.0, 0.0, 1.0])) == {}


def test_few_clusters_use_t(battles: Any) -> None:
    picked = battles.cluster < 20
    fit = fitted(fit_pair(pair_rows(battles.y[picked], clusters=battles.cluster[picked])))
    assert fit.df == 19
    assert "few_clusters" in fit.flags
    raw = fit.elo.raw
    assert (raw.df, raw.method) == (19, "t")
    assert (raw.upper - raw.estimate) / (raw.se or 0) == pytest.approx(stats.t.ppf(0.975, 19))


def test_integer_weights_are_repeated_rows(battles: Any) -> None:
    weight = 1 + np.arange(800) % 3
    repeated = np.repeat(np.arange(800), weight)
    weighted = fitted(
        fit_pair(
            pair_rows(battles.y, battles.z, clusters=battles.cluster, weights=weight),
            FitOptions(ridge=0.0),
        )
    )
    expanded = fitted(
        fit_pair(
            pair_rows(battles.y[repeated], battles.z[repeated], clusters=battles.cluster[repeated]),
            FitOptions(ridge=0.0),
        )
    )
    assert weighted.n_clusters == expanded.n_clusters
    for name in ("elo.raw", "elo.substance", "elo.style", "elo.dispersion", "points.style"):
        one, two = part(attrgetter(name)(weighted)), part(attrgetter(name)(expanded))
        assert (one.lower, one.upper) == pytest.approx((two.lower, two.upper), abs=1e-6)


def test_bad_input_says_what_is_wrong() -> None:
    y, z = [1.0, 0.0, 0.5], np.zeros((3, 2))
    for call, message in (
        (lambda: fit_pair(pair_rows([2.0])), "outcomes"),
        (lambda: fit_pair(pair_rows(y, z[:2])), "style must be finite"),
        (lambda: fit_pair(pair_rows(y, z, names=["a"])), "feature names"),
        (lambda: fit_pair(pair_rows(y, z, names=["a", "a"])), "different"),
        (lambda: fit_pair(pair_rows(y, z, weights=[-1.0, 1.0, 1.0])), "weights"),
        (lambda: fit_pair(pair_rows(y, z, position=[2.0, 0.0, 0.0])), "position"),
        (
            lambda: fit_pair(pair_rows(y, z), FitOptions(style_coefficients=[1.0])),
            "style_coefficients",
        ),
        (lambda: fit_pair(pair_rows(y, z), FitOptions(ridge=50.0)), "shrinks style"),
        (lambda: fit_pair(pair_rows(y, z, clusters=[1])), "cluster labels"),
    ):
        with pytest.raises(UsageError, match=message):
            call()


def test_a_clean_sweep_with_uneven_weights_is_still_one() -> None:
    weights = np.random.default_rng(9).random(1_001)
    fit = fitted(fit_pair(pair_rows(np.ones(1_001), np.ones((1_001, 1)), weights=weights)))
    assert "all_wins" in fit.flags
    assert fit.win_rate == 1.0
