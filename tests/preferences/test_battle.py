from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldiff_harness.artifacts import Answer, Answers, Battle, PreferencePrompt
from modeldiff_harness.builtin.judge_length import LengthJudge
from modeldiff_harness.contracts import AnswerPair, Judgment, Runtime
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.preferences.battle import battle

PROMPTS = tuple(
    PreferencePrompt(f"p{i}", f"Question {i}?", "refusal" if i % 2 else None) for i in range(40)
)


def answers(model: str, *texts: str, prompts: Iterable[PreferencePrompt] = PROMPTS) -> Answers:
    rows = tuple(
        Answer(p.prompt_id, model, texts[i % len(texts)], 3 + i, "stop")
        for i, p in enumerate(prompts)
    )
    return Answers(model, 64, rows, seconds=1.0)


@dataclass
class FirstSlotJudge:
    """Always prefers the answer shown first, and remembers what it saw."""

    name: str = "first-slot"
    judge_kind: str = "llm"
    order_free: bool = False
    seen: list[AnswerPair] = field(default_factory=list)
    skip: frozenset[str] = frozenset()

    def compare(self, pairs: Iterable[AnswerPair]) -> Iterator[tuple[AnswerPair, Judgment]]:
        self.seen = list(pairs)
        for pair in reversed(self.seen):
            if pair.prompt.prompt_id not in self.skip:
                yield pair, Judgment("model_a", strength=2.0)


def test_both_orders_of_every_prompt_show_each_model_on_each_side() -> None:
    judge = FirstSlotJudge()
    battles = battle(PROMPTS, (answers("b", "x"), answers("c", "y")), judge, runtime=Runtime())
    assert len(battles.battles) == len(judge.seen) == 80
    assert len({b.battle_id for b in battles.battles}) == 80
    for prompt in PROMPTS:
        rows = [b for b in battles.battles if b.prompt_id == prompt.prompt_id]
        assert sorted((b.order, b.model_a) for b in rows) in (
            [(0, "b"), (1, "c")],
            [(0, "c"), (1, "b")],
        )
    assert battles.generated
    assert battles.source == "first-slot"


def test_a_battle_carries_the_answers_of_its_own_sides() -> None:
    battles = battle(
        PROMPTS, (answers("b", "x"), answers("c", "y")), FirstSlotJudge(), runtime=Runtime()
    )
    text = {"b": "x", "c": "y"}
    for row in battles.battles:
        assert (row.response_a, row.response_b) == (text[row.model_a], text[row.model_b])
        number = int(row.prompt_id[1:])
        assert row.style_a == row.style_b == {"tokens": 3.0 + number}
        assert row.categories == (("refusal",) if number % 2 else ())
        assert (row.winner, row.strength, row.invalid_reason) == ("model_a", 2.0, "")


def test_an_order_free_judge_sees_each_prompt_once_on_dealt_sides() -> None:
    judge = FirstSlotJudge(order_free=True)
    battles = battle(PROMPTS, (answers("b", "x"), answers("c", "y")), judge, runtime=Runtime())
    assert len(battles.battles) == 40
    assert 8 <= sum(row.model_a == "b" for row in battles.battles) <= 32


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.text(max_size=8), min_size=1, max_size=5),
    st.lists(st.text(max_size=8), min_size=1, max_size=5),
    st.integers(0, 5),
    st.sampled_from([1, 2]),
)
def test_the_swapped_pair_has_the_same_battles(
    ours: list[str], theirs: list[str], seed: int, orders: int
) -> None:
    one, two = answers("one", *ours), answers("two", *theirs)
    judge = LengthJudge(slope=2.0, seed=seed)
    there = battle(PROMPTS, (one, two), judge, orders=orders, seed=seed, runtime=Runtime())
    back = battle(PROMPTS, (two, one), judge, orders=orders, seed=seed, runtime=Runtime())
    assert there == back


def test_another_seed_deals_other_sides() -> None:
    def sides(seed: int) -> list[str]:
        judge = FirstSlotJudge(order_free=True)
        pair = (answers("b", "x"), answers("c", "y"))
        rows = battle(PROMPTS, pair, judge, seed=seed, runtime=Runtime()).battles
        return [row.model_a for row in rows]

    assert sides(0) == sides(0)
    assert sides(0) != sides(1)


