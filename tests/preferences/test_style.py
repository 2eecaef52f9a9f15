from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldiff_harness.builtin.feature_lmarena import create
from modeldiff_harness.preferences.style import (
    MarkdownCounts,
    count_markdown,
    count_words_and_marks,
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
    ],
)
def test_hostile_answers_are_counted(hostile: str) -> None:
    counts = create().count(hostile, None)
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
