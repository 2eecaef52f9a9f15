"""Part of verb `battle`: one model answers the prompts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

from modeldiff_harness.artifacts import Answer, Answers, PreferencePrompt
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import RunError, UsageError

__all__ = ["GenerateAnswers", "GeneratedAnswer", "answer"]

FINISHES = ("stop", "length")


class GeneratedAnswer(Protocol):
    """One generated text."""

    @property
    def text(self) -> str:
        """The answer, without special tokens."""

    @property
    def n_tokens(self) -> int:
        """Tokens that were generated, by the model's own tokenizer."""

    @property
    def finish(self) -> str:
        """`stop`, or `length` when the limit cut it."""


class GenerateAnswers(Protocol):
    """Greedy generation: `modeldiff_harness.models.generate.generate_answers` or a fake."""

    def __call__(
        self,
        model: Any,
        tokenizer: Any,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        system_instruction: str | None,
        chat_template: Any,
        runtime: Runtime,
    ) -> Sequence[GeneratedAnswer]:
        """Return an answer for every prompt, in order."""
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
    chat_template: Any = None,
    runtime: Runtime,
) -> Answers:
    """Let one open model answer `prompts` with `generate`, in their order.

    Interrupted work is continued by `generate`, which keeps what is finished in `runtime.workdir`.

    Raises:
        UsageError: no prompts, or a limit below one token.
        RunError: `generate` returned another number of answers, or an unknown way to finish.
    """
    if not prompts:
        raise UsageError("there are no prompts to answer.")
    if max_new_tokens < 1:
        raise UsageError(f"max_new_tokens is {max_new_tokens}.", hint="Give at least 1.")
    began = time.perf_counter()
    generated = generate(
        model,
        tokenizer,
        [prompt.prompt for prompt in prompts],
        max_new_tokens=max_new_tokens,
        system_instruction=system_instruction,
        chat_template=chat_template,
        runtime=runtime,
    )
    if len(generated) != len(prompts):
        raise RunError(f"{model_name} gave {len(generated)} answers to {len(prompts)} prompts.")
    for prompt, one in zip(prompts, generated, strict=True):
        if one.finish not in FINISHES:
            raise RunError(
                f"{model_name} finished {prompt.prompt_id!r} with {one.finish!r}, which is neither "
                f"{' nor '.join(FINISHES)}."
            )
    rows = tuple(
        Answer(prompt.prompt_id, model_name, _storable(one.text), one.n_tokens, one.finish)
        for prompt, one in zip(prompts, generated, strict=True)
    )
    return Answers(model_name, max_new_tokens, rows, seconds=time.perf_counter() - began)


def _storable(text: str) -> str:
    """Replace half surrogate pairs, which UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
