"""The simulation behind the table of the statistics page, at a small size."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest
from pages import DOCS


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gate_simulation", DOCS / "gate_simulation.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gate_simulation"] = module
    spec.loader.exec_module(module)
    return module


FAST = ("binary, pure losses, n 600", "binary, 5 % fixed, n 200", "93 % ties, 100 prompts")


@pytest.mark.parametrize("name", FAST)
def test_a_loss_of_the_margin_hardly_ever_passes(simulation: ModuleType, name: str) -> None:
    cell = next(one for one in simulation.cells() if one.name == name)
    assert simulation.run_cell(cell, 150).holds


def test_an_equal_pair_of_six_thousand_items_passes_one_point(simulation: ModuleType) -> None:
    cell = next(one for one in simulation.cells() if one.truth == 0.0)
    assert simulation.run_cell(cell, 100).passed > 0.95


def test_a_gate_that_is_too_kind_does_not_hold(simulation: ModuleType) -> None:
    cell = next(iter(simulation.cells()))
    assert not simulation.Rates(cell, 400, passed=0.12, coverage=0.95, by_rule=0.0).holds
    assert not simulation.Rates(cell, 400, passed=0.05, coverage=0.85, by_rule=0.0).holds
    assert simulation.Rates(cell, 400, passed=0.05, coverage=0.95, by_rule=0.0).holds


@pytest.mark.long
def test_every_small_cell_holds(simulation: ModuleType) -> None:
    rates = [simulation.run_cell(cell, 60) for cell in simulation.cells() if cell.small]
    assert [one.cell.name for one in rates if not one.holds] == []
