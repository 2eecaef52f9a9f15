from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modeldiff_harness.stats.pairfit.fit import PairFit, fit_pair
from modeldiff_harness.stats.pairfit.rows import pair_rows

PARTS = ("raw", "substance", "style", "dispersion")


def coverage(simulate: Any, n_prompts: int, runs: int, seed: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    hits = dict.fromkeys(PARTS, 0)
    for _ in range(runs):
        battles = simulate(rng, n_prompts)
        fit = fit_pair(pair_rows(battles.y, battles.z, clusters=battles.cluster))
        assert isinstance(fit, PairFit)
        for part in PARTS:
            interval = getattr(fit.elo, part)
            hits[part] += interval.lower <= battles.truth[part] <= interval.upper
    return {part: count / runs for part, count in hits.items()}


def test_every_part_covers_its_truth(simulate: Any) -> None:
    for part, share in coverage(simulate, n_prompts=600, runs=600, seed=0).items():
        assert 0.93 <= share <= 0.97, part


def test_dispersion_covers_its_truth_with_few_prompts(simulate: Any) -> None:
    share = coverage(simulate, n_prompts=120, runs=300, seed=2)["dispersion"]
    assert 0.93 <= share <= 0.985


@pytest.mark.slow
@pytest.mark.parametrize(("n_prompts", "runs"), [(100, 2_000), (400, 800), (1_500, 4_000)])
def test_every_part_covers_its_truth_at_length(simulate: Any, n_prompts: int, runs: int) -> None:
    for part, share in coverage(simulate, n_prompts, runs, seed=1).items():
        assert 0.93 <= share <= 0.975, part
