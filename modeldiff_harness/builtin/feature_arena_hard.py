"""Feature set `arena-hard-v1`: tokens, and headers, list items and bold spans per token.

arena-hard-auto's style control: the counts are those of `lmarena-v1`, the marks are compared as
densities.  Its coefficients are not those of `lmarena-v1`: sets are never mixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modeldiff_harness.builtin.feature_lmarena import LmArenaFeatures
from modeldiff_harness.preferences.style import normalised_difference

__all__ = ["ArenaHardFeatures", "create"]


class ArenaHardFeatures:
    """Counts of one answer; differences of length and of densities."""

    name = "arena-hard-v1"
    features = ("tokens", "headers", "list_items", "bold")

    def count(self, answer: str, n_tokens: int | None) -> Mapping[str, float]:
        """Return the counts of `lmarena-v1`."""
        return LmArenaFeatures().count(answer, n_tokens)

    def difference(self, a: Mapping[str, float], b: Mapping[str, float]) -> Sequence[float]:
        """Return (a - b)/(a + b) of tokens and (a - b)/(a + b + 1) of marks per token."""
        total = a["tokens"] + b["tokens"]
        length = (a["tokens"] - b["tokens"]) / total if total else 0.0
        marks = [normalised_difference(_density(a, m), _density(b, m)) for m in self.features[1:]]
        return [length, *marks]


def create() -> ArenaHardFeatures:
    """Make the feature set; it has no options."""
    return ArenaHardFeatures()


def _density(counts: Mapping[str, float], mark: str) -> float:
    # An answer without a token has no marks either.
    return counts[mark] / counts["tokens"] if counts["tokens"] else 0.0
