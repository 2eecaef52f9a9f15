"""Checks of wording: words, patterns, numbers, openings and endings, choices."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence

import regex as timed_regex  # type: ignore[import-untyped]

from modeldiff_harness.checks import text
from modeldiff_harness.checks.registry import Judgement, Outcome, register

_MAX_PATTERN_CHARS = 300
_MAX_SEARCHED_CHARS = 4_000
_REGEX_SECONDS = 2.0
_NUMBER = re.compile(r"(?<![\w.])[-−+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
_CLOSING = " \t\r\n\"'”’)*_»"
_CHOICE_OPENING = re.compile(r"^[\s(\[*_\"']*([A-J])(?=[)\].:*_\"']|\s*$|\s*\n)")
_CHOICE_NAMED = re.compile(
    r"\b(?:answer|option|choice)\b(?:\s+is)?\s*:?\s*[\s(\[*_\"']*([A-J])\b(?!['’])", re.I
)


@register
def contains_all(words: Sequence[str]) -> Judgement:
    """Every word or phrase occurs, on word boundaries, whatever its case."""
    return _containing(words, lambda hits, wanted: hits == wanted)


@register
def contains_any(words: Sequence[str]) -> Judgement:
    """At least one of the words or phrases occurs, on word boundaries, whatever its case."""
    return _containing(words, lambda hits, wanted: hits > 0)


@register
def contains_none(words: Sequence[str]) -> Judgement:
    """None of the words or phrases occurs, on word boundaries, whatever its case."""
    return _containing(words, lambda hits, wanted: hits == 0)


@register
def regex(pattern: str) -> Judgement:
    """The pattern is found in the first 4,000 characters; dot excludes newlines, ^ and $ are lines.

    A pattern that backtracks for more than two seconds counts as not found, and says so: neither
    a careless pattern nor a hostile answer can hold up a run.
    """
    if not isinstance(pattern, str) or len(pattern) > _MAX_PATTERN_CHARS:
        raise ValueError(f"pattern must be a string of at most {_MAX_PATTERN_CHARS} characters")
    try:
        compiled = timed_regex.compile(pattern, timed_regex.MULTILINE)
    except timed_regex.error as error:
        raise ValueError(f"pattern {pattern!r} does not compile: {error}") from error

    def judge(prompt: str, answer: str) -> Outcome:
        try:
            match = compiled.search(answer[:_MAX_SEARCHED_CHARS], timeout=_REGEX_SECONDS)
        except TimeoutError:
            return False, f"search given up after {_REGEX_SECONDS:g} s: simplify the pattern"
        return match is not None, "found" if match else "not found"

    return judge


@register
def number_equals(value: float, tolerance: float = 1e-9) -> Judgement:
    """The last number of the answer equals `value` within `tolerance`, in absolute terms."""
    for number in (value, tolerance):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise TypeError("value and tolerance must be numbers")

    def judge(prompt: str, answer: str) -> Outcome:
        found = _NUMBER.findall(answer[: text.MAX_ANSWER_CHARS])
        if not found:
            return False, "no number"
        last = float(found[-1].replace(",", "").replace("−", "-"))
        return math.isclose(last, value, rel_tol=0, abs_tol=tolerance), f"last number {last:g}"

    return judge


@register
def starts_with(text: str) -> Judgement:
    """The answer, surrounding space dropped, starts with the text, whatever its case."""
    wanted = _wanted(text)

    def judge(prompt: str, answer: str) -> Outcome:
        opening = answer.strip()[: 2 * len(wanted) + 8].casefold()
        return opening.startswith(wanted), f"starts {opening[:40]!r}"

    return judge


@register
def ends_with(text: str) -> Judgement:
    """The answer, surrounding space dropped, ends with the text, whatever its case."""
    wanted = _wanted(text)

    def judge(prompt: str, answer: str) -> Outcome:
        ending = answer.strip()[-2 * len(wanted) - 8 :].casefold()
        return ending.endswith(wanted), f"ends {ending[-40:]!r}"

    return judge


@register
def ends_with_question() -> Judgement:
    """The last sign of the answer, closing quotes and marks dropped, is a question mark."""

    def judge(prompt: str, answer: str) -> Outcome:
        ending = answer.rstrip(_CLOSING)
        return ending.endswith(("?", "？", "؟")), f"ends {ending[-20:]!r}"

    return judge


@register
def choice_equals(letter: str) -> Judgement:
    """The choice named (an opening letter with a mark, or "answer is B") is `letter`."""
    if not isinstance(letter, str) or re.fullmatch(r"[A-Ja-j]", letter) is None:
        raise ValueError("letter must be one of A to J")

    def judge(prompt: str, answer: str) -> Outcome:
        body = answer[: text.MAX_ANSWER_CHARS]
        match = _CHOICE_OPENING.search(body) or _CHOICE_NAMED.search(body)
        if match is None:
            return False, "no choice named"
        return match.group(1).upper() == letter.upper(), f"chose {match.group(1).upper()}"

    return judge


def _wanted(given: str) -> str:
    if not isinstance(given, str) or not given.strip():
        raise ValueError("text must be a string that is not blank")
    return given.strip().casefold()


def _containing(words: Sequence[str], accept: Callable[[int, int], bool]) -> Judgement:
    if isinstance(words, str) or not words or not all(isinstance(word, str) for word in words):
        raise TypeError("words must be a list of strings that is not empty")
    patterns = {word: _word_pattern(word) for word in words}

    def judge(prompt: str, answer: str) -> Outcome:
        folded = answer[: text.MAX_ANSWER_CHARS].casefold()
        hits = _hits(patterns.items(), folded)
        return accept(len(hits), len(patterns)), f"found: {', '.join(hits) or 'none'}"

    return judge


def _hits(patterns: Iterable[tuple[str, re.Pattern[str]]], folded: str) -> list[str]:
    return [word for word, pattern in patterns if pattern.search(folded)]


def _word_pattern(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(word.casefold())}(?!\w)")
