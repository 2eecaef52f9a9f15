from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from modeldiff_harness.artifacts import Answer, PreferencePrompt
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.preferences.answers import answer

PROMPTS = (PreferencePrompt("b", "Why?"), PreferencePrompt("a", "How?", "refusal"))


@dataclass(frozen=True)
class Generated:
    text: str
    n_tokens: int
    finish: str


@dataclass
class Echo:
    """Answers with the prompt; remembers what it was asked for."""

    finish: str = "stop"
    n_lost: int = 0
    text: str = "{}"
    asked: tuple[Any, ...] = ()

    def __call__(
        self, model: Any, tokenizer: Any, prompts: Sequence[str], **how: Any
    ) -> list[Generated]:
        self.asked = (model, tokenizer, how)
        kept = list(prompts)[self.n_lost :]
        return [Generated(self.text.format(p), len(p), self.finish) for p in kept]


def test_answers_carry_ids_and_model_in_the_order_of_the_prompts() -> None:
    echo, runtime = Echo(), Runtime(batch_size=4)
    answers = answer(
        "simpo",
        "the model",
        "the tokenizer",
        PROMPTS,
        max_new_tokens=7,
        generate=echo,
        system_instruction="Be brief.",
        runtime=runtime,
    )
    assert answers.answers == (
        Answer("b", "simpo", "Why?", 4, "stop"),
        Answer("a", "simpo", "How?", 4, "stop"),
    )
    assert (answers.model, answers.max_new_tokens) == ("simpo", 7)
    assert answers.seconds >= 0
    model, tokenizer, how = echo.asked
    assert (model, tokenizer) == ("the model", "the tokenizer")
    assert how == {
        "max_new_tokens": 7,
        "system_instruction": "Be brief.",
        "chat_template": None,
        "runtime": runtime,
    }


def test_half_a_surrogate_pair_is_replaced() -> None:
    answers = answer(
        "m",
        None,
        None,
        PROMPTS,
        max_new_tokens=7,
        generate=Echo(text="a\ud800b"),
        runtime=Runtime(),
    )
    assert answers.answers[0].text == "a?b"


@pytest.mark.parametrize(
    ("echo", "says"),
    [(Echo(n_lost=1), "1 answers to 2 prompts"), (Echo(finish="eos"), "finished 'b' with 'eos'")],
)
def test_a_generator_that_misbehaves_is_an_error(echo: Echo, says: str) -> None:
    with pytest.raises(RunError, match=says):
        answer("m", None, None, PROMPTS, max_new_tokens=7, generate=echo, runtime=Runtime())


def test_nothing_to_do_is_refused() -> None:
    with pytest.raises(UsageError, match="no prompts"):
        answer("m", None, None, (), max_new_tokens=7, generate=Echo(), runtime=Runtime())
    with pytest.raises(UsageError, match="max_new_tokens is 0"):
        answer("m", None, None, PROMPTS, max_new_tokens=0, generate=Echo(), runtime=Runtime())
