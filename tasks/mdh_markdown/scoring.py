"""Scoring of mdh_markdown: the list, heading or bold span that was asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_FENCE = re.compile(r"^[ \t]*(```|~~~)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.M | re.S)
_BULLET = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+\S")
_HEADER = re.compile(r"^ {0,3}#{1,6}[ \t]+\S")
_BOLD = re.compile(r"\*\*[^\s*](?:[^*\n]{0,300}[^\s*])?\*\*|__[^\s_](?:[^_\n]{0,300}[^\s_])?__")


def bullet_count(answer: str) -> int:
    """Return the number of list items, ordered and unordered, outside fenced code."""
    return sum(_BULLET.match(line) is not None for line in _FENCE.sub("", answer).splitlines())


def has_header(answer: str) -> bool:
    """Return whether the answer has a Markdown heading outside fenced code."""
    return any(_HEADER.match(line) for line in _FENCE.sub("", answer).splitlines())


def has_bold(answer: str) -> bool:
    """Return whether the answer has a bold span outside fenced code."""
    return _BOLD.search(_FENCE.sub("", answer)) is not None


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Return 1 when the answer has the form that the item names."""
    answer = results[0]
    passed = {
        "bullets": bullet_count(answer) >= 2,
        "header": has_header(answer),
        "bold": has_bold(answer),
    }[doc["check"]]
    return {"acc": float(passed)}
