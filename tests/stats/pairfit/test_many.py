"""Many models: the pair among them, against statsmodels and the pair fit, and by simulation."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import Undetermined
from modeldiff_harness.stats.pairfit.fit import PairFit, fit_pair
from modeldiff_harness.stats.pairfit.many import (
    ManyFit,
    ManyRows,
    fit_among_many,
    fit_among_many_otherwise,
    many_rows,
)
from modeldiff_harness.stats.pairfit.rows import FitOptions, pair_rows

ELO = 400 / np.log(10)
PARTS = ("elo.raw", "elo.substance", "elo.style", "elo.dispersion")
POINTS = ("points.raw", "points.substance", "points.style", "points.dispersion")
STRENGTH = {"m0": 0.0, "m1": 0.4, "m2": -0.3, "m3": 0.8, "m4": 0.1}
LENGTH = {"m0": 0.0, "m1": 0.5, "m2": -0.2, "m3": 0.3, "m4": 0.0}


def arena(
    seed: int, n: int, *, g: float = 1.0, first: float = 0.0, per_cluster: int = 2
) -> dict[str, Any]:
    """Battles of five models; a model's answers are long by its own habit."""
    rng = np.random.default_rng(seed)
    names = np.array(sorted(STRENGTH))
    picks = np.array([rng.choice(5, 2, replace=False) for _ in range(n)])
    a, b = names[picks[:, 0]], names[picks[:, 1]]
    habit = np.array([LENGTH[x] - LENGTH[y] for x, y in zip(a, b, strict=True)])
    z = np.stack([habit + rng.normal(0, 0.5, n), rng.normal(0, 0.4, n)], axis=1)
    gap = np.array([STRENGTH[x] - STRENGTH[y] for x, y in zip(a, b, strict=True)])
    won = rng.random(n) < expit(gap + g * z[:, 0] + first)
    y = np.where(rng.random(n) < 0.1, 0.5, won.astype(float))
    return {
        "outcomes_a": y,
        "model_a": a.tolist(),
        "model_b": b.tolist(),
        "style_a_minus_b": z,
        "feature_names": ("tokens", "bold"),
        "clusters": np.arange(n) // per_cluster,
    }


def gathered(
    *,
    baseline: str,
    candidate: str,
    model_a: list[str],
    model_b: list[str],
    outcomes_a: Any,
    style_a_minus_b: Any,
    feature_names: Any = None,
    clusters: Any = None,
    a_first: Any = None,
) -> ManyRows:
    rows = pair_rows(
        outcomes_a, style_a_minus_b, names=feature_names, clusters=clusters, position=a_first
    )
    return many_rows(rows, model_a, model_b, baseline=baseline, candidate=candidate)


def among(data: dict[str, Any], baseline: str, candidate: str) -> PairFit:
    """The pair's fit within all battles."""
    return fitted(fit_among_many(gathered(**data, baseline=baseline, candidate=candidate))).pair


def fitted(result: ManyFit | Undetermined) -> ManyFit:
    assert isinstance(result, ManyFit)
    return result


def test_two_models_are_the_pair_fit(battles: Any) -> None:
    rng = np.random.default_rng(1)
    forward = rng.random(800) < 0.5
    sign = np.where(forward, 1.0, -1.0)
    pair = fit_pair(pair_rows(battles.y, battles.z, clusters=battles.cluster, position=sign))
    many = fitted(
        fit_among_many(
            gathered(
                outcomes_a=np.where(forward, battles.y, 1 - battles.y),
                model_a=np.where(forward, "c", "b").tolist(),
                model_b=np.where(forward, "b", "c").tolist(),
                baseline="b",
                candidate="c",
                style_a_minus_b=battles.z * sign[:, None],
                clusters=battles.cluster,
                a_first=np.ones(800),
            )
        )
    )
    assert isinstance(pair, PairFit)
    assert (many.n_models, many.n_direct, many.n_left_out) == (2, 800, 0)
    for name in (*PARTS[:3], "position_elo", *POINTS[:3]):
        own, other = attrgetter(name)(many.pair), attrgetter(name)(pair)
        assert (own.estimate, own.lower, own.upper) == pytest.approx(
            (other.estimate, other.lower, other.upper), abs=1e-6
        )
    assert many.pair.elo.dispersion.estimate == pytest.approx(pair.elo.dispersion.estimate)
    for own, other in zip(many.pair.features, pair.features, strict=True):
        assert own.mean_difference == pytest.approx(other.mean_difference)
        assert own.coefficient == pytest.approx(other.coefficient)
        assert own.style_elo.se == pytest.approx(other.style_elo.se)


