from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldiff_harness.builtin.feature_lmarena import create
from modeldiff_harness.preferences.style import (
    MarkdownCounts,
    count_markdown,
    count_words_and_marks,
    has_unspaced_script,
    normalised_difference,
    without_fenced_code,
)

ANSWER = """# Title
Some **bold** and __also bold__ text, 2 ** 3 ** 4.

## Steps
1. First
2. Second
   - nested
* star
+ plus
-not an item
####### seven is no header
#hashtag

```python
# a comment
- not an item
1. neither
x = "**not bold**"
```
###### Six
"""


def test_every_mark_is_counted_outside_fences() -> None:
    assert count_markdown(ANSWER) == MarkdownCounts(
        headers=3,
        ordered_items=2,
        unordered_items=3,
        # `** 3 **` is bold to LMArena's pattern, which asks for nothing but a closed pair.
        bold_spans=3,
    )


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("a\n```\ncode\n```\nb", "a\n\nb"),
        ("a\n~~~\ncode\n```\nstill code\n~~~\nb", "a\n\nb"),
        ("a\n````md\n```\ninner\n```\n````\nb", "a\n\nb"),
        ("a\n   ```py\ncode\n   ```\nb", "a\n\nb"),
        ("a\n```py\n# cut off", "a\n"),
        ("a\n```", "a\n"),
        ("a ```not a fence``` b", "a ```not a fence``` b"),
        ("```inline``` b\n# c", "```inline``` b\n# c"),
        ("`x`\n# c", "`x`\n# c"),
        ("```\none\n```\n# mid\n```\ntwo\n```", "\n# mid\n"),
        # As FastChat's pattern has it: opened after text, closed after code.
        ("Here: ```py\n# code\n```\n# b", "Here: \n# b"),
        ("Here:\n```\n# code```\n# b", "Here:\n\n# b"),
        ("So ``` is a mark.\n# b", "So ``` is a mark.\n# b"),
        ("x = ```\n# b", "x = ```\n# b"),
        ("```py\nx = '```'\n# code\n```\n# b", "\n# b"),
        ("~~~text~~~\n# b", "~~~text~~~\n# b"),
        ("a ~~~\n# b\n~~~\n# c", "a ~~~\n# b\n"),
        ("```\r\n# code\r\n```\r\n# b", "\r\n# b"),
        ("~~~ ```\n# code\n~~~\n# b", "\n# b"),
    ],
)
def test_fenced_code_is_removed_and_only_that(answer: str, kept: str) -> None:
    assert without_fenced_code(answer) == kept


@pytest.mark.parametrize(
    "hostile",
    [
        "\n" * 200_000,
        "`" * 200_000,
        "```\n" * 50_000,
        "*" * 200_000,
        "**a" * 60_000,
        "__a" * 60_000,
        " \t" * 100_000,
        "1" * 200_000,
        "# " * 100_000,
        "\n```a`" * 30_000,
        "``` " * 50_000,
        "``` ~~~ " * 30_000,
        "x ````py\n" * 30_000,
        "x ```py\n" * 30_000,
        "```" + " " * 200_000 + "x",
        "~~~\n```\n" * 30_000,
    ],
)
def test_hostile_answers_are_counted(hostile: str) -> None:
    began = time.monotonic()
    counts = create().count(hostile, None)
    # Quadratic work on these takes minutes.
    assert time.monotonic() - began < 20
    assert all(value >= 0 for value in counts.values())


def test_lmarena_v1_names_four_features_and_sums_lists() -> None:
    features = create()
    assert features.name == "lmarena-v1"
    assert features.features == ("tokens", "headers", "list_items", "bold")
    assert features.count(ANSWER, 90) == {
        "tokens": 90.0,
        "headers": 3.0,
        "list_items": 5.0,
        "bold": 3.0,
    }


def test_tokens_count_fenced_code_and_fall_back_to_words_and_marks() -> None:
    features = create()
    assert features.count("a b.\n```\nc d\n```", None)["tokens"] == 5 + 6
    assert count_words_and_marks("Hello, wörld!") == 4


def test_the_difference_is_that_of_the_definition() -> None:
    features = create()
    a = {"tokens": 30.0, "headers": 0.0, "list_items": 4.0, "bold": 1.0}
    b = {"tokens": 9.0, "headers": 0.0, "list_items": 0.0, "bold": 6.0}
    assert list(features.difference(a, b)) == [21 / 40, 0.0, 4 / 5, -5 / 8]


@pytest.mark.parametrize(
    "answer",
    [
        "Here: ```py\n# code\n```\n# b",
        "```\n- code```\n- item\n1. one",
        "a ```**x**``` b **c**",
        "```\n**x**\n``` and ```\n**y**\n```\n**z**",
        "1234567890123. long\n12. short",
    ],
)
def test_code_and_long_numbers_are_counted_as_fastchat_does(answer: str) -> None:
    # FastChat, monitor/add_markdown_info.py: remove "```([^`]*)```", then count.
    text = answer
    for block in re.findall("```([^`]*)```", answer):
        text = text.replace(block, "")
    counts = count_markdown(answer)
    assert counts.headers == len(re.findall(r"^#{1,6}\s", text, re.MULTILINE))
    assert counts.ordered_items == len(re.findall(r"^\s*\d+\.\s", text, re.MULTILINE))
    assert counts.unordered_items == len(re.findall(r"^\s*[-*+]\s", text, re.MULTILINE))
    assert counts.bold_spans == len(re.findall(r"\*\*[^*\n]+\*\*", text))


@pytest.mark.parametrize(
    ("answer", "n", "unspaced"),
    [
        ("我喜欢河流。", 6, True),
        ("ロワール川は長い", 8, True),
        ("แม่น้ำยาว", 9, True),
        ("Loire 河, 1000 km", 5, True),
        ("루아르 강은 길다", 3, False),
        ("Die Loire fließt.", 4, False),
        ("\U00020000\U00020001", 2, True),
    ],
)
def test_scripts_without_spaces_are_counted_by_sign(answer: str, n: int, unspaced: bool) -> None:
    assert count_words_and_marks(answer) == n
    assert has_unspaced_script(answer) is unspaced


@given(st.text(alphabet="# \n\t-*+1.a_\u2028\r", max_size=60))
def test_the_counts_are_those_of_lmarenas_patterns(text: str) -> None:
    counts = count_markdown(text)
    headers = sum(len(re.findall(rf"^#{{{n}}}\s", text, re.M)) for n in range(1, 7))
    assert counts.headers == headers
    assert counts.ordered_items == len(re.findall(r"^\s*\d+\.\s", text, re.M))
    assert counts.unordered_items == len(re.findall(r"^\s*[-*+]\s", text, re.M))
    bold = len(re.findall(r"\*\*[^*\n]+\*\*", text)) + len(re.findall(r"__[^_\n]+__", text))
    assert counts.bold_spans == bold


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_difference_is_antisymmetric_and_bounded(a: int, b: int) -> None:
    assert normalised_difference(a, b) == -normalised_difference(b, a)
    assert -1.0 < normalised_difference(a, b) < 1.0
