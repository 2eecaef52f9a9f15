"""Style of an answer as counts, and how two counts differ; no opinion on which is better."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = [
    "MarkdownCounts",
    "count_markdown",
    "count_words_and_marks",
    "normalised_difference",
    "without_fenced_code",
]

# An opening fence may carry an info string without backticks; it closes with at least as many marks
# of its kind, or at the end of the text (CommonMark 0.31, §4.5), as in an answer that was cut off.
_FENCE = re.compile(
    r"^[ \t]*(?P<mark>`{3,}(?=[^`\n]*$)|~{3,})[^\n]*(?:\n|\Z)"
    r"(?:.*?(?:^[ \t]*(?P=mark)[`~]*[ \t]*$)|.*\Z)",
    re.MULTILINE | re.DOTALL,
)
# LMArena's patterns, with `\s*` narrowed to one line: the counts are equal, and hostile runs of
# blank lines take linear time.
_HEADER = re.compile(r"^#{1,6}\s", re.MULTILINE)
_ORDERED = re.compile(r"^[^\S\n]*\d{1,9}\.\s", re.MULTILINE)
_UNORDERED = re.compile(r"^[^\S\n]*[-*+]\s", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")
_WORD_OR_MARK = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class MarkdownCounts:
    """Marks of Markdown outside fenced code."""

    headers: int
    """Lines that start with one to six # and a space."""
    ordered_items: int
    """List items such as `1. …`."""
    unordered_items: int
    """List items such as `- …`, `* …`, `+ …`."""
    bold_spans: int
    """Spans in ** or __ within a line."""


def count_markdown(answer: str) -> MarkdownCounts:
    """Count headers, list items and bold spans of `answer` outside fenced code."""
    text = without_fenced_code(answer)
    return MarkdownCounts(
        headers=_count(_HEADER, text),
        ordered_items=_count(_ORDERED, text),
        unordered_items=_count(_UNORDERED, text),
        bold_spans=_count(_BOLD, text),
    )


def without_fenced_code(answer: str) -> str:
    """Return `answer` without its fenced code blocks; an unclosed fence runs to the end."""
    return _FENCE.sub("", answer)


def count_words_and_marks(answer: str) -> int:
    """Count words and punctuation marks: the stand-in for tokens where no tokenizer counted."""
    return _count(_WORD_OR_MARK, answer)


def normalised_difference(a: float, b: float) -> float:
    """Return (a - b)/(a + b + 1) of two counts: antisymmetric, between -1 and 1."""
    return (a - b) / (a + b + 1.0)


def _count(pattern: re.Pattern[str], text: str) -> int:
    return sum(1 for _ in pattern.finditer(text))
