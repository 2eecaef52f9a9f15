"""Feature set `extended-v1`: those of `lmarena-v1`, fenced code blocks and emoji.

Opt-in: whether code stands in a fence, and whether an answer smiles, is style for some and
substance for others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from modeldiff_harness.builtin.feature_lmarena import LmArenaFeatures
from modeldiff_harness.preferences.style import count_fences, normalised_difference

__all__ = ["ExtendedFeatures", "create"]

# Pictographs of the emoji blocks; a base with its modifiers and joiners is one, a flag is two.
_EMOJI = re.compile(
    "[\U0001f300-\U0001f5ff\U0001f600-\U0001f64f\U0001f680-\U0001f6ff\U0001f900-\U0001f9ff"
    "\U0001fa70-\U0001faff\U0001f1e6-\U0001f1ff\u2600-\u27bf](?:[\ufe0f\U0001f3fb-\U0001f3ff]|"
    "\u200d[\U0001f300-\U0001faff\u2600-\u27bf])*"
)


class ExtendedFeatures:
    """Six counts of one answer and their differences (a - b)/(a + b + 1)."""

    name = "extended-v1"
    features = ("tokens", "headers", "list_items", "bold", "code_fences", "emoji")

    def count(self, answer: str, n_tokens: int | None) -> Mapping[str, float]:
        """Return the counts of `lmarena-v1`, code fences and emoji."""
        return {
            **LmArenaFeatures().count(answer, n_tokens),
            "code_fences": float(count_fences(answer)),
            "emoji": float(len(_EMOJI.findall(answer))),
        }

    def difference(self, a: Mapping[str, float], b: Mapping[str, float]) -> Sequence[float]:
        """Return (a - b)/(a + b + 1) for each feature, between -1 and 1."""
        return [normalised_difference(a[name], b[name]) for name in self.features]


def create() -> ExtendedFeatures:
    """Make the feature set; it has no options."""
    return ExtendedFeatures()
