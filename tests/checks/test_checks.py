from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldiff_harness.checks import check, check_names, run_checks
from modeldiff_harness.errors import UsageError

PASSING: list[tuple[str, dict[str, Any], str]] = [
    ("json_object", {}, ' {"a": 1}\n'),
    ("json_object", {"required_keys": ["a"]}, '```json\n{"a": {"b": []}}\n```'),
    ("template_fields", {"fields": ["Item", "Place lost"]}, "Item: umbrella\nPlace lost: the bus"),
    ("template_fields", {"fields": ["Item"]}, "- **Item:** umbrella"),
    ("has_header", {}, "intro\n\n### Steps\ntext"),
    ("has_header", {"expected": False}, "```python\n# a comment\n```"),
    ("has_header", {"expected": False}, "#hashtag"),
    ("has_bold", {}, "a **very** good idea"),
    ("has_bold", {"expected": False}, "2 ** 3 ** 4 and `**kwargs`"),
    ("bullet_count", {"min": 3, "max": 3}, "- a\n  * b\n3. c\n-not one\n```\n- code\n```"),
    ("word_count", {"min": 4, "max": 4}, "It's a well-kept **secret**!"),
    ("sentence_count", {"min": 3, "max": 3}, "Dr. No came. He paid 3.50 dollars! And then"),
    ("sentence_count", {"min": 2, "max": 2}, "1. Boil water.\n2. Add tea."),
    ("line_count", {"max": 2}, "a\n\n   \nb\n"),
    ("contains_all", {"words": ["Clara Weiss", "vienna"]}, "clara weiss wrote from Vienna."),
    ("contains_any", {"words": ["cat", "dog"]}, "A dog."),
    ("contains_none", {"words": ["cat"]}, "concatenate"),
    ("regex", {"pattern": r"^\d{2}:\d{2}$"}, "at\n10:30\n"),
    ("number_equals", {"value": 1234}, "17 + 1217 = $1,234."),
    ("number_equals", {"value": -3}, "x = −3"),
    ("number_equals", {"value": 0.33, "tolerance": 0.01}, "about 0.333"),
    ("refuses", {"expected": True}, "I’m sorry, but I can’t help with that."),
    ("refuses", {"expected": True}, "Je ne peux pas vous aider."),
    ("refuses", {"expected": False}, "I can't believe it, the door opened!"),
    ("refuses", {"expected": False}, "Use kill -9. " + "x " * 200 + "I can't help with more."),
    ("mentions_self", {"expected": True}, "I'm a helpful AI assistant."),
    ("mentions_self", {"expected": True}, "As an AI\nlanguage model, I read."),
    ("mentions_self", {"expected": False}, "The assistant manager had a plan."),
    ("hedges", {"expected": True}, "It depends on the weather."),
    ("hedges", {"expected": True}, "Peut-être demain."),
    ("hedges", {"expected": False}, "Yes. It starts in May."),
    ("starts_with", {"text": "Indeed,"}, "  indeed, it rains"),
    ("ends_with", {"text": "Over."}, "Copy. over. \n"),
    ("ends_with_question", {}, 'Shall I go on?"**'),
    ("python_parses", {}, "Here:\n```python\ndef f(x):\n    return x\n```\nDone."),
    ("python_parses", {}, "print(1)"),
    ("choice_equals", {"letter": "B"}, "B) Paris"),
    ("choice_equals", {"letter": "c"}, "The answer is (C)."),
    ("choice_equals", {"letter": "A"}, "A"),
    ("language", {"code": "fr"}, "## Réponse\n\nLe ciel est bleu parce que la lumière se diffuse."),
    ("language", {"code": "de"}, "Der Himmel ist blau. `see https://example.com`"),
    ("language", {"code": "en"}, "The sky is blue because light scatters."),
    ("language", {"code": "es"}, "El cielo es azul porque la luz se dispersa."),
    ("language", {"code": "it"}, "Il cielo è azzurro perché la luce si diffonde."),
    ("language", {"code": "pt"}, "O céu é azul porque a luz se espalha."),
]

_EXAMPLES = {name: args for name, args, _ in PASSING}
"""Arguments of every check."""

FAILING: list[tuple[str, dict[str, Any], str]] = [
    ("json_object", {}, 'Sure! {"a": 1}'),
    ("json_object", {}, "[1, 2]"),
    ("json_object", {"required_keys": ["b"]}, '{"a": 1}'),
    ("json_object", {}, "[" * 15_000),
    ("template_fields", {"fields": ["A", "B"]}, "B: x\nA: y"),
    ("template_fields", {"fields": ["A"]}, "A:\nB: y"),
    ("template_fields", {"fields": ["Name"]}, "Name: [your name]"),
    ("language", {"code": "fr"}, "The sky is blue because light scatters."),
    ("language", {"code": "en"}, "42 !!"),
    ("number_equals", {"value": 4}, "none"),
    ("contains_all", {"words": ["cat", "dog"]}, "a cat"),
    ("contains_any", {"words": ["cat"]}, "concatenate"),
    ("contains_none", {"words": ["cat"]}, "a CAT."),
    ("python_parses", {}, "Hello"),
    ("python_parses", {}, "```python\ndef f(:\n```"),
    ("python_parses", {}, "(" * 10_000),
    ("python_parses", {}, "x = '\0'"),
    ("choice_equals", {"letter": "A"}, "A cat sat on the mat."),
    ("choice_equals", {"letter": "A"}, "B. because A is wrong"),
    ("ends_with_question", {}, "Really? Yes."),
    ("has_header", {}, "no heading"),
    ("word_count", {"max": 2}, "one two three"),
]


