"""The stage in which one model answers prompts; the preference arm and the corpus use it."""

from __future__ import annotations

from modeldiff_harness.artifacts import Answers, PreferencePrompt
from modeldiff_harness.models.identity import room_for_prompts
from modeldiff_harness.pipeline.context import RunContext
from modeldiff_harness.preferences.answering import answer_prompts
from modeldiff_harness.stages import Content, Stage

__all__ = ["answer_stage"]


def answer_stage(
    context: RunContext,
    model: str,
    prompts: tuple[PreferencePrompt, ...],
    *,
    title: str,
    max_new_tokens: int,
    system_instruction: str | None = None,
) -> Stage[Answers]:
    """Return the stage in which `model` answers `prompts` greedily.

    Raises UsageError when answers of that length leave the model no room for a prompt.
    """
    positions = context.models.identity(model, context.dtype).n_positions
    room_for_prompts(model, positions, max_new_tokens)
    return context.stage(
        "battle",
        answer_prompts,
        title=title,
        gives=Answers,
        settings={"max_new_tokens": max_new_tokens, "system_instruction": system_instruction},
        tools={"model": context.model(model), "prompts": Content(prompts)},
        estimate=f"{len(prompts)} prompts × {max_new_tokens} tokens",
    )
