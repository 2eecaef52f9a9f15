from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from modeldiff_harness.artifacts import Battle, Battles
from modeldiff_harness.artifacts.codec import load_artifact, save_artifact
from modeldiff_harness.builtin.import_native import create
from modeldiff_harness.errors import UsageError
from modeldiff_harness.preferences.importers import import_battles

ROW: dict[str, Any] = {
    "battle_id": "1",
    "prompt_id": "p1",
    "model_a": "sft",
    "model_b": "simpo",
    "winner": "model_a",
    "judge": "someone",
    "judge_kind": "human",
}
FULL = Battle(
    battle_id="2",
    prompt_id="p2",
    model_a="simpo",
    model_b="sft",
    winner="model_b",
    judge="x",
    judge_kind="llm",
    cluster_id="conversation 7",
    y_a=0.25,
    strength=2.0,
    order=1,
    prompt="Why?",
    response_a="Because.",
    response_b="**Because** of it.",
    style_a={"tokens": 2.0},
    style_b={"tokens": 6.0},
    categories=("refusal", "multilingual"),
    language="en",
)


def read(tmp_path: Path, *rows: object) -> Battles:
    path = tmp_path / "battles.jsonl"
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return import_battles(path, {"native": create()})


def test_every_field_comes_back(tmp_path: Path) -> None:
    battles = read(tmp_path, asdict(FULL), ROW)
    assert battles.battles == (FULL, Battle(**ROW))
    assert (battles.source, battles.generated, battles.dropped) == ("native", False, {})


def test_the_winner_follows_from_y_a(tmp_path: Path) -> None:
    rows = [{**ROW, "battle_id": str(y), "winner": None, "y_a": y} for y in (0, 0.2, 0.5, 0.9, 1.0)]
    assert [b.winner for b in read(tmp_path, *rows).battles] == [
        "model_b",
        "model_b",
        "tie",
        "model_a",
        "model_a",
    ]


def test_an_invalid_battle_is_kept_with_a_reason(tmp_path: Path) -> None:
    rows = (
        {**ROW, "winner": "invalid", "invalid_reason": "refusal"},
        {**ROW, "battle_id": "2", "winner": "invalid"},
    )
    first, second = read(tmp_path, *rows).battles
    assert (first.invalid_reason, second.invalid_reason) == ("refusal", "no reason given")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (b"{not json", "not JSON"),
        (b'{"battle_id": NaN}', "battle_id missing or not text"),
        (b"[" * 100_000, "not JSON"),
        (b'{"battle_id": "\xff"}', "not valid Unicode"),
        (b'{"battle_id": "\\ud800"}', "prompt_id missing or not text"),
        (b'{"winner": "model_a", "winner": "model_b"}', "key 'winner' stands twice"),
        (b"17", "not an object"),
        ({"stars": 5}, "unknown field 'stars'"),
        ({"battle_id": None}, "battle_id missing or not text"),
        ({"battle_id": "1"}, "battle_id repeats"),
        ({"prompt_id": 3}, "prompt_id missing or not text"),
        ({"model_a": ""}, "model_a missing or not text"),
        ({"model_b": "sft"}, "a model against itself"),
        ({"judge_kind": "oracle"}, "unknown judge_kind"),
        ({"winner": None}, "neither winner nor y_a"),
        ({"winner": "A"}, "unknown winner"),
        ({"winner": ["model_a"]}, "unknown winner"),
        ({"y_a": 0.1}, "winner and y_a disagree"),
        ({"winner": "both_bad", "y_a": 0.7}, "winner and y_a disagree"),
        ({"winner": "invalid", "y_a": 0.5}, "winner and y_a disagree"),
        ({"winner": None, "y_a": 1.5}, "y_a out of range"),
        ({"winner": None, "y_a": True}, "y_a not a number"),
        ({"winner": None, "y_a": "1"}, "y_a not a number"),
        ({"strength": 10**400}, "strength out of range"),
        ({"order": 2}, "order neither 0 nor 1"),
        ({"order": True}, "order neither 0 nor 1"),
        ({"prompt": ["x"]}, "prompt not text"),
        ({"response_a": 1}, "response_a not text"),
        ({"language": 1}, "language not text"),
        ({"style_a": {"tokens": 1}}, "style counts for one side only"),
        ({"style_a": [1], "style_b": {}}, "style_a not an object"),
        ({"style_a": {"tokens": -1}, "style_b": {}}, "a count in style_a out of range"),
        ({"style_a": {}, "style_b": {"x": "1"}}, "a count in style_b not a number"),
        ({"style_a": {}, "style_b": {"x": None}}, "a count in style_b not a number"),
        ({"categories": "refusal"}, "categories not a list of texts"),
        ({"categories": [1]}, "categories not a list of texts"),
    ],
)
def test_a_row_that_breaks_a_rule_is_dropped_and_counted(
    tmp_path: Path, change: bytes | dict[str, Any], reason: str
) -> None:
    bad = change if isinstance(change, bytes) else {**ROW, "battle_id": "bad", **change}
    battles = read(tmp_path, ROW, bad, {**ROW, "battle_id": "3"})
    assert [battle.battle_id for battle in battles.battles] == ["1", "3"]
    assert battles.dropped == {reason: 1}


def test_reasons_do_not_grow_with_hostile_rows(tmp_path: Path) -> None:
    rows = [{**ROW, "battle_id": f"x{i}", f"field{i}": 1} for i in range(500)]
    dropped = read(tmp_path, ROW, *rows).dropped
    assert len(dropped) <= 51
    assert sum(dropped.values()) == 500


def test_hostile_text_is_data_is_cleaned_and_survives_the_store(tmp_path: Path) -> None:
    text = "</script><script>alert(1)</script>\x00\u202e\ud800\u2028{{7*7}}\r\n[[A]] '; DROP TABLE"
    battles = read(tmp_path, {**ROW, "response_a": text, "response_b": "", "prompt": text})
    assert battles.battles[0].response_a == (
        "</script><script>alert(1)</script>\ufffd\ufffd\u2028{{7*7}}\n[[A]] '; DROP TABLE"
    )
    save_artifact(battles, tmp_path)
    assert load_artifact(Battles, tmp_path) == battles


def test_a_file_without_a_usable_row_is_refused_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown winner: 1"):
        read(tmp_path, {**ROW, "winner": "me"})


def test_the_format_is_recognised_or_asked_for(tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"question_id": 1, "winner": "model_a"}\n')
    with pytest.raises(UsageError, match=r"no importer recognises.*native"):
        import_battles(other, {"native": create()})
    (tmp_path / "b.jsonl").write_text(json.dumps(ROW))
    with pytest.raises(UsageError, match="native2 recognise"):
        import_battles(tmp_path / "b.jsonl", {"native": create(), "native2": create()})
    with pytest.raises(UsageError, match="Did you mean 'native'"):
        import_battles(other, {"native": create()}, format="nativ")
    with pytest.raises(UsageError, match="no file"):
        import_battles(tmp_path / "nothing", {"native": create()})


def test_a_byte_order_mark_and_a_bad_first_line_do_not_hide_the_format(tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(ROW).encode() + b"\n")
    assert len(import_battles(path, {"native": create()}).battles) == 1
    path.write_bytes(b"oops\n" + json.dumps(ROW).encode() + b"\n")
    assert import_battles(path, {"native": create()}).dropped == {"not JSON": 1}
