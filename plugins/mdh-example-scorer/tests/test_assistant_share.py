"""The scorer on hand-made codes with known shares, and the check of its kind."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mdh_example_scorer.scorer import AssistantShare

from modeldiff_harness import ROLES
from modeldiff_harness.testing import check_plugin, check_scorer

ROLES_T = np.array([ROLES.index("user"), ROLES.index("assistant"), ROLES.index("assistant")])


def batch(rows: list[int], firings: list[tuple[int, int, float]]) -> SimpleNamespace:
    token, latent, mass = zip(*firings, strict=True)
    codes = SimpleNamespace(
        token_N=torch.tensor(token),
        latent_N=torch.tensor(latent),
        activation_N=torch.tensor(mass),
    )
    return SimpleNamespace(codes=codes, rows_T=torch.tensor(rows))


def test_shares_are_those_of_the_mass():
    scorer = AssistantShare()
    scorer.start(SimpleNamespace(n_latents=3), SimpleNamespace(roles_T=ROLES_T))
    scorer.update(batch([0, 1], [(0, 0, 1.0), (1, 0, 3.0)]))
    scorer.update(batch([2], [(0, 1, 2.0)]))
    (column,) = scorer.finish()
    assert column.values_L[0] == pytest.approx(0.75)
    assert column.values_L[1] == pytest.approx(1.0)
    assert column.defined_L.tolist() == [True, True, False]


def test_it_registers():
    check_plugin("mdh_example_scorer")


def test_it_keeps_the_contract_of_scorers():
    check_scorer(AssistantShare)
