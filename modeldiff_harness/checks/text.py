"""Plain views of an answer that several checks share: code fences, prose, lines, sentences."""

from __future__ import annotations

import re

MAX_ANSWER_CHARS = 20_000
"""Checks read at most this much of an answer: answers are hostile text, and time is bounded."""

_FENCE = re.compile(r"^[ \t]*(```|~~~)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.M | re.S)
_BULLET = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+\S")
_HEADER = re.compile(r"^ {0,3}#{1,6}[ \t]+\S")
_BOLD = re.compile(r"\*\*[^\s*](?:[^*\n]{0,300}[^\s*])?\*\*|__[^\s_](?:[^_\n]{0,300}[^\s_])?__")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_MARKER = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|(?:[-*+•>]|\d{1,3}[.)])[ \t]+)", re.M)
_ABBREVIATION = re.compile(r"\b(?:mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|no|fig)\.$", re.I)
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]*]*(?=\s|$)|[。！？]+")


def fenced_blocks(answer: str) -> tuple[str, ...]:
    """Return the bodies of fenced code blocks; an unclosed fence runs to the end."""
    return tuple(match.group(2) for match in _FENCE.finditer(answer[:MAX_ANSWER_CHARS]))


def prose(answer: str) -> str:
    """Return the answer without its fenced code, in which marks are code and not formatting."""
    return _FENCE.sub("", answer[:MAX_ANSWER_CHARS])


def words(answer: str) -> list[str]:
    """Return words; a run of an unsegmented script (Chinese, Japanese) counts as one word."""
    return _WORD.findall(answer[:MAX_ANSWER_CHARS])


def lines(answer: str) -> list[str]:
    """Return the lines that are not blank."""
    return [line for line in answer[:MAX_ANSWER_CHARS].splitlines() if line.strip()]


def bullets(answer: str) -> list[str]:
    """Return list items, ordered and unordered, outside fenced code."""
    return [line for line in prose(answer).splitlines() if _BULLET.match(line)]


def headers(answer: str) -> list[str]:
    """Return Markdown headings (line-start #×1–6) outside fenced code."""
    return [line for line in prose(answer).splitlines() if _HEADER.match(line)]


def bold_spans(answer: str) -> list[str]:
    """Return bold spans outside fenced code."""
    return _BOLD.findall(prose(answer))


def sentences(answer: str) -> list[str]:
    """Return sentences; list and heading marks are dropped, common abbreviations do not end one.

    What follows the last end mark counts as a sentence of its own when it holds a word, so an
    answer that was cut off still counts what was begun.
    """
    found: list[str] = []
    for paragraph in _MARKER.sub("", prose(answer)).splitlines():
        start = 0
        for match in _SENTENCE_END.finditer(paragraph):
            if _ABBREVIATION.search(paragraph[start : match.start() + 1]):
                continue
            found.append(paragraph[start : match.end()])
            start = match.end()
        found.append(paragraph[start:])
    return [sentence.strip() for sentence in found if _WORD.search(sentence)]
