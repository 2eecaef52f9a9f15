"""How far activations moved, and what stands beside the latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from modeldiff_harness.artifacts.estimates import Estimate

__all__ = ["DifferenceEnergy", "EnergyRow", "NullMatch", "SimpleControl", "SimpleControls"]


@dataclass(frozen=True)
class NullMatch:
    """The factor on the null twin's adapter that gives it the real pair's difference energy."""

    SCHEMA_VERSION: ClassVar[int] = 1

    reference: str
    """Model both differences are measured from."""
    model: str
    """Model whose difference is matched."""
    twin: str
    adapter_scale: float
    target_energy: float
    """‖x^model − x^reference‖²/‖x^reference‖² on the matching documents."""
    matched_energy: float
    """The same for the scaled twin; it differs from the target where the search stopped."""
    n_tokens: int


@dataclass(frozen=True)
class EnergyRow:
    """Relative difference energy ‖x^c − x^b‖²/‖x^b‖² over one group of documents."""

    capability: str | None
    author: str | None
    relative_energy: Estimate
    """Interval by prompt (jackknife)."""
    n_tokens: int
    n_prompts: int


@dataclass(frozen=True)
class DifferenceEnergy:
    """The look that costs no training: how far the activations moved, where, in whose words."""

    SCHEMA_VERSION: ClassVar[int] = 1

    site: str
    pair: tuple[str, str]
    """(x^b, x^c): names of the models."""
    rows: tuple[EnergyRow, ...]
    """The first row is over everything."""


@dataclass(frozen=True)
class SimpleControl:
    """A cheap explanation of one capability, scored on the same held-out prompts."""

    control: str
    """mean_difference, logistic_probe, word_counts."""
    capability: str
    auroc: Estimate
    n_test_prompts: int


@dataclass(frozen=True)
class SimpleControls:
    """Controls that must stand beside the latents."""

    SCHEMA_VERSION: ClassVar[int] = 1

    rows: tuple[SimpleControl, ...]
