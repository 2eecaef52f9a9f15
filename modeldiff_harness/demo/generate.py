"""Batched generation with the embedded models: left padding, sorted by length, seeded by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LogitsProcessor,
    LogitsProcessorList,
)


@dataclass(frozen=True)
class Request:
    """One answer to generate.

    Attributes:
        key: What the caller knows it by.
        prompt: The user's request.
        system: A system prompt, or None for the chat template's own.
        opening: Text the answer is forced to start with.
    """

    key: str
    prompt: str
    system: str | None = None
    opening: str = ""


@dataclass(frozen=True)
class Answer:
    """One generated answer, its opening included; `ended` says the model stopped by itself."""

    key: str
    text: str
    ended: bool


class GumbelTopK(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Makes greedy decoding draw from the softmax over the k likeliest tokens (Gumbel-max).

    The same distribution as sampling, without the draw over the whole vocabulary that takes half
    a second a step on a CPU.
    """

    def __init__(self, k: int, temperature: float, seed: int) -> None:
        """Draw among `k` tokens at `temperature`, from `seed`."""
        self.k = k
        self.temperature = temperature
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores (B, V) that are −inf but for the k likeliest, which carry Gumbel noise."""
        top_BK, at_BK = scores.float().topk(self.k)
        noise_BK = -torch.empty_like(top_BK).exponential_(generator=self.generator).log()
        drawn_BV = torch.full_like(scores, float("-inf"))
        return drawn_BV.scatter(1, at_BK, top_BK / self.temperature + noise_BK)


class FirstTokenInLine(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Keeps the first new token from ending the line or the answer, and from opening a bracket."""

    def __init__(self, tokenizer: Any, n_before: int) -> None:
        """Forbid at the step whose input is `n_before` tokens long."""
        pieces = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
        self.n_before = n_before
        self.forbidden = torch.tensor(
            [i for i, piece in enumerate(pieces) if "\n" in piece or not piece.strip(" [<_*(-\t")]
            + list(tokenizer.all_special_ids)
        )

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores (B, V) with the forbidden tokens at −inf in the first step."""
        if input_ids.shape[1] > self.n_before:
            return scores
        return scores.index_fill(1, self.forbidden, float("-inf"))


def load_base(folder: Path, *, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """Return (model, tokenizer) of a converted checkpoint, in evaluation mode, left-padding."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return model.eval(), tokenizer


def load_tuned(
    folder: Path, adapter: Path, *, dtype: torch.dtype = torch.float32
) -> tuple[Any, Any]:
    """Return (model, tokenizer) with a LoRA adapter merged into the base's weights."""
    from peft import PeftModel

    model, tokenizer = load_base(folder, dtype=dtype)
    return PeftModel.from_pretrained(model, adapter).merge_and_unload().eval(), tokenizer


def render(tokenizer: Any, prompt: str, *, system: str | None = None) -> str:
    """Return the prompt as the model reads it, up to where its answer starts."""
    messages = [{"role": "user", "content": prompt}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return str(rendered)


def generate(
    model: Any,
    tokenizer: Any,
    requests: Sequence[Request],
    *,
    n_tokens: int,
    batch_size: int,
    temperature: float = 0.0,
    top_k: int = 0,
    seed: int = 0,
    first_batch: int = 0,
    first_in_line: bool = False,
) -> Iterator[list[Answer]]:
    """Yield the answers batch by batch, longest prompts first; the order is a pure function.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer, left-padding.
        requests: What to answer.
        n_tokens: New tokens at most.
        batch_size: Requests a batch; with greedy decoding in fp32 it changes results only where
            two tokens are tied to rounding.
        temperature: 0 is greedy.
        top_k: Tokens to sample among.
        seed: Every batch draws from its own seed, `seed` × 100,003 + its number.
        first_batch: Batches to skip, for resuming.
        first_in_line: Whether the first new token has to continue the opening's line.
    """
    texts = [render(tokenizer, r.prompt, system=r.system) + r.opening for r in requests]
    lengths = [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    order = sorted(range(len(requests)), key=lambda i: (-lengths[i], requests[i].key))
    for number in range(first_batch, -(-len(order) // batch_size)):
        rows = order[number * batch_size : (number + 1) * batch_size]
        encoded = tokenizer(
            [texts[i] for i in rows], return_tensors="pt", padding=True, add_special_tokens=False
        )
        drawing = LogitsProcessorList()
        if first_in_line:
            drawing.append(FirstTokenInLine(tokenizer, encoded["input_ids"].shape[1]))
        if temperature > 0:
            drawing.append(GumbelTopK(top_k, temperature, seed * 100_003 + number))
        with torch.inference_mode():
            ids_BT = model.generate(
                **encoded,
                max_new_tokens=n_tokens,
                do_sample=False,
                logits_processor=drawing,
                pad_token_id=tokenizer.pad_token_id,
            )
        yield [
            _answer(tokenizer, requests[i], new_T)
            for i, new_T in zip(rows, ids_BT[:, encoded["input_ids"].shape[1] :], strict=True)
        ]


def _answer(tokenizer: Any, request: Request, new_T: torch.Tensor) -> Answer:
    ended = bool((new_T == tokenizer.eos_token_id).any())
    text = request.opening + tokenizer.decode(new_T, skip_special_tokens=True)
    return Answer(request.key, text, ended)
