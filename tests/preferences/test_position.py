"""The candidate's place: told from what it is worth, or said."""

from __future__ import annotations

import pytest

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.preferences.position import position_flags, position_sentence


def battles(n_first: int, n_second: int, *, kind: str = "human", known: bool = True):
    return [
        Battle(
            str(i), f"p{i}", *(("c", "b") if i < n_first else ("b", "c")), "tie", "j", kind,
            sides_known=known,
        )
        for i in range(n_first + n_second)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("n_first", "n_second", "flags"),
    [
        (50, 50, ()),
        # Exact two-sided sign test: p = .368, .0569, .0352 and 2e-9.
        (45, 55, ()),
        (40, 60, ()),
        (39, 61, ("position_unbalanced",)),
        (5300, 4700, ("position_unbalanced",)),
        (8, 2, ()),  # p = .109
        (9, 1, ("position_not_identified",)),  # p = .021, and one battle has no worth
        (396, 4, ("position_not_identified",)),
        (40, 0, ("position_not_identified",)),
        (0, 40, ("position_not_identified",)),
        (0, 0, ()),
    ],
)
def test_unbalanced_sides_are_told_by_a_test(
    n_first: int, n_second: int, flags: tuple[str, ...]
) -> None:
    assert position_flags(battles(n_first, n_second), "c") == flags
    assert position_flags(battles(n_first, n_second), "b") == flags


@pytest.mark.parametrize("kind", ["verifiable", "reward_model", "heuristic"])
def test_judges_that_read_each_answer_alone_have_no_place(kind: str) -> None:
    assert position_flags(battles(40, 0, kind=kind), "c") == ()


def test_a_place_that_is_not_known_is_not_one() -> None:
    assert position_flags(battles(40, 0, known=False), "c") == ()
    # Battles that hide their order do not make up for those that show one.
    mixed = battles(40, 0) + battles(0, 40, known=False)
    assert position_flags(mixed, "c") == ("position_not_identified",)


def test_a_prompt_counts_once_however_often_it_is_judged() -> None:
    one = battles(1, 0)[0]
    repeated = [one] * 30 + battles(10, 14)[1:]
    assert position_flags(repeated, "c") == ()


@pytest.mark.parametrize(
    ("n_first", "n_second", "said"),
    [
        (9, 0, "c was always shown first"),
        (0, 9, "c was always shown second"),
        (60, 1, "c was almost always shown on one side"),
    ],
)
def test_the_sentence_says_where_it_was(n_first: int, n_second: int, said: str) -> None:
    assert position_sentence(battles(n_first, n_second), "c").startswith(said)
