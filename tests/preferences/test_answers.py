from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from modeldiff_harness.artifacts import Answer, Answers, PreferencePrompt
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.models.templates import ChatTemplate
from modeldiff_harness.preferences.answers import answer

PROMPTS = (PreferencePrompt("b", "Why?"), PreferencePrompt("a", "How?", "refusal"))


@dataclass
class Echo:
    """Answers with the prompt; remembers what it was asked for."""

    finish: str = "stop"
    n_lost: int = 0
    text: str = "{}"
    turned: bool = False
    asked: tuple[Any, ...] = ()

    def __call__(
        self, model: Any, tokenizer: Any, prompts: Sequence[PreferencePrompt], **how: Any
    ) -> Answers:
        self.asked = (model, tokenizer, how)
        rows = [
            Answer(p.prompt_id, how["name"], self.text.format(p.prompt), 4, self.finish)
            for p in list(prompts)[self.n_lost :]
        ]
        rows = rows[::-1] if self.turned else rows
        return Answers(how["name"], how["max_new_tokens"], tuple(rows), seconds=2.5)


def test_the_answers_and_the_whole_request_pass_through() -> None:
    echo, runtime = Echo(), Runtime(batch_size=4)
    answers = answer(
        "simpo",
        "the model",
        "the tokenizer",
        PROMPTS,
        max_new_tokens=7,
        generate=echo,
        system_instruction="Be brief.",
        chat_template=ChatTemplate("{{ messages }}", "digest", "sft"),
        runtime=runtime,
    )
    rows = (Answer("b", "simpo", "Why?", 4, "stop"), Answer("a", "simpo", "How?", 4, "stop"))
    assert answers == Answers("simpo", 7, rows, 2.5)
    model, tokenizer, how = echo.asked
    assert (model, tokenizer) == ("the model", "the tokenizer")
    assert how == {
        "name": "simpo",
        "max_new_tokens": 7,
        "batch_size": 4,
        "system_instruction": "Be brief.",
        "chat_template": "{{ messages }}",
        "runtime": runtime,
    }


def answered(echo: Echo) -> Answers:
    return answer("m", None, None, PROMPTS, max_new_tokens=7, generate=echo, runtime=Runtime())


def test_without_template_and_system_turn_the_generator_decides() -> None:
    echo = Echo()
    answered(echo)
    assert echo.asked[2]["chat_template"] is None
    assert "system_instruction" not in echo.asked[2]


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert answered(Echo(text="a\ud800b")).answers[0].text == "a?b"


@pytest.mark.parametrize(
    ("echo", "says"),
    [
        (Echo(n_lost=1), "1 answers of 'm' are not those to the 2 prompts"),
        (Echo(turned=True), "in their order"),
        (Echo(finish="eos"), "finished 'b' with 'eos'"),
    ],
)
def test_a_generator_that_misbehaves_is_an_error(echo: Echo, says: str) -> None:
    with pytest.raises(RunError, match=says):
        answered(echo)


def test_nothing_to_do_is_refused() -> None:
    with pytest.raises(UsageError, match="no prompts"):
        answer("m", None, None, (), max_new_tokens=7, generate=Echo(), runtime=Runtime())
    with pytest.raises(UsageError, match="max_new_tokens is 0"):
        answer("m", None, None, PROMPTS, max_new_tokens=0, generate=Echo(), runtime=Runtime())
