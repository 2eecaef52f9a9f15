"""The scorer on hand-made codes: known shares, and merge equals one pass."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mdh_example_scorer.scorer import AssistantShare

from modeldiff_harness.artifacts import ROLES

N_LATENTS = 3
ROLES_T = np.array([ROLES.index("user"), ROLES.index("assistant"), ROLES.index("assistant")])


def started() -> AssistantShare:
    scorer = AssistantShare()
    scorer.start(SimpleNamespace(n_latents=N_LATENTS), SimpleNamespace(roles_T=ROLES_T))
    return scorer


def batch(rows: list[int], firings: list[tuple[int, int, float]]) -> SimpleNamespace:
    token, latent, mass = zip(*firings, strict=True)
    codes = SimpleNamespace(
        token_N=torch.tensor(token),
        latent_N=torch.tensor(latent),
        activation_N=torch.tensor(mass),
    )
    return SimpleNamespace(codes=codes, rows_T=torch.tensor(rows))


FIRST = batch([0, 1], [(0, 0, 1.0), (1, 0, 3.0)])
SECOND = batch([2], [(0, 1, 2.0)])


def test_shares_are_those_of_the_mass():
    scorer = started()
    scorer.update(FIRST)
    scorer.update(SECOND)
    (column,) = scorer.finish()
    assert column.values_L[0] == pytest.approx(0.75)
    assert column.values_L[1] == pytest.approx(1.0)
    assert column.defined_L.tolist() == [True, True, False]
    assert np.isfinite(column.values_L).all()


def test_merge_equals_one_pass():
    whole, left, right = started(), started(), started()
    for context in (FIRST, SECOND):
        whole.update(context)
    left.update(FIRST)
    right.update(SECOND)
    left.merge(right)
    np.testing.assert_array_equal(left.finish()[0].values_L, whole.finish()[0].values_L)
