from __future__ import annotations

import dataclasses

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.builtin.feature_lmarena import create
from modeldiff_harness.preferences.rows import rows_of_pair, style_columns

GIVEN = {"tokens": 9.0, "headers": 0.0, "list_items": 0.0, "bold": 0.0}
NONE = {"tokens": 0.0, "headers": 0.0, "list_items": 0.0, "bold": 0.0}
BARE = Battle("1", "p", "c", "b", "tie", "j", "human")
TEXT = dataclasses.replace(BARE, response_a="one **two**", response_b="one")
COUNTED = dataclasses.replace(BARE, style_a=GIVEN, style_b=NONE)
TOKENS = dataclasses.replace(TEXT, style_a={"tokens": 7.0}, style_b={"tokens": 2.0})


def test_counts_that_came_with_the_battle_are_taken() -> None:
    columns = style_columns([COUNTED], create())
    assert columns.z == ((0.9, 0.0, 0.0, 0.0),)
    assert columns.flags == ()
    (theirs,) = rows_of_pair([COUNTED], "b", create()).rows.z_NK
    assert theirs.tolist() == [-0.9, 0.0, 0.0, 0.0]


def test_the_answers_are_counted_with_their_tokens() -> None:
    columns = style_columns([TOKENS], create())
    assert columns.z == ((5 / 10, 0.0, 0.0, 1 / 2),)
    assert columns.flags == ()


def test_words_and_marks_stand_in_for_tokens_and_it_is_said() -> None:
    columns = style_columns([TEXT], create())
    assert columns.z == ((5 / 8, 0.0, 0.0, 1 / 2),)
    assert columns.flags == ("tokens_counted_by_regex",)


def test_ways_of_counting_are_never_mixed() -> None:
    columns = style_columns([TOKENS, TEXT], create())
    assert columns.flags == ("tokens_counted_by_regex",)
    assert columns.z[0] == columns.z[1]


def test_a_few_battles_without_style_are_left_out_and_more_switch_it_off() -> None:
    columns = style_columns([BARE, *[COUNTED] * 19], create())
    assert columns.rows == tuple(range(1, 20))
    assert len(columns.z) == 19
    assert columns.flags == ("without_style_left_out:1",)
    columns = style_columns([BARE, BARE, *[COUNTED] * 18], create())
    assert columns.z is None
    assert columns.rows == tuple(range(20))
    assert columns.flags == ("style_control_not_available:2",)


def test_counts_of_another_set_are_not_taken_for_this_one() -> None:
    other = {"tokens": 9.0, "header_density": 0.1}
    row = dataclasses.replace(BARE, style_a=other, style_b=other)
    assert style_columns([row], create()).z is None
