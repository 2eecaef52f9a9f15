from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.builtin.feature_lmarena import create
from modeldiff_harness.errors import RunError
from modeldiff_harness.preferences.flags import describe_flag
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


def counted(**counts: float) -> Battle:
    return dataclasses.replace(BARE, style_a=counts, style_b=counts)


LISTS = {"tokens": 9.0, "headers": 0.0, "lists": 2.0, "bold": 0.0}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (counted(**LISTS), "no 'list_items', 'lists' is unknown (did you mean 'list_items'?)"),
        (counted(tokens=9.0, Headers=1.0, list_items=1.0, bold=0.0), "(did you mean 'headers'?)"),
        (counted(tokens=9.0, headers=1.0, bold=0.0), "no 'list_items'; lmarena-v1 is asked for"),
        (counted(length=9.0, verbosity=3.0), "'verbosity' is unknown"),
    ],
)
def test_counts_of_unknown_names_are_said_with_the_nearest(row: Battle, said: str) -> None:
    (flag,) = style_columns([row], create()).flags
    assert flag.startswith("style_counts_unknown:")
    assert said in flag
    assert said in describe_flag(flag)


def test_unknown_counts_are_said_where_the_answers_stand_in_for_them() -> None:
    row = dataclasses.replace(TEXT, style_a=LISTS, style_b=LISTS)
    columns = style_columns([row], create())
    assert columns.z is not None
    assert columns.flags[0].startswith("style_counts_unknown:no 'list_items', 'lists'")
    # Counts of a larger set serve a smaller one, and tokens alone are no set.
    more = dataclasses.replace(COUNTED, style_a=GIVEN | {"emoji": 1.0}, style_b=NONE)
    assert style_columns([more], create()).flags == ()


def test_lengths_in_signs_are_said() -> None:
    row = dataclasses.replace(TEXT, response_a="我喜欢河流。", response_b="一条河")
    columns = style_columns([row, TEXT], create())
    assert columns.z[0][0] == (6 - 3) / (6 + 3 + 1)
    assert columns.flags == ("tokens_counted_by_regex", "length_in_characters:2")
    tokens = dataclasses.replace(row, style_a={"tokens": 7.0}, style_b={"tokens": 2.0})
    assert style_columns([tokens], create()).flags == ()


class Careless:
    """A feature set that breaks its contract."""

    name, features = "careless", ("tokens",)

    def __init__(self, counts: Any = None, difference: Any = (0.0,)) -> None:
        self.counts, self.gives = counts, difference

    def count(self, answer: str, n_tokens: int | None) -> Any:
        if isinstance(self.counts, Exception):
            raise self.counts
        return self.counts

    def difference(self, a: Any, b: Any) -> Any:
        return self.gives


@pytest.mark.parametrize(
    ("careless", "said"),
    [
        (Careless(ZeroDivisionError("oops")), "failed in count: ZeroDivisionError: oops"),
        (Careless([1.0]), "counted None for 'tokens'"),
        (Careless({"token": 1.0}), "counted None for 'tokens'"),
        (Careless({"tokens": float("nan")}), "counted nan for 'tokens'"),
        (Careless({"tokens": -1}), "counted -1 for 'tokens'"),
        (Careless({"tokens": 1}, [0.0, 1.0]), "gave the difference"),
        (Careless({"tokens": 1}, None), "failed in difference: TypeError"),
        (Careless({"tokens": 1}, ["x"]), "gave the difference"),
    ],
)
def test_a_feature_set_that_breaks_its_contract_is_named(careless: Careless, said: str) -> None:
    with pytest.raises(RunError, match=f"the feature set 'careless' {said}"):
        style_columns([TEXT], careless)
