from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import Undetermined
from modeldiff_harness.stats.pairfit.bootstrap import PairBootstrap, bootstrap_pair
from modeldiff_harness.stats.pairfit.fit import PairFit, fit_pair

PARTS = ("raw_elo", "substance_elo", "style_elo", "dispersion_elo")


def test_influence_intervals_agree_with_the_cluster_bootstrap(battles: Any) -> None:
    fit = fit_pair(battles.y, battles.z, clusters=battles.cluster)
    drawn = bootstrap_pair(battles.y, battles.z, clusters=battles.cluster, n_resamples=400)
    assert isinstance(fit, PairFit)
    assert isinstance(drawn, PairBootstrap)
    for name in PARTS:
        own, other = getattr(fit, name), getattr(drawn, name)
        assert own.estimate == pytest.approx(other.estimate, abs=1e-6)
        assert own.se == pytest.approx(other.se, rel=0.15), name
        width = own.upper - own.lower
        assert own.lower == pytest.approx(other.lower, abs=0.15 * width)
        assert own.upper == pytest.approx(other.upper, abs=0.15 * width)


def test_position_and_fixed_coefficients_pass_through(battles: Any) -> None:
    position = np.tile([1.0, -1.0], 400)
    options: dict[str, Any] = {"position": position, "style_coefficients": [0.5, 0.1]}
    fit = fit_pair(battles.y, battles.z, clusters=battles.cluster, **options)
    drawn = bootstrap_pair(
        battles.y, battles.z, clusters=battles.cluster, n_resamples=200, **options
    )
    assert isinstance(fit, PairFit)
    assert isinstance(drawn, PairBootstrap)
    for name in PARTS:
        assert getattr(fit, name).estimate == pytest.approx(getattr(drawn, name).estimate, abs=1e-6)
        assert getattr(fit, name).se == pytest.approx(getattr(drawn, name).se, rel=0.25)


def test_what_cannot_be_resampled_is_undetermined() -> None:
    z = np.zeros((4, 1))
    assert isinstance(bootstrap_pair([1.0] * 4, z), Undetermined)
    assert isinstance(bootstrap_pair([1.0, 0.0], z[:2], clusters=["p", "p"]), Undetermined)
    rare = bootstrap_pair([1.0, 1.0, 1.0, 0.0], z)
    assert isinstance(rare, Undetermined)
    assert "resamples failed" in rare.reason
    with pytest.raises(UsageError, match="at least 2"):
        bootstrap_pair([1.0, 0.0], z[:2], n_resamples=1)
