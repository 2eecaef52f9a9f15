"""Feature set `lmarena-v1`: tokens, headers, list items, bold.

The four features of LMArena's style control (Li, Angelopoulos and Chiang 2024), with fenced code
taken out as Markdown and FastChat's own pattern define it: an unclosed fence runs to the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modeldiff_harness.preferences.style import (
    count_markdown,
    count_words_and_marks,
    normalised_difference,
)

__all__ = ["LmArenaFeatures", "create"]


class LmArenaFeatures:
    """Counts of one answer and their differences (a - b)/(a + b + 1)."""

    name = "lmarena-v1"
    features = ("tokens", "headers", "list_items", "bold")

    def count(self, answer: str, n_tokens: int | None) -> Mapping[str, float]:
        """Return the four counts.

        `tokens` is `n_tokens`, fenced code included; where it is None, words and punctuation
        marks are counted instead.  The two are not comparable: use one for all answers.
        """
        marks = count_markdown(answer)
        tokens = count_words_and_marks(answer) if n_tokens is None else n_tokens
        return {
            "tokens": float(tokens),
            "headers": float(marks.headers),
            "list_items": float(marks.ordered_items + marks.unordered_items),
            "bold": float(marks.bold_spans),
        }

    def difference(self, a: Mapping[str, float], b: Mapping[str, float]) -> Sequence[float]:
        """Return (a - b)/(a + b + 1) for each feature, between -1 and 1."""
        return [normalised_difference(a[name], b[name]) for name in self.features]


def create() -> LmArenaFeatures:
    """Make the feature set; it has no options."""
    return LmArenaFeatures()
