"""Hostile rows for every importer: no traceback, and every row is read or counted."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeldiff_harness.artifacts import Battles
from modeldiff_harness.errors import UsageError
from modeldiff_harness.plugins import load_registry
from modeldiff_harness.preferences.importers import import_battles
from modeldiff_harness.testing import battle_layouts as layouts

Row = dict[str, Any]


def native(n: int = 0) -> Row:
    return {
        "battle_id": str(n), "prompt_id": f"p{n}", "model_a": "x", "model_b": "y",
        "winner": "model_a", "judge": "j", "judge_kind": "human", "y_a": 1.0, "order": 0,
        "style_a": {"tokens": 3}, "style_b": {"tokens": 4}, "categories": ["math"],
        "sides_known": True,
    }  # fmt: skip


def flat(n: int = 0) -> Row:
    return {
        "battle_id": str(n), "model_a": "x", "model_b": "y", "winner": "x", "prompt": "Why?",
        "response_a": "A", "response_b": "B", "style_a.tokens": 3, "style_b.tokens": 4,
        "categories": "math; code", "order": 1, "y_a": "1", "sides_known": "true",
    }  # fmt: skip


MAKERS: dict[str, tuple[Callable[..., Row], str, int]] = {
    "140k": (layouts.arena_140k, "lmarena", 1),
    "100k": (layouts.arena_100k, "lmarena", 1),
    "33k": (layouts.arena_33k, "lmarena", 1),
    "mt-bench votes": (layouts.mt_bench_votes, "lmarena", 1),
    "55k": (layouts.arena_55k, "lmsys-55k", 1),
    "mt-bench": (layouts.mt_bench_pair, "mt-bench", 2),
    "arena-hard 0.1": (layouts.arena_hard_v1, "arena-hard", 2),
    "arena-hard 2.0": (layouts.arena_hard_v2, "arena-hard", 2),
    "alpaca_eval": (layouts.alpaca_eval, "alpaca-eval", 1),
    "native": (native, "native", 1),
    "table": (flat, "table", 1),
}
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**63, 10**400, -0.5, 1e308, float("nan"), float("inf")]),
    st.text(max_size=6),
    st.sampled_from(
        ["", "tie", "model_a", "a", "TRUE", "1e999", "nan", "[1]", '{"a": {}}', "[" * 2000,
         "\ud800", "\x00", "\u202e", "x", "A>B"]
    ),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3)), max_size=3),
    st.dictionaries(st.text(max_size=4), st.one_of(st.none(), st.integers()), max_size=3),
    st.just([[["deep"]]]),
    st.just([{}]),
    st.just([{"role": "user", "content": {"a": 1}}]),
    st.just({"role": ["user"]}),
)  # fmt: skip


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[int, bool, Any]]:
    """Where, whether the place is removed, and what stands there instead."""
    one = st.tuples(st.integers(0, 200), st.integers(0, 9).map(lambda n: n == 0), ODD)
    return draw(st.lists(one, min_size=1, max_size=3))


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a row, however deep."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    found = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], dict | list):
            found += places(value[key])
    return found


def changed(row: Row, what: list[tuple[int, bool, Any]]) -> Row:
    row = copy.deepcopy(row)
    for n, remove, value in what:
        spots = places(row)
        if not spots:
            break
        container, key = spots[n % len(spots)]
        if remove:
            del container[key]
        else:
            container[key] = copy.deepcopy(value)
    return row


def check(layout: str, what: list[tuple[int, bool, Any]], path: Path) -> None:
    make, format, games = MAKERS[layout]
    good = [make(n) for n in range(2)]
    bad = changed(make(7), what)
    path.write_text("\n".join(json.dumps(row) for row in (*good, bad)))
    try:
        battles: Battles = import_battles(path, IMPORTERS, format)
    except UsageError as error:
        # The one way to refuse a whole file for a row: its winner may mean two things.
        if "may be a side or a model" not in str(error):
            raise
        return
    n_dropped = sum(battles.dropped.values())
    # Rows read and rows dropped are all the rows: an odd one is never half there.
    n_read = len(Counter(_row_of(battle.battle_id) for battle in battles.battles))
    assert n_read + n_dropped == 3
    assert 2 * games <= len(battles.battles) <= 3 * games
    assert battles.n_missing <= n_dropped
    assert all(isinstance(reason, str) and reason for reason in battles.dropped)
    for battle in battles.battles:
        json.dumps(battle.__dict__, ensure_ascii=False, allow_nan=False).encode()


def _row_of(battle_id: str) -> str:
    return battle_id.rpartition("/game")[0] or battle_id


REGISTRY = load_registry()
IMPORTERS = {
    name: REGISTRY.choose("battle_importer", name).build()
    for name in REGISTRY.names("battle_importer")
}
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.parametrize("layout", MAKERS)
@settings(max_examples=40, deadline=None, suppress_health_check=QUIET)
@given(what=changes())
def test_every_row_is_read_or_counted(
    layout: str, what: list[tuple[int, bool, Any]], tmp_path: Path
) -> None:
    check(layout, what, tmp_path / "rows.jsonl")


@pytest.mark.long
@pytest.mark.parametrize("layout", MAKERS)
@settings(max_examples=2_000, deadline=None, suppress_health_check=QUIET)
@given(what=changes())
def test_every_row_is_read_or_counted_twenty_thousand_times(
    layout: str, what: list[tuple[int, bool, Any]], tmp_path: Path
) -> None:
    check(layout, what, tmp_path / "rows.jsonl")
