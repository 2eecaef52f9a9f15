"""Every public layout is recognised, and read as what it says."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from modeldiff_harness.artifacts import Battle, Battles
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.plugins import load_registry
from modeldiff_harness.preferences.importers import import_battles, import_files
from modeldiff_harness.testing import battle_layouts as layouts

Row = dict[str, Any]


def importers(**config: Any) -> dict[str, Any]:
    registry = load_registry()
    return {
        found.component.name: registry.choose(
            "battle_importer", found.component.name, config.get(found.component.name)
        ).build()
        for found in registry.all("battle_importer")
    }


def as_jsonl(path: Path, rows: list[Row]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


def as_json(path: Path, rows: list[Row]) -> Path:
    path.write_text(json.dumps(rows, indent=2), "utf-8")
    return path


def as_csv(path: Path, rows: list[Row]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        nested = (dict, list)
        writer.writerows(
            {k: json.dumps(v) if isinstance(v, nested) else v for k, v in row.items()}
            for row in rows
        )
    return path


def as_parquet(path: Path, rows: list[Row]) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def read(path: Path, format: str = "auto", **config: Any) -> Battles:
    return import_battles(path, importers(**config), format)


def one(tmp_path: Path, row: Row, **config: Any) -> tuple[Battle, ...]:
    return read(as_jsonl(tmp_path / "rows", [row]), **config).battles


LAYOUTS: dict[str, tuple[Callable[..., Row], str]] = {
    "140k": (layouts.arena_140k, "lmarena"),
    "100k": (layouts.arena_100k, "lmarena"),
    "33k": (layouts.arena_33k, "lmarena"),
    "mt-bench votes": (layouts.mt_bench_votes, "lmarena"),
    "55k": (layouts.arena_55k, "lmsys-55k"),
    "mt-bench": (layouts.mt_bench_pair, "mt-bench"),
    "arena-hard 0.1": (layouts.arena_hard_v1, "arena-hard"),
    "arena-hard 2.0": (layouts.arena_hard_v2, "arena-hard"),
    "alpaca_eval": (layouts.alpaca_eval, "alpaca-eval"),
}


@pytest.mark.parametrize("write", [as_jsonl, as_json, as_parquet])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_recognised_in_every_container(
    layout: str, write: Callable[[Path, list[Row]], Path], tmp_path: Path
) -> None:
    make, name = LAYOUTS[layout]
    battles = read(write(tmp_path / "file", [make(n) for n in range(3)]))
    assert battles.source == name
    assert battles.dropped == {}
    games = 2 if name in ("mt-bench", "arena-hard") else 1
    assert len(battles.battles) == 3 * games
    assert len({battle.battle_id for battle in battles.battles}) == 3 * games


@pytest.mark.parametrize("layout", ["140k", "100k", "33k", "55k"])
def test_arena_votes_are_read_from_csv_too(layout: str, tmp_path: Path) -> None:
    make, name = LAYOUTS[layout]
    rows = [make(n) for n in range(3)]
    from_csv = read(as_csv(tmp_path / "a.csv", rows))
    assert from_csv.source == name
    assert from_csv.battles == read(as_jsonl(tmp_path / "a.jsonl", rows)).battles


def test_a_vote_of_140k(tmp_path: Path) -> None:
    (battle,) = one(tmp_path, layouts.arena_140k(5))
    assert (battle.model_a, battle.model_b, battle.winner) == ("alpha-1", "beta-2", "model_a")
    assert battle.style_a == {"tokens": 31, "headers": 3, "list_items": 4, "bold": 3}
    assert battle.style_b == {"tokens": 10, "headers": 0, "list_items": 0, "bold": 0}
    assert battle.cluster_id == "a333a685-2"
    assert battle.categories == ("coding", "hard_prompt", "instruction_following")
    assert (battle.prompt, battle.response_a) == ("Name rivers of France (5).", layouts.MARKDOWN)
    assert (battle.judge_kind, battle.language) == ("human", "en")


def test_a_vote_of_100k(tmp_path: Path) -> None:
    (battle,) = one(tmp_path, layouts.arena_100k())
    assert battle.winner == "both_bad"
    assert battle.response_a == f"{layouts.MARKDOWN}\n\nThe Seine."
    assert "math" in battle.categories
    rows = [
        layouts.arena_100k(1),
        layouts.arena_100k(2, anony=False),
        layouts.arena_100k(3, dedup_tag={"high_freq": True, "sampled": False}),
    ]
    path = as_jsonl(tmp_path / "r.jsonl", rows)
    assert read(path).dropped == {
        "the models were not anonymous": 1,
        "left out by the data set's deduplication": 1,
    }
    kept = read(path, lmarena={"anonymous_only": False, "deduplicated": False})
    # Equal prompts are one prompt, and so one cluster.
    assert len({battle.prompt_id for battle in kept.battles}) == 1
    assert len(kept.battles) == 3


def test_judges_of_arena_votes(tmp_path: Path) -> None:
    (user,) = one(tmp_path, layouts.arena_33k())
    (expert,) = one(tmp_path, layouts.mt_bench_votes())
    (model,) = one(tmp_path, layouts.mt_bench_votes(judge="gpt4_pair"))
    assert [(b.judge, b.judge_kind) for b in (user, expert, model)] == [
        ("arena users", "human"),
        ("experts", "human"),
        ("gpt4_pair", "llm"),
    ]
    assert user.style_a is None


def test_a_vote_of_55k(tmp_path: Path) -> None:
    (battle,) = one(tmp_path, layouts.arena_55k())
    assert (battle.winner, battle.battle_id) == ("model_b", "30192")
    assert battle.response_a == "The Loire.\nThe Seine."
    assert battle.response_b == "**Loire**\n\n**Rhône**"
    two = layouts.arena_55k(winner_tie="1")
    none = layouts.arena_55k(1, response_b="[oops")
    path = as_jsonl(tmp_path / "r", [two, none, layouts.arena_55k(2)])
    assert read(path).dropped == {"not exactly one winner": 1, "response_b not JSON": 1}


def test_mt_bench_turns_the_sides_in_game_two(tmp_path: Path) -> None:
    first, second = one(tmp_path, layouts.mt_bench_pair(g2_winner="model_2"))
    assert (first.model_a, first.winner, first.order) == ("alpha-1", "model_a", 0)
    assert (second.model_a, second.winner, second.order) == ("beta-2", "model_a", 1)
    assert (first.response_a, first.response_b) == (layouts.MARKDOWN, layouts.PLAIN)
    assert (second.response_a, second.response_b) == (layouts.PLAIN, layouts.MARKDOWN)
    assert first.prompt == "Name rivers of France."
    assert (first.prompt_id, first.judge, first.judge_kind) == ("81", "gpt-4", "llm")


def test_mt_bench_errors_are_missing_and_single_grades_are_one_battle(tmp_path: Path) -> None:
    failed = one(tmp_path, layouts.mt_bench_pair(g1_winner="error"))[0]
    assert (failed.winner, failed.invalid_reason) == ("invalid", "the judge gave no verdict")
    graded = one(
        tmp_path,
        layouts.mt_bench_pair(g1_winner="model_2", g2_winner="model_2", m1_score=6.0, m2_score=8.0),
    )
    assert [(b.winner, b.sides_known, b.response_a) for b in graded] == [("model_b", False, None)]


def test_mt_benchs_second_turn_is_the_one_that_is_judged(tmp_path: Path) -> None:
    shown = layouts.two_turns(("one", "two"), ("**uno**", "**due**"))
    first, _ = one(tmp_path, layouts.mt_bench_pair(turn=2, g1_user_prompt=shown))
    assert (first.response_a, first.response_b) == ("two", "**due**")
    assert first.prompt == "Name rivers."


def test_an_answer_that_quotes_the_judges_marks_is_not_cut(tmp_path: Path) -> None:
    row = layouts.mt_bench_pair()
    row["g1_user_prompt"] = row["g1_user_prompt"].replace(
        "The Loire is", "[The End of Assistant B's Answer] The Loire is"
    )
    assert one(tmp_path, row)[0].response_a is None


@pytest.mark.parametrize("make", [layouts.arena_hard_v1, layouts.arena_hard_v2])
def test_arena_hard_has_the_baseline_first_then_the_model(
    make: Callable[..., Row], tmp_path: Path
) -> None:
    first, second = one(tmp_path, make())
    baseline = "gpt-4-0314" if make is layouts.arena_hard_v1 else "o3-mini-2025-01-31"
    assert (first.model_a, first.model_b) == (baseline, "beta-2")
    assert (second.model_a, second.model_b) == ("beta-2", baseline)
    assert (first.winner, first.strength, second.winner) == ("model_b", 2.0, "tie")
    assert (first.response_a, first.response_b) == (layouts.PLAIN, layouts.MARKDOWN)
    assert first.prompt_id == second.prompt_id
    assert first.categories == (() if make is layouts.arena_hard_v1 else ("hard_prompt",))


def test_arena_hard_scores(tmp_path: Path) -> None:
    said = {}
    for score in ("A>>B", "A>B", "A=B", "B>A", "B>>A", "A<<B", "A<B", "B<A", "B<<A", None):
        row = layouts.arena_hard_v1(games=[{"score": score}])
        said[score] = one(tmp_path, row)[0].winner
    assert said == {
        "A>>B": "model_a", "A>B": "model_a", "B<A": "model_a", "B<<A": "model_a",
        "A=B": "tie", None: "invalid",
        "B>A": "model_b", "B>>A": "model_b", "A<B": "model_b", "A<<B": "model_b",
    }  # fmt: skip
    named = one(tmp_path, layouts.arena_hard_v1(), **{"arena-hard": {"reference": "mine"}})
    assert named[0].model_a == "mine"
    lost = one(tmp_path, layouts.arena_hard_v2(games=[None, {"score": "A>B"}]))
    assert [b.winner for b in lost] == ["invalid", "model_a"]


def test_alpaca_preferences(tmp_path: Path) -> None:
    found = {}
    for preference in (1, 1.25, 1.5, 2.0, 0, None, float("nan")):
        (battle,) = one(tmp_path, layouts.alpaca_eval(preference=preference))
        found[str(preference)] = (battle.winner, battle.y_a)
    assert found == {
        "1": ("model_a", 1.0),
        "1.25": ("model_a", 0.75),
        "1.5": ("tie", 0.5),
        "2.0": ("model_b", 0.0),
        "0": ("tie", 0.5),
        "None": ("invalid", None),
        "nan": ("invalid", None),
    }
    (battle,) = one(tmp_path, layouts.alpaca_eval())
    assert (battle.model_a, battle.model_b) == ("gpt4_1106_preview", "beta-2")
    assert (battle.sides_known, battle.categories) == (False, ("helpful_base",))
    path = as_json(tmp_path / "a.json", [layouts.alpaca_eval(preference=7), layouts.alpaca_eval()])
    assert read(path).dropped == {"preference out of range": 1}


# ── flat tables ──────────────────────────────────────────────────────────────────────────────


def test_a_table_with_our_names_needs_no_map(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "model_a;model_b;winner;prompt;response_a;response_b;style_a.tokens;style_b.tokens\n"
        "x;y;x;Why?;Because;;3;0\nx;y;draw;Why?;A;B;1;1\n",
        "utf-8",
    )
    first, second = read(path).battles
    assert (first.winner, second.winner) == ("model_a", "tie")
    assert first.prompt_id == second.prompt_id
    assert (first.response_b, first.style_a) == ("", {"tokens": 3.0})
    assert (first.judge, first.judge_kind) == ("imported", "human")


def test_native_rows_are_native_unless_they_stand_in_csv(tmp_path: Path) -> None:
    row = {
        "battle_id": "1", "prompt_id": "p", "model_a": "x", "model_b": "y", "winner": "model_a",
        "judge": "me", "judge_kind": "human",
    }  # fmt: skip
    found = {
        write.__name__: read(write(tmp_path / write.__name__, [row]))
        for write in (as_jsonl, as_json, as_parquet, as_csv)
    }
    assert {name: battles.source for name, battles in found.items()} == {
        "as_jsonl": "native", "as_json": "native", "as_parquet": "native", "as_csv": "table",
    }  # fmt: skip
    assert len({battles.battles for battles in found.values()}) == 1


def test_a_map_of_columns_and_words(tmp_path: Path) -> None:
    path = as_csv(
        tmp_path / "t.csv",
        [
            {"left": "x", "right": "y", "vote": "1", "topic": "math; coding", "grade": "0.9"},
            {"left": "y", "right": "x", "vote": "none", "topic": "", "grade": ""},
            {"left": "y", "right": "x", "vote": "9", "topic": "", "grade": ""},
        ],
    )
    config = {
        "columns": {"model_a": "left", "model_b": "right", "winner": "vote",
                    "categories": "topic", "y_a": "grade"},
        "winners": {"1": "model_a", "2": "model_b", "none": "both_bad"},
        "judge": "panel",
        "judge_kind": "llm",
    }  # fmt: skip
    battles = read(path, "table", table=config)
    first, second = battles.battles
    assert (first.winner, first.y_a, first.categories) == ("model_a", 0.9, ("math", "coding"))
    assert (second.winner, second.y_a, second.judge) == ("both_bad", None, "panel")
    assert battles.dropped == {"unknown winner '9'": 1}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"columns": {"modela": "x"}}, r"no field 'modela'.*Did you mean 'model_a'"),
        ({"winners": {"1": "left"}}, "'1' cannot mean 'left'"),
        ({"judge_kind": "oracle"}, "unknown kind of judge 'oracle'"),
        ({"colums": {}}, r"no option 'colums'.*Did you mean 'columns'"),
    ],
)
def test_a_wrong_map_is_refused(config: Row, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        importers(table=config)


def test_a_map_to_a_column_that_is_not_there_names_it(tmp_path: Path) -> None:
    path = as_csv(tmp_path / "t.csv", [{"model_a": "x", "model_b": "y", "winner": "x"}])
    with pytest.raises(UsageError, match="no column 'vote': 1"):
        read(path, "table", table={"columns": {"winner": "vote"}})


# ── containers ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x00\x01\x02\xff" * 50, "no importer recognises"),
        (b"PAR1 and then nothing", "no importer recognises"),
        (b"[1, 2, 3]", "no importer recognises"),
        (b"[{\"id\": ", "no importer recognises"),
        (b"{}\n{}\n", "no importer recognises"),
        (b'"unclosed,cell\nmodel_a', "no importer recognises"),
        (b"[" * 100_000, "no importer recognises"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_battles_is_one_clear_error(
    content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "odd"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PAR1 and then nothing", "is not Parquet that can be read"),
        (b"[{\"id\": ", "is not a JSON list"),
        (b'a,b\n"unclosed', "is not CSV"),
    ],
)  # fmt: skip
def test_a_broken_file_says_what_it_is_not(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "odd"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read(path, "table")


def test_rows_that_break_are_counted_by_reason(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(
        b"model_a,model_b,winner\nx,y,a\nx,x,a\nx,y,perhaps\nx,y,a,surplus\nx,\xff,a\n,y,a\n"
    )
    assert read(path).dropped == {
        "a model against itself": 1,
        "unknown winner 'perhaps'": 1,
        "more cells than columns": 1,
        "not valid Unicode": 1,
        "model_a missing or not text": 1,
    }


# ── what a format means ──────────────────────────────────────────────────────────────────────


def without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}


TALK = ("conversation_a", "conversation_b")


def test_votes_without_conversations_have_the_counts_of_their_metadata(tmp_path: Path) -> None:
    rows = [
        without(layouts.arena_100k(1), *TALK),
        without(layouts.arena_100k(2, anony=False), *TALK),
        without(layouts.arena_100k(3, dedup_tag={"high_freq": True, "sampled": False}), *TALK),
        layouts.arena_100k(4, conversation_a=None, conversation_b=None),
    ]
    battles = read(as_jsonl(tmp_path / "r", rows))
    assert battles.source == "lmarena"
    first, second = battles.battles
    assert first.style_a == {"tokens": 31, "headers": 3, "list_items": 4, "bold": 3}
    assert (first.response_a, first.prompt, first.winner) == (None, None, "both_bad")
    assert first.prompt_id != second.prompt_id
    # What the data set leaves out is no judgment that is missing.
    assert (sum(battles.dropped.values()), battles.n_missing) == (2, 0)


def test_conversations_may_be_called_messages(tmp_path: Path) -> None:
    row = layouts.arena_100k()
    renamed = without(row, *TALK) | {
        "messages_a": row["conversation_a"], "messages_b": row["conversation_b"]
    }  # fmt: skip
    assert one(tmp_path, renamed) == one(tmp_path, row)


def test_a_full_conversation_alone_has_the_answers(tmp_path: Path) -> None:
    (battle,) = one(tmp_path, without(layouts.arena_140k(5), *TALK))
    assert (battle.prompt, battle.response_a, battle.response_b) == (
        "Name rivers of France (5).", layouts.MARKDOWN, layouts.PLAIN,
    )  # fmt: skip


@pytest.mark.parametrize(
    "richer",
    ["conv_metadata", "anony", "dedup_tag", "messages_a", "full_conversation", "generator_1",
     "winner_tie", "games"],
)  # fmt: skip
def test_a_flat_table_does_not_swallow_a_richer_format(richer: str, tmp_path: Path) -> None:
    row = {"model_a": "x", "model_b": "y", "winner": "x", richer: None}
    assert not importers()["table"].recognises(as_jsonl(tmp_path / "r", [row]))


def mt_bench_vote(turn: object, **change: Any) -> Row:
    def talk(*answers: str) -> list[Row]:
        asked = ("Name rivers of France.", "More.")
        return [
            {"role": role, "content": text}
            for question, answer in zip(asked, answers, strict=True)
            for role, text in (("user", question), ("assistant", answer))
        ]

    said = {"conversation_a": talk("one", "# two"), "conversation_b": talk("uno", "due")}
    return layouts.mt_bench_votes(**{**said, "turn": turn, **change})


@pytest.mark.parametrize(("turn", "a", "b"), [(1, "one", "uno"), (2, "# two", "due")])
@pytest.mark.parametrize("judge", ["expert_17", "author_2", ["gpt-4", "pair-v2"]])
def test_a_vote_of_mt_bench_is_about_the_turn_that_was_judged(
    turn: int, a: str, b: str, judge: object, tmp_path: Path
) -> None:
    (battle,) = one(tmp_path, mt_bench_vote(turn, judge=judge))
    assert (battle.response_a, battle.response_b) == (a, b)
    # Both turns are one prompt, and so one cluster.
    assert battle.prompt == "Name rivers of France."


@pytest.mark.parametrize("turn", [3, 1.5, "x", [1]])
def test_a_turn_that_is_none_drops_the_vote(turn: object, tmp_path: Path) -> None:
    path = as_jsonl(tmp_path / "r", [mt_bench_vote(1), mt_bench_vote(turn)])
    assert sum(read(path).dropped.values()) == 1


def test_a_vote_of_the_arena_is_about_the_whole_conversation(tmp_path: Path) -> None:
    (battle,) = one(tmp_path, layouts.arena_100k(turn=2))
    assert battle.response_a == f"{layouts.MARKDOWN}\n\nThe Seine."


@pytest.mark.parametrize(
    ("said", "winner"),
    [
        ("tie (inconsistent)", "tie"), ("Tie", "tie"), ("tie (bothbad)", "both_bad"),
        ("bothbad", "both_bad"), ("model_a ", "model_a"),
    ],
)  # fmt: skip
def test_words_for_a_result(said: str, winner: str, tmp_path: Path) -> None:
    (vote,) = one(tmp_path, layouts.arena_33k(winner=said))
    (flat,) = one(tmp_path, {"model_a": "x", "model_b": "y", "winner": said})
    assert vote.winner == flat.winner == winner


@pytest.mark.parametrize(
    ("model_a", "model_b", "word"),
    [
        ("A", "B", "a"), ("B", "A", "a"), ("A", "B", "A"), ("b", "x", "b"), ("x", "a", "A"),
        ("model_b", "model_a", "model_a"), ("tie", "x", "tie"),
    ],
)  # fmt: skip
def test_a_word_that_is_a_side_and_a_model_is_ambiguous(
    model_a: str, model_b: str, word: str, tmp_path: Path
) -> None:
    row = {"model_a": model_a, "model_b": model_b, "winner": word}
    path = as_jsonl(tmp_path / "r", [{"model_a": "x", "model_b": "y", "winner": "x"}, row])
    with pytest.raises(UsageError, match=r"may be a side or a model.*--winners"):
        read(path)
    # A map says which is meant.
    (_, mapped) = read(path, "table", table={"winners": {word: "model_b"}}).battles
    assert mapped.winner == "model_b"


def test_names_that_differ_in_case_are_told_apart(tmp_path: Path) -> None:
    row = {"model_a": "X", "model_b": "x", "winner": "x"}
    assert one(tmp_path, row)[0].winner == "model_b"
    assert one(tmp_path, {**row, "winner": "X"})[0].winner == "model_a"


def test_a_table_may_say_that_its_sides_are_only_names(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("model_a,model_b,winner,sides_known\nx,y,x,False\nx,y,x,\nx,y,x,perhaps\n")
    battles = read(path)
    assert [battle.sides_known for battle in battles.battles] == [False, True]
    assert battles.dropped == {"sides_known neither true nor false": 1}


# ── rows that are not used ───────────────────────────────────────────────────────────────────


def test_rows_that_cannot_be_read_are_judgments_that_are_missing(tmp_path: Path) -> None:
    rows = [layouts.arena_33k(n, winner="model_a" if n < 30 else "?") for n in range(47)]
    rows.append(layouts.arena_33k(90, anony=False))
    battles = read(as_jsonl(tmp_path / "r", rows))
    assert battles.dropped == {"unknown winner": 17, "the models were not anonymous": 1}
    assert battles.n_missing == 17
    shard = as_jsonl(tmp_path / "s", [layouts.arena_33k(91, winner=7), layouts.arena_33k(92)])
    assert import_files([tmp_path / "r", shard], importers()).n_missing == 18


def test_a_battle_that_repeats_with_another_verdict_is_missing(tmp_path: Path) -> None:
    first = layouts.arena_33k(1)
    rows = [first, first, {**first, "winner": "model_a"}, layouts.arena_33k(2)]
    battles = read(as_jsonl(tmp_path / "r", rows))
    assert battles.dropped == {
        "battle_id repeats": 1, "battle_id repeats with another verdict": 1,
    }  # fmt: skip
    assert (len(battles.battles), battles.n_missing) == (2, 1)
    a, b = as_jsonl(tmp_path / "a", [first]), as_jsonl(tmp_path / "b", [rows[2]])
    assert import_files([a, b], importers()).n_missing == 1


class Careless:
    """An importer that breaks its contract."""

    def __init__(self, gives: Any) -> None:
        self.gives = gives

    def recognises(self, path: Path) -> bool:
        return True

    def read(self, path: Path) -> Any:
        if isinstance(self.gives, Exception):
            raise self.gives
        return self.gives


BATTLE = Battle("1", "p", "x", "y", "tie", "j", "human")


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        (KeyError("no such"), "failed on .*KeyError"),
        (None, "failed on .*TypeError"),
        (([{"winner": "x"}], {}), "is no Battle"),
        (([replace(BATTLE, winner=["x"])], {}), "unknown winner"),
        (([replace(BATTLE, model_b="x")], {}), "a model against itself"),
        (([replace(BATTLE, y_a=float("nan"))], {}), "y_a is nan"),
        (([replace(BATTLE, style_a={"tokens": -1.0})], {}), "style_a is not counts"),
        (([BATTLE], {"odd": -1}), "dropped -1 rows"),
        (([BATTLE], {3: 1}), "dropped 1 rows for 3"),
    ],
)
def test_an_importer_that_breaks_its_contract_is_named(
    gives: Any, said: str, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(RunError, match=f"the battle importer 'odd' .*{said}"):
        import_battles(tmp_path / "f", {"odd": Careless(gives)})


def test_shards_are_read_as_one(tmp_path: Path) -> None:
    a = as_parquet(tmp_path / "0", [layouts.arena_140k(n) for n in range(3)])
    b = as_parquet(tmp_path / "1", [layouts.arena_140k(n) for n in range(2, 5)])
    both = import_files([a, b], importers())
    assert len(both.battles) == 5
    assert both.dropped == {"battle_id repeats": 1}
    c = as_json(tmp_path / "2", [layouts.alpaca_eval(n) for n in range(2)])
    assert len(import_files([c, c], importers()).battles) == 4
    with pytest.raises(UsageError, match="different formats: alpaca-eval, lmarena"):
        import_files([a, c], importers())


def test_parquet_reads_only_the_columns_that_are_needed(tmp_path: Path) -> None:
    from modeldiff_harness.preferences.battle_files import read_rows

    path = as_parquet(tmp_path / "p", [layouts.arena_140k()])
    (row,) = read_rows(path, {"id", "winner", "no such column"})
    assert row == {"id": layouts.arena_140k()["id"], "winner": "model_a"}
