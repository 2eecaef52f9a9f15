from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from modeldiff_harness.artifacts import Answers, ModelRef, PreferencePrompt
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.models import generate
from modeldiff_harness.models.generate import generate_answers
from modeldiff_harness.models.loading import ModelPool
from modeldiff_harness.testing.tiny_models import make_tiny_model

PROMPTS = [
    PreferencePrompt(f"p{n}", text)
    for n, text in enumerate(("the fox", "Bonjour", "read a book about the sea", "1. 2. 3.", "dog"))
]


@pytest.fixture
def opened(pool_of: Callable[..., ModelPool], tiny: Path) -> tuple[torch.nn.Module, object]:
    return pool_of(ModelRef("tiny", str(tiny))).activate("tiny")


def answers(opened: tuple[torch.nn.Module, object], folder: Path, batch_size: int = 2) -> Answers:
    return generate_answers(
        *opened,
        PROMPTS,
        name="tiny",
        max_new_tokens=12,
        batch_size=batch_size,
        runtime=Runtime(workdir=folder),
    )


def greedy_by_hand(model: torch.nn.Module, tokenizer: object, prompt: str) -> tuple[str, int, str]:
    """Oracle: one token after the other, no cache, no batch, no padding."""
    text = tokenizer.apply_chat_template(  # type: ignore[attr-defined]
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(text)["input_ids"]  # type: ignore[operator]
    new: list[int] = []
    while len(new) < 12:
        with torch.inference_mode():
            token = int(model(torch.tensor([ids + new])).logits[0, -1].argmax())
        if token == tokenizer.eos_token_id:  # type: ignore[attr-defined]
            return tokenizer.decode(new, skip_special_tokens=True), len(new), "stop"  # type: ignore[attr-defined]
        new.append(token)
    return tokenizer.decode(new, skip_special_tokens=True), 12, "length"  # type: ignore[attr-defined]


def test_batched_answers_are_plain_greedy_decoding(
    opened: tuple[torch.nn.Module, object], tmp_path: Path
) -> None:
    opened[0].generation_config.repetition_penalty = 5.0  # defaults of a checkpoint are not used
    found = answers(opened, tmp_path)
    assert [a.prompt_id for a in found.answers] == [p.prompt_id for p in PROMPTS]
    for prompt, answer in zip(PROMPTS, found.answers, strict=True):
        expected = greedy_by_hand(*opened, prompt.prompt)
        assert (answer.text, answer.n_tokens, answer.finish) == expected
    assert opened[0].generation_config.repetition_penalty == 5.0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("torn", [b'{"prompt_id": "p0", "mod', b"\xff\xfe", b""])
def test_a_killed_run_continues_and_answers_the_same(
    opened: tuple[torch.nn.Module, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    torn: bytes,
) -> None:
    whole = answers(opened, tmp_path)
    calls, original = [], generate._answer_batch

    def failing(*given: object) -> object:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*given)

    monkeypatch.setattr(generate, "_answer_batch", failing)
    with pytest.raises(KeyboardInterrupt):
        answers(opened, tmp_path)
    (partial,) = tmp_path.iterdir()
    kept = [json.loads(line) for line in partial.read_text().splitlines()]
    assert sum("prompt_id" in line for line in kept) == 2
    with partial.open("ab") as stream:
        stream.write(torn)
    resumed = answers(opened, tmp_path)
    assert resumed.answers == whole.answers
    assert len(calls) == 4  # three batches, of which the interrupted one ran twice


def test_no_prompts_and_repeated_ids_are_refused(
    opened: tuple[torch.nn.Module, object], tmp_path: Path
) -> None:
    for prompts, words in (([], "no prompts"), ([PROMPTS[0]] * 2, "one prompt_id")):
        with pytest.raises(UsageError, match=words):
            generate_answers(
                *opened, prompts, name="t", max_new_tokens=2, runtime=Runtime(workdir=tmp_path)
            )


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_prompt_beyond_the_positions_loses_its_beginning_and_is_counted(
    architecture: str, pool_of: Callable[..., ModelPool], tmp_path: Path
) -> None:
    """512 positions: gpt2 has no more, llama would go on without a word."""
    folder = make_tiny_model(tmp_path / "m", architecture, chat_template=None)
    model, tokenizer = pool_of(ModelRef("m", str(folder))).activate("m")
    long = "the sea and the fox read a book " * 60
    ids = tokenizer(long)["input_ids"]
    assert len(ids) > 512
    new: list[int] = []
    while len(new) < 12:
        with torch.inference_mode():
            token = int(model(torch.tensor([ids[-500:] + new])).logits[0, -1].argmax())
        if token == tokenizer.eos_token_id:
            break
        new.append(token)
    found = generate_answers(
        model,
        tokenizer,
        [PreferencePrompt("long", long), PreferencePrompt("short", "the fox")],
        name="m",
        max_new_tokens=12,
        runtime=Runtime(workdir=tmp_path),
    )
    assert found.n_cut == 1
    assert found.answers[0].text == tokenizer.decode(new, skip_special_tokens=True)


def test_answers_that_leave_no_room_for_a_prompt_are_refused(
    opened: tuple[torch.nn.Module, object], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="reads at most 512 tokens, and answers of 512 leave no"):
        generate_answers(
            *opened, PROMPTS, name="t", max_new_tokens=512, runtime=Runtime(workdir=tmp_path)
        )


def test_logits_that_are_no_numbers_are_no_answer(
    opened: tuple[torch.nn.Module, object], tmp_path: Path
) -> None:
    model = opened[0]
    with torch.no_grad():
        model.model.norm.weight[0] = torch.nan  # type: ignore[union-attr,index]
    with pytest.raises(RunError, match="logits are not numbers"):
        answers(opened, tmp_path)
