"""Checks of form: machine formats, templates, Markdown, length."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable, Sequence

from modeldiff_harness.checks import text
from modeldiff_harness.checks.registry import Judgement, Outcome, register

_Finder = Callable[[str], list[str]]

_CODE_NODES = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign,
    ast.AnnAssign, ast.AugAssign, ast.For, ast.While, ast.If, ast.With, ast.Return, ast.Call,
)  # fmt: skip


@register
def json_object(required_keys: Sequence[str] = ()) -> Judgement:
    """The whole answer, or its only fenced block, is one JSON object with the required keys."""
    required = _strings(required_keys, "required_keys")

    def judge(prompt: str, answer: str) -> Outcome:
        blocks = text.fenced_blocks(answer)
        body = blocks[0] if len(blocks) == 1 else answer[: text.MAX_ANSWER_CHARS]
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError) as error:
            return False, f"not JSON: {type(error).__name__}"
        if not isinstance(parsed, dict):
            return False, f"JSON, but a {type(parsed).__name__} and not an object"
        missing = [key for key in required if key not in parsed]
        return not missing, f"JSON object, missing keys: {missing or 'none'}"

    return judge


@register
def template_fields(fields: Sequence[str]) -> Judgement:
    """Every field stands on its own line as `Field: something`, in the order given.

    Bold or list marks around the field's name are allowed; an empty or bracketed value is not.
    """
    names = _strings(fields, "fields")
    if not names:
        raise ValueError("fields must name at least one field")

    def judge(prompt: str, answer: str) -> Outcome:
        position = 0
        body = answer[: text.MAX_ANSWER_CHARS]
        for name in names:
            pattern = rf"^[ \t>*_#-]*{re.escape(name)}[ \t*_]*:[ \t*_]*([^\s*_\[<{{(].*)$"
            match = re.compile(pattern, re.I | re.M).search(body, position)
            if match is None:
                return False, f"field {name!r} is missing, empty or out of order"
            position = match.end()
        return True, f"{len(names)} fields filled in order"

    return judge


@register
def has_header(expected: bool = True) -> Judgement:
    """The answer has a Markdown heading outside code (or has none, with expected=false)."""
    return _presence(text.headers, "headings", expected)


@register
def has_bold(expected: bool = True) -> Judgement:
    """The answer has bold text outside code (or has none, with expected=false)."""
    return _presence(text.bold_spans, "bold spans", expected)


@register
def bullet_count(min: int | None = None, max: int | None = None) -> Judgement:
    """The number of list items, ordered and unordered, outside code."""
    return _count(text.bullets, "list items", min, max)


@register
def word_count(min: int | None = None, max: int | None = None) -> Judgement:
    """The number of words; marks and punctuation are none."""
    return _count(text.words, "words", min, max)


@register
def sentence_count(min: int | None = None, max: int | None = None) -> Judgement:
    """The number of sentences, headings and list items counted as what they hold."""
    return _count(text.sentences, "sentences", min, max)


@register
def line_count(min: int | None = None, max: int | None = None) -> Judgement:
    """The number of lines that are not blank."""
    return _count(text.lines, "lines", min, max)


@register
def python_parses() -> Judgement:
    """The answer's first fenced block, or the whole answer, is Python by its grammar.

    It is parsed, never compiled or run. Prose that happens to parse (a single word) is no code.
    """

    def judge(prompt: str, answer: str) -> Outcome:
        blocks = text.fenced_blocks(answer)
        source = blocks[0] if blocks else answer[: text.MAX_ANSWER_CHARS]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return False, f"not Python: {type(error).__name__}"
        is_code = any(isinstance(node, _CODE_NODES) for node in ast.walk(tree))
        return is_code, "Python" if is_code else "parses, but holds no statement or call"

    return judge


def _strings(given: Sequence[str], name: str) -> tuple[str, ...]:
    if isinstance(given, str) or not all(isinstance(item, str) for item in given):
        raise TypeError(f"{name} must be a list of strings")
    return tuple(given)


def _presence(find: _Finder, what: str, expected: bool) -> Judgement:
    if not isinstance(expected, bool):
        raise TypeError("expected must be true or false")

    def judge(prompt: str, answer: str) -> Outcome:
        count = len(find(answer))
        return bool(count) == expected, f"{count} {what}"

    return judge


def _count(find: _Finder, what: str, low: int | None, high: int | None) -> Judgement:
    if low is None and high is None:
        raise ValueError("give min, max or both")
    for bound in (low, high):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int)):
            raise TypeError("min and max must be whole numbers")
    if low is not None and high is not None and low > high:
        raise ValueError(f"min {low} is above max {high}")

    def judge(prompt: str, answer: str) -> Outcome:
        count = len(find(answer))
        inside = (low is None or count >= low) and (high is None or count <= high)
        return inside, f"{count} {what}"

    return judge
