"""Style of an answer as counts, and how two counts differ; no opinion on which is better."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

__all__ = [
    "MarkdownCounts",
    "count_fences",
    "count_markdown",
    "count_words_and_marks",
    "has_unspaced_script",
    "normalised_difference",
    "without_fenced_code",
]

# Three marks or more, what stands before them on their line (nothing), and after (nothing).
_FENCE_MARKS = re.compile(
    r"(?P<opens>^[^\S\n]*)?(?P<marks>`{3,}|~{3,})(?P<closes>[^\S\n]*(?=\n|\Z))?", re.MULTILINE
)
# LMArena's patterns (FastChat, monitor/add_markdown_info.py): `^` is spelt as a literal newline,
# one of which is put before the text, which the regex engine finds many times faster, and `\s*`
# stays on its line, so that hostile runs of blank lines take linear time.  The counts are the same.
_HEADER = re.compile(r"\n#{1,6}(?=\s)")
_ORDERED = re.compile(r"\n[^\S\n]*\d+\.(?=\s)")
_UNORDERED = re.compile(r"\n[^\S\n]*[-*+](?=\s)")
_BOLD_STARS = re.compile(r"\*\*[^*\n]+\*\*")
_BOLD_UNDERLINES = re.compile(r"__[^_\n]+__")
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""Scripts that set no spaces between words: a run of them is a sentence, not a word."""
_UNSPACED_SIGN = re.compile(f"[{_UNSPACED}]")
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_MARK = re.compile(rf"[^\w\s{_UNSPACED}]")


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
    """Count headers, list items and bold spans of `answer` outside code between three marks."""
    text = "\n" + _without(answer, ((span.start, span.end) for span in _code(answer)))
    return MarkdownCounts(
        headers=_count(_HEADER, text),
        ordered_items=_count(_ORDERED, text),
        unordered_items=_count(_UNORDERED, text),
        bold_spans=_count(_BOLD_STARS, text) + _count(_BOLD_UNDERLINES, text),
    )


def without_fenced_code(answer: str) -> str:
    """Return `answer` without its fenced code blocks; an unclosed fence runs to the end."""
    return _without(answer, ((span.start, span.end) for span in _code(answer) if span.block))


def count_fences(answer: str) -> int:
    """Count fenced code blocks; an unclosed one counts."""
    return sum(span.block for span in _code(answer))


@dataclass(frozen=True)
class _Code:
    start: int
    end: int
    block: bool
    """False for three marks and more around a piece of one line."""


def _without(answer: str, spans: Iterable[tuple[int, int]]) -> str:
    kept, at = [], 0
    for start, end in spans:
        kept.append(answer[at:start])
        at = end
    return "".join((*kept, answer[at:]))


def _code(answer: str) -> Iterator[_Code]:
    """Yield the pieces of code in their order, in time linear in the answer's length.

    A fence that opens a line closes as Markdown says (CommonMark 0.31, §4.5), at a run of at least
    as many marks of its kind with nothing after it on its line, or at the end of the text, as in an
    answer that was cut off.  One of backticks may, as FastChat's pattern has it, also open after
    text (`Here: ```py`) and close after code (`return x``` `), as models write them.
    """
    if "```" not in answer and "~~~" not in answer:
        return
    marks = list(_FENCE_MARKS.finditer(answer))
    largest = _largest_closers(marks)
    n = 0
    while n < len(marks):
        mark = marks[n]
        n += 1
        kind, size = mark["marks"][0], len(mark["marks"])
        after = marks[n] if n < len(marks) else None
        if after is not None and "\n" in answer[mark.end("marks") : after.start("marks")]:
            after = None  # on another line
        if after is not None and after["marks"][0] == kind:
            yield _Code(mark.start("marks"), after.end("marks"), block=False)
            n += 1
        elif not _may_open(answer, mark, alone=after is None):
            continue
        elif largest[n][kind] >= size:
            while not _closes(marks[n], kind, size):
                n += 1
            yield _Code(mark.start(), marks[n].end("marks"), block=True)
            n += 1
        elif mark["opens"] is not None:
            yield _Code(mark.start(), len(answer), block=True)
            return


def _may_open(answer: str, mark: re.Match[str], *, alone: bool) -> bool:
    """Whether marks may open a block; `alone`: there are no others on their line."""
    opens_line = mark["opens"] is not None
    if mark["marks"][0] == "~":
        return opens_line
    if not opens_line and not alone:
        return False
    line_end = answer.find("\n", mark.end("marks"))
    info = answer[mark.end("marks") : len(answer) if line_end < 0 else line_end]
    # After text only the name of a language may follow, or nothing.
    return "`" not in info and (opens_line or len(info.split()) <= 1)


def _closes(mark: re.Match[str], kind: str, size: int) -> bool:
    whole = kind == "`" or mark["opens"] is not None
    same = mark["marks"][0] == kind and len(mark["marks"]) >= size
    return same and whole and mark["closes"] is not None


def _largest_closers(marks: Sequence[re.Match[str]]) -> list[dict[str, int]]:
    """The longest run that may close a block of either kind, among marks n, n + 1, …"""
    found = [{"`": 0, "~": 0}]
    for mark in reversed(marks):
        here, kind = dict(found[-1]), mark["marks"][0]
        if _closes(mark, kind, 0):
            here[kind] = max(here[kind], len(mark["marks"]))
        found.append(here)
    return found[::-1]


def count_words_and_marks(answer: str) -> int:
    """Count words and punctuation marks: the stand-in for tokens where no tokenizer counted.

    A sign of a script without spaces between words (Chinese, Japanese, Thai …) counts as a word.
    """
    return _count(_WORD, answer) + _count(_MARK, answer)


def has_unspaced_script(answer: str) -> bool:
    """Say whether `answer` has signs of a script that sets no spaces between words."""
    return not answer.isascii() and _UNSPACED_SIGN.search(answer) is not None


def normalised_difference(a: float, b: float) -> float:
    """Return (a - b)/(a + b + 1) of two counts: antisymmetric, between -1 and 1."""
    return (a - b) / (a + b + 1.0)


def _count(pattern: re.Pattern[str], text: str) -> int:
    return len(pattern.findall(text))
