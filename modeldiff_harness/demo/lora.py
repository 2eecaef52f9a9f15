"""What both trainings share: LoRA, batches, answer log-probabilities, the loop, saving."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import get_cosine_schedule_with_warmup

from modeldiff_harness.demo.generate import load_base, render
from modeldiff_harness.demo.records import BASE_ALIAS

RANK = 8
ALPHA = 16
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
WARMUP_STEPS = 10
MAX_GRAD_NORM = 1.0


@dataclass(frozen=True)
class Example:
    """One prompt with one answer, as token ids; the answer ends with the end mark if it ended."""

    prompt_ids: list[int]
    answer_ids: list[int]


def start(base: Path, seed: int) -> tuple[Any, Any]:
    """Return (model with a fresh LoRA over all linear layers of all blocks, tokenizer)."""
    torch.manual_seed(seed)
    model, tokenizer = load_base(base)
    config = LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=TARGETS, bias="none", task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config).train(), tokenizer


def example(tokenizer: Any, prompt: str, answer: str, *, ended: bool, n_tokens: int) -> Example:
    """Return token ids of a prompt, without any steering, and its answer cut at `n_tokens`."""
    prompt_ids = tokenizer(render(tokenizer, prompt), add_special_tokens=False)["input_ids"]
    answer_ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
    if ended:
        answer_ids = [*answer_ids, tokenizer.eos_token_id]
    return Example(prompt_ids, answer_ids[:n_tokens])


def answer_log_probs(
    model: Any, batch: Sequence[Example], pad_id: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (sum of log π of the answer's tokens, number of those tokens), each of shape (B,).

    The vocabulary projection is computed at answer positions only.
    """
    rows = [e.prompt_ids + e.answer_ids for e in batch]
    width = max(map(len, rows))
    ids_BT = torch.tensor([row + [pad_id] * (width - len(row)) for row in rows])
    mask_BT = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    causal = model.get_base_model()
    hidden_BTD = causal.model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False)[0]
    row_N = torch.tensor([b for b, e in enumerate(batch) for _ in e.answer_ids])
    at_N = torch.tensor([len(e.prompt_ids) + i for e in batch for i in range(len(e.answer_ids))])
    logits_NV = causal.lm_head(hidden_BTD[row_N, at_N - 1])
    picked_N = -torch.nn.functional.cross_entropy(logits_NV, ids_BT[row_N, at_N], reduction="none")
    sums_B = torch.zeros(len(batch)).index_add(0, row_N, picked_N)
    return sums_B, torch.tensor([len(e.answer_ids) for e in batch], dtype=torch.float32)


def shuffled_batches(n: int, batch_size: int, n_steps: int, seed: int) -> Iterator[list[int]]:
    """Yield `n_steps` batches of indices, epoch after epoch, each in a fresh seeded order."""
    generator = random.Random(seed)
    queue: list[int] = []
    for _ in range(n_steps):
        while len(queue) < batch_size:
            order = list(range(n))
            generator.shuffle(order)
            queue += order
        yield queue[:batch_size]
        del queue[:batch_size]


def train(
    model: Any,
    batches: Iterator[list[int]],
    loss_of: Callable[[list[int]], tuple[torch.Tensor, dict[str, float]]],
    *,
    n_steps: int,
    learning_rate: float,
) -> list[dict[str, float]]:
    """Run AdamW with warm-up and cosine decay; return the log, one record a step."""
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.0)
    schedule = get_cosine_schedule_with_warmup(optimizer, WARMUP_STEPS, n_steps)
    log: list[dict[str, float]] = []
    began = time.monotonic()
    for step, batch in enumerate(batches):
        loss, terms = loss_of(batch)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(weights, MAX_GRAD_NORM)
        optimizer.step()
        schedule.step()
        log.append({"step": step, "loss": float(loss.detach()), **terms})
        if step % 5 == 0:
            shown = " ".join(f"{k} {v:.3f}" for k, v in log[-1].items() if k != "step")
            print(f"step {step} {shown} {time.monotonic() - began:.0f} s", flush=True)
    return log


def save(model: Any, target: Path, *, factor: float = 1.0) -> None:
    """Write the adapter as bf16 safetensors with a config that names the base by its alias.

    `factor` multiplies the strength of the trained LoRA, through its alpha.
    """
    beside = target.with_name(f".{target.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    model.save_pretrained(beside)
    weights = {
        k: v.to(torch.bfloat16) for k, v in load_file(beside / "adapter_model.safetensors").items()
    }
    config = json.loads((beside / "adapter_config.json").read_text("utf-8"))
    config |= {"base_model_name_or_path": BASE_ALIAS, "target_modules": sorted(TARGETS)}
    config["lora_alpha"] = round(ALPHA * factor)
    target.mkdir(parents=True, exist_ok=True)
    save_file(weights, target / "adapter_model.safetensors", metadata={"format": "pt"})
    (target / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    shutil.rmtree(beside)
