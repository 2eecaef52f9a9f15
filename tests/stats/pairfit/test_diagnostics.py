from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.outliers_influence import variance_inflation_factor

from modeldiff_harness.stats.pairfit.diagnostics import (
    condition_number,
    feature_diagnostics,
    separation_flags,
)


def test_vif_against_statsmodels() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal([0.5, 0.0, -0.2], 1.0, size=(300, 3))
    z[:, 2] += 2 * z[:, 0]
    design = np.column_stack([np.ones(300), z])
    for k, feature in enumerate(feature_diagnostics(z, np.ones(300))):
        assert feature.vif == pytest.approx(variance_inflation_factor(design, k + 1))
    assert [f.collinear for f in feature_diagnostics(z, np.ones(300))] == [False, False, False]


def test_a_determined_or_constant_feature_has_no_vif() -> None:
    z = np.random.default_rng(1).normal(size=(50, 2))
    twins = feature_diagnostics(np.column_stack([z, z[:, 0] + z[:, 1]]), np.ones(50))
    assert all(feature.vif is None and feature.collinear for feature in twins)
    (constant,) = feature_diagnostics(np.full((50, 1), 0.3), np.ones(50))
    assert constant.vif is None
    assert constant.overlap == 0.0


def test_overlap_counts_equal_style_for_both_sides() -> None:
    z = np.array([-1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])[:, None]
    (feature,) = feature_diagnostics(z, np.ones(10))
    assert feature.overlap == pytest.approx(0.4)
    assert not feature.extrapolates
    (one_side,) = feature_diagnostics(np.abs(z) + 0.1, np.ones(10))
    assert one_side.extrapolates


def test_condition_number_against_numpy() -> None:
    x = np.random.default_rng(2).normal(size=(100, 2)) * [1.0, 1e6]
    scaled = np.column_stack([np.ones(100), x / np.sqrt((x**2).mean(axis=0))])
    assert condition_number(x, np.ones(100)) == pytest.approx(np.linalg.cond(scaled) ** 2)
    assert condition_number(np.column_stack([x, x[:, 0]]), np.ones(100)) > 1e8


def test_each_kind_of_separation_is_named() -> None:
    calm, weights = np.full(100, 0.6), np.ones(100)
    assert separation_flags(np.array([1.0]), calm, weights, 10.0, True) == ()
    assert separation_flags(np.array([-5.1]), calm, weights, 10.0, True) == ("separation",)
    assert separation_flags(np.array([1.0]), calm, weights, 10.0, False) == ("separation",)
    assert separation_flags(np.array([1.0]), calm, weights, 1e9, True) == ("ill_conditioned",)
    extreme = np.where(np.arange(100) < 21, 1e-5, 0.5)
    assert separation_flags(np.array([1.0]), extreme, weights, 10.0, True) == ("separation",)
    assert separation_flags(np.array([1.0]), 1 - extreme, weights, 10.0, True) == ("separation",)
    fewer = np.where(np.arange(100) < 20, 1e-5, 0.5)
    assert separation_flags(np.array([1.0]), fewer, weights, 10.0, True) == ()
