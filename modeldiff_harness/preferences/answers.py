"""Part of verb `battle`: one model answers the prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from modeldiff_harness.artifacts import Answers, PreferencePrompt
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import RunError, UsageError

if TYPE_CHECKING:
    from modeldiff_harness.models.templates import ChatTemplate

__all__ = ["GenerateAnswers", "answer"]

FINISHES = ("stop", "length")


class GenerateAnswers(Protocol):
    """Greedy generation: `modeldiff_harness.models.generate.generate_answers` or a fake."""

    def __call__(
        self,
        model: Any,
        tokenizer: Any,
        prompts: Sequence[PreferencePrompt],
        *,
        name: str,
        max_new_tokens: int,
        batch_size: int,
        chat_template: str | None,
        runtime: Runtime,
    ) -> Answers:
        """Return the answers of the model called `name`, in the order of the prompts."""
        ...


def answer(
    model_name: str,
    model: Any,
    tokenizer: Any,
    prompts: Sequence[PreferencePrompt],
    *,
    max_new_tokens: int,
    generate: GenerateAnswers,
    system_instruction: str | None = None,
    chat_template: ChatTemplate | None = None,
    runtime: Runtime,
) -> Answers:
    """Let one open model answer `prompts` with `generate`, in their order.

    `chat_template` is the run's one template; None leaves the tokenizer's own.  `generate` is given
    `system_instruction` only where there is one.  It continues interrupted work from what it keeps
    in `runtime.workdir`.

    Raises:
        UsageError: no prompts, or a limit below one token.
        RunError: `generate` answered other prompts, or an answer ended in an unknown way.
    """
    if not prompts:
        raise UsageError("there are no prompts to answer.")
    if max_new_tokens < 1:
        raise UsageError(f"max_new_tokens is {max_new_tokens}.", hint="Give at least 1.")
    optional: dict[str, Any] = {}
    if system_instruction is not None:
        optional["system_instruction"] = system_instruction
    answers = generate(
        model,
        tokenizer,
        prompts,
        name=model_name,
        max_new_tokens=max_new_tokens,
        batch_size=runtime.batch_size,
        chat_template=None if chat_template is None else chat_template.text,
        runtime=runtime,
        **optional,
    )
    given = [(one.prompt_id, one.model) for one in answers.answers]
    if given != [(prompt.prompt_id, model_name) for prompt in prompts]:
        raise RunError(
            f"the {len(given)} answers of {model_name!r} are not those to the {len(prompts)} "
            "prompts, in their order."
        )
    for one in answers.answers:
        if one.finish not in FINISHES:
            raise RunError(
                f"{model_name!r} finished {one.prompt_id!r} with {one.finish!r}, which is neither "
                f"{' nor '.join(FINISHES)}."
            )
    rows = tuple(replace(one, text=_storable(one.text)) for one in answers.answers)
    return replace(answers, model=model_name, answers=rows)


def _storable(text: str) -> str:
    """Replace half surrogate pairs, which UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
