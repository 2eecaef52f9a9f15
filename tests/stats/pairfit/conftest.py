"""Simulated battles with a known truth, for the tests of the pair fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import expit, logit

ELO = 400 / np.log(10)
MEAN, SD = np.array([0.30, -0.10]), np.array([0.40, 0.50])


@dataclass(frozen=True)
class Battles:
    y: np.ndarray
    z: np.ndarray
    cluster: np.ndarray
    truth: dict[str, float]


def true_parts(
    substance: float, g: np.ndarray, mean: np.ndarray = MEAN, sd: np.ndarray = SD
) -> dict[str, float]:
    """Population parts by Gauss-Hermite quadrature over the normal z·g."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    eta = substance + mean @ g + np.sqrt((g**2) @ (sd**2)) * nodes
    raw = float(logit((weights * expit(eta)).sum() / weights.sum()))
    style = float(mean @ g)
    parts = {"raw": raw, "substance": substance, "style": style}
    return {k: ELO * v for k, v in (parts | {"dispersion": raw - substance - style}).items()}


def simulate(
    rng: np.random.Generator,
    n_prompts: int,
    substance: float = 0.2,
    g: tuple[float, float] = (1.2, 0.6),
    mean: np.ndarray = MEAN,
    sd: np.ndarray = SD,
    tie_rate: float = 0.15,
) -> Battles:
    """Two orders a prompt over the same answers; the second verdict often repeats the first."""
    slopes = np.asarray(g)
    z = rng.normal(mean, sd, size=(n_prompts, 2))
    p = expit(substance + z @ slopes)
    # Ties in proportion to how close the answers are keep the mean outcome at p.
    ties = np.minimum(2 * np.minimum(p, 1 - p), 1.0) * tie_rate
    win = (p - ties / 2) / (1 - ties)

    def verdict() -> np.ndarray:
        decided = (rng.random(n_prompts) < win).astype(float)
        return np.where(rng.random(n_prompts) < ties, 0.5, decided)

    first = verdict()
    second = np.where(rng.random(n_prompts) < 0.5, first, verdict())
    y = np.stack([first, second], axis=1).ravel()
    cluster = np.repeat(np.arange(n_prompts), 2)
    return Battles(y, np.repeat(z, 2, axis=0), cluster, true_parts(substance, slopes, mean, sd))


@pytest.fixture(scope="session", name="simulate")
def simulate_fixture() -> Callable[..., Battles]:
    return simulate


@pytest.fixture(scope="session")
def battles() -> Battles:
    """400 prompts in both orders."""
    return simulate(np.random.default_rng(0), 400)
