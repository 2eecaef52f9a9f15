"""Δnorm of planted decoders: exclusive latents at the ends, shared ones in the middle."""

from __future__ import annotations

import numpy as np
import pytest

from modeldiff_harness.artifacts import View
from modeldiff_harness.latents.dictionaries.norms import relative_norms


class Decoders:
    """As much of a dictionary as is read: two views, of which the candidate's stands first."""

    views = (View("new", "resid_post.1", 3), View("old", "resid_post.1", 3))

    def __init__(self, new: list[float], old: list[float]) -> None:
        unit = np.array([[0.6, 0.0, 0.8]], dtype=np.float32)
        self.decoders = tuple(np.array(n, np.float32)[:, None] * unit for n in (new, old))


def test_planted_norms_are_found_and_empty_latents_left_out():
    planted = Decoders(new=[2.0, 0.0, 1.0, 0.0, 1.0], old=[0.0, 3.0, 1.0, 0.0, 2.0])
    delta_L = relative_norms(planted, "old", "new")
    assert delta_L == pytest.approx([1.0, 0.0, 0.5, 0.25], abs=1e-6)


def test_swapping_the_models_mirrors_them():
    rng = np.random.default_rng(3)
    planted = Decoders(new=rng.random(50).tolist(), old=rng.random(50).tolist())
    forward, back = (relative_norms(planted, *pair) for pair in (("old", "new"), ("new", "old")))
    assert back == pytest.approx(1.0 - forward)
