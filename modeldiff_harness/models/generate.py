"""Greedy answers of one model to prompts: batched, deterministic, resumable."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from modeldiff_harness.artifacts import Answer, Answers, PreferencePrompt
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.models.caches import fresh_cache
from modeldiff_harness.models.identity import n_positions, room_for_prompts

__all__ = ["generate_answers"]

_PARTIAL = "answers.partial.jsonl"
_STRETCH = 8
"""Tokens between two looks at which answers have ended."""


def generate_answers(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[PreferencePrompt],
    *,
    name: str,
    max_new_tokens: int,
    batch_size: int = 32,
    chat_template: str | None = None,
    system_instruction: str | None = None,
    runtime: Runtime,
) -> Answers:
    """Return the greedy answer of `model`, called `name`, to each of `prompts`, in their order.

    Prompts are rendered as one user turn, after `system_instruction` if there is one, with
    `chat_template` (None: the tokenizer's; without any, the bare text).
    Batches are made of prompts of similar length, left-padded; which prompts
    share a batch depends on the prompts and `batch_size` alone, so a resumed run is the same run.
    Every finished batch is kept in `runtime.workdir`.  The checkpoint's sampling defaults are not
    used, only its end tokens: both models decode alike.

    A prompt that leaves no room for its answer within the model's positions loses its beginning,
    as in lm-eval, and is counted in `n_cut`.

    Raises UsageError for no prompts, repeated prompt ids, a template that refuses a user turn, and
    a `max_new_tokens` that leaves no room for any prompt; RunError for logits that are NaN.
    """
    if not prompts:
        raise UsageError("there are no prompts to answer.")
    if len({p.prompt_id for p in prompts}) != len(prompts):
        raise UsageError("two prompts have one prompt_id.")
    texts = [_rendered(tokenizer, p.prompt, chat_template, system_instruction) for p in prompts]
    special = not (chat_template or tokenizer.chat_template)
    ids = [tokenizer(text, add_special_tokens=special)["input_ids"] for text in texts]
    room = room_for_prompts(name, n_positions(model.config), max_new_tokens)
    n_cut = 0 if room is None else sum(len(row) > room for row in ids)
    if room is not None and n_cut:
        ids = [row[-room:] for row in ids]
        runtime.progress.log(
            f"{name}: {n_cut} of {len(prompts)} prompts leave no room for {max_new_tokens} tokens "
            f"within its positions; their beginnings were cut"
        )
    order = sorted(range(len(prompts)), key=lambda n: (-len(ids[n]), prompts[n].prompt_id))
    path = runtime.workdir / _PARTIAL
    done, seconds = _finished(path, {p.prompt_id for p in prompts}, name)
    config = _decoding(model, tokenizer, max_new_tokens)
    with runtime.progress.task(
        f"answers of {name}", len(prompts), unit="answer", done=len(done)
    ) as task:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            if all(prompts[n].prompt_id in done for n in batch):
                continue
            began = time.monotonic()
            new = _answer_batch(model, tokenizer, [ids[n] for n in batch], config)
            answers = [
                Answer(prompts[n].prompt_id, name, *written)
                for n, written in zip(batch, new, strict=True)
            ]
            elapsed = time.monotonic() - began
            _append(path, answers, elapsed)
            seconds += elapsed
            task.advance(sum(a.prompt_id not in done for a in answers))
            done |= {a.prompt_id: a for a in answers}
    path.unlink(missing_ok=True)
    written = tuple(done[p.prompt_id] for p in prompts)
    return Answers(name, max_new_tokens, written, seconds, n_cut)


def _rendered(
    tokenizer: Any, prompt: str, chat_template: str | None, system_instruction: str | None
) -> str:
    import jinja2

    if not (chat_template or tokenizer.chat_template):
        return prompt if system_instruction is None else f"{system_instruction}\n\n{prompt}"
    turns = [{"role": "user", "content": prompt}]
    if system_instruction is not None:
        turns.insert(0, {"role": "system", "content": system_instruction})
    try:
        return str(
            tokenizer.apply_chat_template(
                turns, chat_template=chat_template, tokenize=False, add_generation_prompt=True
            )
        )
    except jinja2.TemplateError as error:
        raise UsageError(f"the chat template refuses a user turn: {error}.") from None


def _decoding(model: Any, tokenizer: Any, max_new_tokens: int) -> Any:
    from transformers import GenerationConfig

    defaults = getattr(model, "generation_config", None)
    ends = getattr(defaults, "eos_token_id", None)
    ends = [ends] if isinstance(ends, int) else list(ends or ())
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in ends:
        ends.append(tokenizer.eos_token_id)
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        eos_token_id=ends or None,
        pad_token_id=tokenizer.pad_token_id,
    )


@torch.inference_mode()
def _answer_batch(
    model: Any, tokenizer: Any, ids: Sequence[list[int]], config: Any
) -> list[tuple[str, int, str]]:
    """Return (text, n_tokens, finish) of each prompt of one batch."""
    ends = set(config.eos_token_id or ())
    defaults = model.generation_config
    model.generation_config = config  # transformers fills gaps from the checkpoint's own
    try:
        written = _greedy(model, ids, tokenizer.pad_token_id or 0, ends, config)
    finally:
        model.generation_config = defaults
    answers = []
    for row in written:
        end = next((i for i, token in enumerate(row) if token in ends), None)
        kept = row if end is None else row[:end]
        text = tokenizer.decode(kept, skip_special_tokens=True)
        answers.append((text, len(kept), "length" if end is None else "stop"))
    return answers


def _greedy(
    model: Any, ids: Sequence[list[int]], pad: int, ends: set[int], config: Any
) -> list[list[int]]:
    """Return the tokens that follow each prompt, `_STRETCH` at a time.

    Rows that have ended leave the batch between stretches instead of being computed to the limit.
    Caches that cannot drop rows are run in one stretch.
    """
    width = max(map(len, ids))
    ids_BT = torch.tensor([[pad] * (width - len(row)) + row for row in ids], device=model.device)
    mask_BT = torch.tensor(
        [[0] * (width - len(row)) + [1] * len(row) for row in ids], device=model.device
    )
    written: list[list[int]] = [[] for _ in ids]
    live, cache = list(range(len(ids))), fresh_cache(model)
    left = config.max_new_tokens
    while live and left > 0:
        stretch = left if cache is None else min(_STRETCH, left)
        kept = {} if cache is None else {"past_key_values": cache}
        limited = copy.copy(config)
        limited.max_new_tokens = stretch
        out_BT = model.generate(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            generation_config=limited,
            logits_processor=[_numbers_only],
            **kept,
        )
        new = out_BT[:, ids_BT.shape[1] :]
        left -= stretch
        rows = new.tolist()
        for n, row in zip(live, rows, strict=True):
            written[n] += row
        going = [at for at, row in enumerate(rows) if not ends.intersection(row)]
        live = [live[at] for at in going]
        if cache is not None and live and left > 0:
            chosen = torch.tensor(going, device=model.device)
            mask_BT = torch.cat([mask_BT, torch.ones_like(new)], dim=1)[chosen]
            ids_BT = out_BT[chosen]
            if len(going) < len(rows):
                cache.batch_select_indices(chosen)
    return written


def _numbers_only(_ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
    """Pass logits on; the largest of NaNs would be token 0, and the answer invented."""
    if torch.isnan(logits_BV).any():
        raise RunError(
            "the model's logits are not numbers.", hint="Try --dtype float32 or bfloat16."
        )
    return logits_BV


def _append(path: Path, answers: Iterable[Answer], seconds: float) -> None:
    """Write one finished batch; the last line carries the time, so a torn batch is seen."""
    lines = [json.dumps(asdict(answer), ensure_ascii=False) for answer in answers]
    lines.append(json.dumps({"batch_seconds": seconds}))
    with path.open("ab") as stream:
        if stream.tell():
            stream.write(b"\n")  # ends a line that a killed run left torn
        stream.write(("\n".join(lines) + "\n").encode("utf-8", "surrogatepass"))
        stream.flush()
        os.fsync(stream.fileno())


def _finished(path: Path, wanted: set[str], name: str) -> tuple[dict[str, Answer], float]:
    """Return the answers of whole batches a killed run left, and the seconds they took."""
    done: dict[str, Answer] = {}
    batch: list[Answer] = []
    seconds = 0.0
    lines = path.read_bytes().splitlines() if path.exists() else []
    for line in lines:
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if "batch_seconds" in record:
                done |= {a.prompt_id: a for a in batch}
                seconds += float(record["batch_seconds"])
                batch = []
            else:
                batch.append(Answer(**record))
        except (ValueError, TypeError):
            batch = []  # torn: the batch is answered again
    return {i: a for i, a in done.items() if i in wanted and a.model == name}, seconds
