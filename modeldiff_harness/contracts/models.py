"""Names for models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from modeldiff_harness.artifacts import ModelRef

__all__ = ["ModelAliases"]


class ModelAliases(Protocol):
    """The factory itself: offers short names for models."""

    def __call__(self) -> Mapping[str, ModelRef]:
        """Return alias → model, each under its own name; no file is opened.

        An alias that is already taken is an error that names both distributions.
        """
        ...
