"""An open model answers prompts: the stage of verb `battle` that both arms rest on."""

from __future__ import annotations

from collections.abc import Sequence

from modeldiff_harness.artifacts import Answers, PreferencePrompt
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.models.generate import generate_answers
from modeldiff_harness.models.use import OpenModel
from modeldiff_harness.preferences.answers import answer

__all__ = ["answer_prompts"]


def answer_prompts(
    model: OpenModel,
    prompts: Sequence[PreferencePrompt],
    *,
    max_new_tokens: int,
    system_instruction: str | None = None,
    runtime: Runtime,
) -> Answers:
    """Let `model` answer `prompts` greedily, in their order; raises as `answer`."""
    loaded, tokenizer = model.load()
    return answer(
        model.name,
        loaded,
        tokenizer,
        prompts,
        max_new_tokens=max_new_tokens,
        system_instruction=system_instruction,
        chat_template=model.chat_template,
        generate=generate_answers,
        runtime=runtime,
    )
