"""The intervals of influence functions against resampled clusters, refitted by statsmodels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import logit

from modeldiff_harness.stats.pairfit.fit import PairFit, fit_pair
from modeldiff_harness.stats.pairfit.rows import FitOptions, pair_rows

ELO = 400 / np.log(10)
PARTS = ("raw", "substance", "style", "dispersion")


def parts_elo(
    battles: Any, counts: np.ndarray, position: np.ndarray | None, fixed: np.ndarray | None
) -> list[float]:
    """The parts when cluster c is there counts[c] times."""
    weights = counts[battles.cluster]
    columns = [np.ones(len(battles.y))]
    if fixed is None:
        columns += list(battles.z.T)
    if position is not None:
        columns.append(position)
    fit = sm.GLM(
        battles.y,
        np.column_stack(columns),
        family=sm.families.Binomial(),
        freq_weights=weights,
        offset=None if fixed is None else battles.z @ fixed,
    ).fit(tol=1e-10)
    g = fit.params[1:3] if fixed is None else fixed
    style = np.average(battles.z @ g, weights=weights)
    raw, substance = logit(np.average(battles.y, weights=weights)), fit.params[0]
    return [ELO * part for part in (raw, substance, style, raw - substance - style)]


@pytest.mark.parametrize("fixed", [None, np.array([0.5, 0.1])], ids=["fitted", "fixed"])
def test_influence_intervals_agree_with_the_cluster_bootstrap(battles: Any, fixed: Any) -> None:
    position = None if fixed is None else np.tile([1.0, -1.0], 400)
    rows = pair_rows(battles.y, battles.z, clusters=battles.cluster, position=position)
    fit = fit_pair(rows, FitOptions(ridge=0.0, style_coefficients=fixed))
    assert isinstance(fit, PairFit)
    rng = np.random.default_rng(0)
    counts_RC = rng.multinomial(400, np.full(400, 1 / 400), size=400)
    draws = np.array([parts_elo(battles, counts, position, fixed) for counts in counts_RC])
    whole = parts_elo(battles, np.ones(400), position, fixed)
    for name, truth, drawn in zip(PARTS, whole, draws.T, strict=True):
        own = getattr(fit.elo, name)
        assert own.estimate == pytest.approx(truth, abs=1e-6)
        assert own.se == pytest.approx(drawn.std(ddof=1), rel=0.15), name
        lower, upper = np.quantile(drawn, [0.025, 0.975])
        assert own.lower == pytest.approx(lower, abs=0.15 * (own.upper - own.lower))
        assert own.upper == pytest.approx(upper, abs=0.15 * (own.upper - own.lower))