def test_scores_and_errors_against_statsmodels() -> None:
    data = arena(2, 1_500, first=0.3)
    fit = fitted(
        fit_among_many(
            gathered(**data, baseline="m1", candidate="m3", a_first=np.ones(1_500)),
            FitOptions(ridge=0.0),
        )
    ).pair
    names = ["m0", "m2", "m3", "m4"]
    incidence = np.array(
        [[(x == m) - (y == m) for m in names]
         for x, y in zip(data["model_a"], data["model_b"], strict=True)]
    ).astype(float)  # fmt: skip
    design = np.column_stack([incidence, data["style_a_minus_b"], np.ones(1_500)])
    groups = {"groups": data["clusters"], "use_correction": False}
    oracle = sm.GLM(data["outcomes_a"], design, family=sm.families.Binomial()).fit(
        tol=1e-12, cov_type="cluster", cov_kwds=groups
    )
    factor = ELO * np.sqrt(750 / 749)
    assert fit.elo.substance.estimate == pytest.approx(ELO * oracle.params[2], abs=1e-4)
    assert fit.elo.substance.se == pytest.approx(factor * oracle.bse[2], rel=1e-4)
    assert fit.position_elo.estimate == pytest.approx(ELO * oracle.params[6], abs=1e-4)
    assert fit.position_elo.se == pytest.approx(factor * oracle.bse[6], rel=1e-4)
    assert [f.coefficient for f in fit.features] == pytest.approx(
        list(oracle.params[4:6]), abs=1e-4
    )
    alone = sm.GLM(data["outcomes_a"], incidence, family=sm.families.Binomial()).fit(
        tol=1e-12, cov_type="cluster", cov_kwds=groups
    )
    assert fit.elo.raw.estimate == pytest.approx(ELO * alone.params[2], abs=1e-4)
    assert fit.elo.raw.se == pytest.approx(factor * alone.bse[2], rel=1e-4)
    shift = sm.OLS(data["style_a_minus_b"][:, 0], incidence).fit().params[2]
    assert fit.features[0].mean_difference == pytest.approx(shift)


def test_parts_add_up_and_swapping_the_pair_or_the_sides_is_exact() -> None:
    data = arena(3, 900)
    fit = among(data, "m0", "m3")
    assert sum(attrgetter(p)(fit).estimate for p in PARTS[1:]) == pytest.approx(
        fit.elo.raw.estimate
    )
    assert sum(attrgetter(p)(fit).estimate for p in POINTS[1:]) == pytest.approx(
        fit.points.raw.estimate
    )
    back = among(data, "m3", "m0")
    turned = {
        **data,
        "outcomes_a": 1 - data["outcomes_a"],
        "model_a": data["model_b"],
        "model_b": data["model_a"],
        "style_a_minus_b": -data["style_a_minus_b"],
    }
    other = among(turned, "m0", "m3")
    for name in (*PARTS, *POINTS):
        one, two, three = attrgetter(name)(fit), attrgetter(name)(back), attrgetter(name)(other)
        assert (one.estimate, one.lower) == pytest.approx((-two.estimate, -two.upper), abs=1e-6)
        assert (one.lower, one.upper) == pytest.approx((three.lower, three.upper), abs=1e-6)


def test_all_battles_say_more_than_the_direct_ones() -> None:
    data = arena(4, 6_000)
    battles = gathered(**data, baseline="m2", candidate="m4")
    many = fitted(fit_among_many(battles))
    direct = fit_among_many_otherwise(battles)["direct_battles_only"]
    assert isinstance(direct, PairFit)
    assert direct.n_battles == many.n_direct < 1_000
    assert many.pair.elo.substance.se < 0.7 * direct.elo.substance.se
    for fit in (many.pair, direct):
        gap = fit.elo.substance.estimate - 0.9 * ELO * 0.4
        assert abs(gap) < 4 * fit.elo.substance.se


