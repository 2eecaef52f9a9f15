"""Style of an answer as counts, and how two counts differ; no opinion on which is better."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = [
    "MarkdownCounts",
    "count_fences",
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
# LMArena's patterns: `^` is spelt as a literal newline (one is put before the text), which the
# regex engine finds many times faster, and `\s*` stays on its line, so that hostile runs of blank
# lines take linear time.  The counts are the same.
_HEADER = re.compile(r"\n#{1,6}(?=\s)")
_ORDERED = re.compile(r"\n[^\S\n]*\d{1,9}\.(?=\s)")
_UNORDERED = re.compile(r"\n[^\S\n]*[-*+](?=\s)")
_BOLD_STARS = re.compile(r"\*\*[^*\n]+\*\*")
_BOLD_UNDERLINES = re.compile(r"__[^_\n]+__")
_WORD = re.compile(r"\w+")
_MARK = re.compile(r"[^\w\s]")


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
    text = "\n" + without_fenced_code(answer)
    return MarkdownCounts(
        headers=_count(_HEADER, text),
        ordered_items=_count(_ORDERED, text),
        unordered_items=_count(_UNORDERED, text),
        bold_spans=_count(_BOLD_STARS, text) + _count(_BOLD_UNDERLINES, text),
    )


def without_fenced_code(answer: str) -> str:
    """Return `answer` without its fenced code blocks; an unclosed fence runs to the end."""
    if "```" not in answer and "~~~" not in answer:
        return answer
    return _FENCE.sub("", answer)


def count_fences(answer: str) -> int:
    """Count fenced code blocks; an unclosed one counts."""
    if "```" not in answer and "~~~" not in answer:
        return 0
    return sum(1 for _ in _FENCE.finditer(answer))


def count_words_and_marks(answer: str) -> int:
    """Count words and punctuation marks: the stand-in for tokens where no tokenizer counted."""
    return _count(_WORD, answer) + _count(_MARK, answer)


def normalised_difference(a: float, b: float) -> float:
    """Return (a - b)/(a + b + 1) of two counts: antisymmetric, between -1 and 1."""
    return (a - b) / (a + b + 1.0)


def _count(pattern: re.Pattern[str], text: str) -> int:
    return len(pattern.findall(text))
