"""First weights and the geometric median."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from modeldiff_harness.latents.train.initialise import geometric_median, initial_parameters


@pytest.mark.parametrize("seed", range(3))
def test_geometric_median_minimises_summed_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.normal(size=(40, 3)), 20 + rng.normal(size=(11, 3))])
    oracle = minimize(
        lambda c: np.linalg.norm(points - c, axis=1).sum(),
        points.mean(axis=0),
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-11, "maxiter": 5000},
    )
    found = geometric_median(torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(found, oracle.x, atol=1e-4)


def test_geometric_median_on_a_data_point_and_of_equal_points() -> None:
    line = torch.tensor([[0.0], [1.0], [10.0]])  # the median of a line lies on a point
    assert geometric_median(line, most_steps=5000).item() == pytest.approx(1.0, abs=1e-2)
    assert geometric_median(torch.full((4, 2), 3.0)).tolist() == [3.0, 3.0]


def test_models_start_alike_and_tied() -> None:
    batch = [torch.randn(20, 6), torch.randn(20, 6), torch.randn(20, 4)]
    start = initial_parameters((6, 6, 4), 10, batch, seed=(1, 2))
    parts = start.encoder_LC.split([6, 6, 4], dim=1)
    assert torch.equal(parts[0], parts[1])
    for part in parts:
        torch.testing.assert_close(part.norm(dim=1), torch.ones(10))
    assert torch.equal(start.encoder_LC, start.decoder_LC)
    assert start.encoder_LC.data_ptr() != start.decoder_LC.data_ptr()
    assert not start.encoder_bias_L.any()
    torch.testing.assert_close(
        start.decoder_bias_C[:6].double(), geometric_median(batch[0]), atol=1e-6, rtol=0
    )
    again = initial_parameters((6, 6, 4), 10, batch, seed=(1, 2))
    other = initial_parameters((6, 6, 4), 10, batch, seed=(2, 1))
    assert torch.equal(start.encoder_LC, again.encoder_LC)
    assert not torch.equal(start.encoder_LC, other.encoder_LC)