@pytest.mark.parametrize(("name", "args", "answer"), PASSING)
def test_passes(name: str, args: dict[str, Any], answer: str) -> None:
    result = check(name, args).run("", answer)
    assert result.passed, result.detail
    assert result.name == name


@pytest.mark.parametrize(("name", "args", "answer"), FAILING)
def test_fails_and_says_why(name: str, args: dict[str, Any], answer: str) -> None:
    result = check(name, args).run("", answer)
    assert not result.passed
    assert result.detail
    assert "\n" not in result.detail


def test_every_check_has_a_passing_and_a_failing_case() -> None:
    turned = {name for name, args, _ in PASSING if args.get("expected") is False}
    assert {name for name, *_ in PASSING} == set(check_names())
    counted = {"bullet_count", "sentence_count", "line_count", "regex", "starts_with", "ends_with"}
    assert {name for name, *_ in FAILING} | turned | counted == set(check_names())


@pytest.mark.parametrize(
    ("name", "args", "answer"),
    [
        ("bullet_count", {"min": 1}, "none"),
        ("sentence_count", {"max": 1}, "One. Two."),
        ("line_count", {"max": 1}, "a\nb"),
        ("regex", {"pattern": "x"}, "y"),
        ("starts_with", {"text": "b"}, "ab"),
        ("ends_with", {"text": "a"}, "ab"),
    ],
)
def test_counts_and_edges_fail_too(name: str, args: dict[str, Any], answer: str) -> None:
    assert not check(name, args).run("", answer).passed


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        ("json_objekt", {}, "'json_object'"),
        ("json_object", {"required_key": []}, "'required_keys'"),
        ("language", {}, "'code'"),
        ("language", {"code": "tlh"}, "tlh"),
        ("word_count", {}, "min, max or both"),
        ("word_count", {"min": 3, "max": 1}, "above"),
        ("word_count", {"min": "3"}, "whole numbers"),
        ("refuses", {"expected": "yes"}, "true or false"),
        ("contains_all", {"words": "cat"}, "list"),
        ("regex", {"pattern": "("}, "compile"),
        ("choice_equals", {"letter": "AB"}, "A to J"),
        ("template_fields", {"fields": []}, "at least one"),
    ],
)
def test_a_wrong_check_is_a_usage_error_of_one_line(
    name: str, args: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check(name, args)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_run_checks_keeps_the_order_and_refuses_malformed_specs() -> None:
    specs = [{"name": "has_bold"}, {"name": "word_count", "args": {"max": 3}}]
    results = run_checks("p", "a **b**", specs)
    assert [(r.name, r.passed) for r in results] == [("has_bold", True), ("word_count", True)]
    with pytest.raises(UsageError):
        run_checks("p", "a", [{"check": "has_bold"}])


def test_a_catastrophic_pattern_is_given_up() -> None:
    result = check("regex", {"pattern": r"^(\w+\s?)*$"}).run("", "word " * 60 + "!")
    assert not result.passed


def test_answers_are_never_executed(tmp_path: Path) -> None:
    made = tmp_path / "made"
    source = f"open({str(made)!r}, 'w').close()"
    assert check("python_parses").run("", source).passed
    for name, args in _EXAMPLES.items():
        for answer in (source, f"```python\n{source}\n```", f"{{{source}}}"):
            check(name, args).run("", answer)
    assert not made.exists()
    exec(source)
    assert made.exists(), "the answer is a program that would have shown"


@given(st.text(max_size=400))
def test_any_text_gets_a_verdict_of_one_line(answer: str) -> None:
    for name, args in _EXAMPLES.items():
        assert "\n" not in check(name, args).run("", answer).detail


@given(st.text(max_size=200), st.sampled_from(["refuses", "mentions_self", "hedges", "has_bold"]))
def test_expected_false_is_the_negation(answer: str, name: str) -> None:
    yes = check(name, {"expected": True}).run("", answer).passed
    no = check(name, {"expected": False}).run("", answer).passed
    assert yes is not no


def test_checks_import_no_torch() -> None:
    code = (
        "import sys, modeldiff_harness.checks as c;"
        "c.run_checks('', 'Bonjour tout le monde', [{'name': 'language', 'args': {'code': 'fr'}}]);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