def test_a_missing_verdict_stays_as_invalid_and_a_missing_answer_is_counted() -> None:
    judge = FirstSlotJudge(skip=frozenset({"p3"}))
    part = answers("c", "y", prompts=PROMPTS[:30])
    battles = battle(PROMPTS, (answers("b", "x"), part), judge, runtime=Runtime())
    assert battles.dropped == {"no answer of c": 10}
    invalid = [row for row in battles.battles if row.winner == "invalid"]
    assert [(row.prompt_id, row.invalid_reason) for row in invalid] == [
        ("p3", "the judge gave no verdict")
    ] * 2


@pytest.mark.parametrize(
    ("judgments", "says"),
    [
        (lambda pair: [(pair, Judgment("A"))], "unknown verdict 'A'"),
        (lambda pair: [(pair, Judgment("tie"))] * 2, "twice"),
        (
            lambda pair: [
                (AnswerPair(PreferencePrompt("zz", "?"), "b", "", "c", ""), Judgment("tie"))
            ],
            "without being asked",
        ),
    ],
)
def test_a_judge_that_misbehaves_is_named(judgments, says: str) -> None:
    class Misbehaving(FirstSlotJudge):
        def compare(self, pairs: Iterable[AnswerPair]) -> Iterator[tuple[AnswerPair, Judgment]]:
            for pair in pairs:
                yield from judgments(pair)

    with pytest.raises(RunError, match=f"first-slot.*{says}"):
        battle(PROMPTS, (answers("b", "x"), answers("c", "y")), Misbehaving(), runtime=Runtime())


def test_a_model_against_itself_and_odd_orders_are_refused() -> None:
    with pytest.raises(UsageError, match="two names"):
        battle(PROMPTS, (answers("b", "x"), answers("b", "x")), FirstSlotJudge(), runtime=Runtime())
    with pytest.raises(UsageError, match="orders is 3"):
        battle(
            PROMPTS,
            (answers("b", "x"), answers("c", "y")),
            FirstSlotJudge(),
            orders=3,
            runtime=Runtime(),
        )


class Careless(FirstSlotJudge):
    """A judge of another distribution that breaks its contract."""

    gives: object = None

    def compare(self, pairs: Iterable[AnswerPair]) -> Iterator[tuple[AnswerPair, Judgment]]:
        for pair in pairs:
            yield self.gives(pair)  # type: ignore[operator, misc]


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        (lambda pair: None, "yielded None"),
        (lambda pair: pair, "it owes a pair"),
        (lambda pair: (pair, "model_a"), "it owes a pair"),
        (lambda pair: (pair.prompt, Judgment("tie")), "it owes a pair"),
        (lambda pair: (pair, Judgment("A")), "the unknown verdict 'A'"),
        (lambda pair: (pair, Judgment(["model_a"])), "the unknown verdict"),
        (lambda pair: (pair, Judgment("tie", strength="2")), "the strength '2'"),
        (lambda pair: (pair, Judgment("tie", strength=float("nan"))), "the strength nan"),
        (lambda pair: (pair, Judgment("tie", strength=True)), "the strength True"),
        (lambda pair: (pair, Judgment("tie", reason=None)), "the reason None"),
    ],
)
def test_a_verdict_of_the_wrong_type_names_the_judge(gives: object, said: str) -> None:
    judge = Careless(name="odd")
    judge.gives = gives
    with pytest.raises(RunError, match=f"judge 'odd' .*{re.escape(said)}"):
        battle(PROMPTS, (answers("b", "x"), answers("c", "y")), judge, runtime=Runtime())


def test_a_judge_of_an_unknown_kind_is_refused() -> None:
    judge = FirstSlotJudge(judge_kind="oracle")
    with pytest.raises(RunError, match="of the unknown kind 'oracle'"):
        battle(PROMPTS, (answers("b", "x"), answers("c", "y")), judge, runtime=Runtime())


def test_progress_counts_every_battle() -> None:
    counted: list[float] = []

    class Counting:
        def task(self, title: str, total: float | None, *, unit: str, done: float = 0):
            class Task:
                def advance(self, amount: float = 1) -> None:
                    counted.append(amount)

                def note(self, text: str) -> None: ...

                def __enter__(self):
                    return self

                def __exit__(self, *_: object) -> None: ...

            assert (total, unit) == (80, "battle")
            return Task()

        def log(self, line: str) -> None: ...

    battles = battle(
        PROMPTS,
        (answers("b", "x"), answers("c", "y")),
        FirstSlotJudge(),
        runtime=Runtime(progress=Counting()),
    )
    assert sum(counted) == len(battles.battles)
    assert isinstance(battles.battles[0], Battle)