def test_intervals_cover_the_truth_of_the_whole_graph() -> None:
    big = among(arena(99, 200_000), "m0", "m1")
    hits = dict.fromkeys(PARTS, 0)
    for seed in range(200):
        fit = among(arena(seed, 1_200), "m0", "m1")
        for name in PARTS:
            found = attrgetter(name)(fit)
            hits[name] += found.lower <= attrgetter(name)(big).estimate <= found.upper
    for name, count in hits.items():
        assert 0.91 <= count / 200 <= 0.985, name


def test_models_that_nothing_links_are_left_out() -> None:
    data = arena(5, 600)
    n = 50
    extended = {
        "outcomes_a": np.concatenate([data["outcomes_a"], np.ones(n)]),
        "model_a": [*data["model_a"], *["king"] * n],
        "model_b": [*data["model_b"], *["m0"] * n],
        "style_a_minus_b": np.concatenate([data["style_a_minus_b"], np.zeros((n, 2))]),
        "clusters": np.concatenate([data["clusters"], 10_000 + np.arange(n)]),
        "feature_names": data["feature_names"],
    }
    alone = fitted(fit_among_many(gathered(**data, baseline="m0", candidate="m1")))
    beside = fitted(fit_among_many(gathered(**extended, baseline="m0", candidate="m1")))
    assert (beside.n_left_out, beside.n_models) == (n, 5)
    for name in PARTS:
        assert attrgetter(name)(beside.pair) == attrgetter(name)(alone.pair)
    unlinked = fit_among_many(gathered(**extended, baseline="m0", candidate="king"))
    assert isinstance(unlinked, Undetermined)
    assert "no chain" in unlinked.reason


def test_a_pair_without_a_battle_of_its_own_is_compared_through_others() -> None:
    data = arena(6, 3_000)
    kept = [{a, b} != {"m1", "m3"} for a, b in zip(data["model_a"], data["model_b"], strict=True)]
    rest = {
        key: [x for x, k in zip(value, kept, strict=True) if k]
        if isinstance(value, list)
        else value
        if isinstance(value, tuple)
        else value[np.array(kept)]
        for key, value in data.items()
    }
    battles = gathered(**rest, baseline="m1", candidate="m3")
    many = fitted(fit_among_many(battles))
    assert many.n_direct == 0
    assert many.pair.elo.substance.estimate == pytest.approx(
        0.9 * ELO * 0.4, abs=4 * many.pair.elo.substance.se
    )
    direct = fit_among_many_otherwise(battles)["direct_battles_only"]
    assert isinstance(direct, Undetermined)


def test_position_that_the_sides_determine_is_flagged() -> None:
    data = arena(7, 400)
    swap = np.array(data["model_a"]) > np.array(data["model_b"])
    two = [m in ("m0", "m1") and n in ("m0", "m1")
           for m, n in zip(data["model_a"], data["model_b"], strict=True)]  # fmt: skip
    kept = np.array(two)
    fit = fitted(
        fit_among_many(
            gathered(
                outcomes_a=np.where(swap, 1 - data["outcomes_a"], data["outcomes_a"])[kept],
                model_a=["m0"] * kept.sum(),
                model_b=["m1"] * kept.sum(),
                baseline="m0",
                candidate="m1",
                style_a_minus_b=data["style_a_minus_b"][kept],
                a_first=np.ones(kept.sum()),
            )
        )
    ).pair
    assert "position_not_identified" in fit.flags
    assert fit.position_elo is None


def test_bad_input_says_what_is_wrong() -> None:
    data = arena(8, 20)
    with pytest.raises(UsageError, match="no battle has the model 'x'"):
        gathered(**data, baseline="x", candidate="m1")
    with pytest.raises(UsageError, match="models for 20 outcomes"):
        gathered(**{**data, "model_a": ["m0"]}, baseline="m0", candidate="m1")
    with pytest.raises(UsageError, match="against itself"):
        gathered(**{**data, "model_a": data["model_b"]}, baseline="m0", candidate="m1")
    with pytest.raises(UsageError, match="shrinks style"):
        FitOptions(ridge=3.0)
