"""Every feature set: counts are features, differences are antisymmetric; the sets' own rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldiff_harness.plugins import load_registry

SETS = {
    found.component.name: load_registry().choose("feature_set", found.component.name).build()
    for found in load_registry().all("feature_set")
}
LONG = "# Head\n\n- **one** 🙂\n- two 👩🏽‍💻\n\n```py\n# not a head\n```\n"


@pytest.mark.parametrize("name", SETS)
@given(answers=st.tuples(st.text(max_size=80), st.text(max_size=80)))
def test_differences_are_antisymmetric_and_bounded(name: str, answers: tuple[str, str]) -> None:
    features = SETS[name]
    assert features.name == name
    a, b = (features.count(answer, None) for answer in answers)
    assert set(a) == set(features.features)
    there, back = features.difference(a, b), features.difference(b, a)
    assert list(there) == [-value for value in back]
    assert all(-1 <= value <= 1 for value in there)
    assert not any(features.difference(a, a))


def test_arena_hard_compares_marks_per_token() -> None:
    features = SETS["arena-hard-v1"]
    short = {"tokens": 10.0, "headers": 1.0, "list_items": 0.0, "bold": 2.0}
    double = {name: 2 * count for name, count in short.items()}
    assert features.difference(double, short) == pytest.approx([10 / 30, 0, 0, 0])
    bold = features.difference(short, {**short, "bold": 0.0})[3]
    assert bold == pytest.approx(0.2 / 1.2)


def test_extended_counts_fences_and_emoji_as_readers_do() -> None:
    counts = SETS["extended-v1"].count(LONG, 40)
    assert (counts["code_fences"], counts["emoji"], counts["tokens"]) == (1, 2, 40)
    assert (counts["headers"], counts["list_items"], counts["bold"]) == (1, 2, 1)
    assert SETS["extended-v1"].count("```\nopen", None)["code_fences"] == 1
    assert SETS["extended-v1"].count("a*b + c # d", None)["emoji"] == 0
