"""A dictionary learner as a stage uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modeldiff_harness.stages import Built

__all__ = ["LearnerUse"]


@dataclass(frozen=True)
class LearnerUse(Built):
    """A learner: what it reads speaks, not where that lies."""

    def recipe(self) -> Any:
        """Return provenance with the learner's fingerprint, or its configuration without one."""
        fingerprint = self.choice.build().fingerprint()
        if fingerprint is None:
            return self.choice.recipe()
        return {**self.choice.registered.recipe(), "content": fingerprint}
