"""Supervised tuning on unranked on-policy answers: smollm2-sft and its null twin smollm2-sft-b.

    python -m modeldiff_harness.demo.train_sft --base build/smollm2 --samples build/samples \
        --alias smollm2-sft
    python -m modeldiff_harness.demo.train_sft --base build/smollm2 --samples build/samples \
        --alias smollm2-sft-b

Same data, two seeds: of the LoRA's start and of the order of the data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from modeldiff_harness.demo import lora
from modeldiff_harness.demo.records import ADAPTERS, TRAIN_PROMPTS, read_jsonl

SEEDS = {"smollm2-sft": 1, "smollm2-sft-b": 2}
N_STEPS = 120
BATCH_SIZE = 4
LEARNING_RATE = 1e-3
N_TOKENS = 48


def train_sft(base: Path, samples: Path, alias: str, target: Path) -> None:
    """Train one of the two SFT adapters and write it to `target`."""
    model, tokenizer = lora.start(base, SEEDS[alias])
    prompts = {p["prompt_id"]: p["prompt"] for p in read_jsonl(TRAIN_PROMPTS)}
    drawn = sorted(read_jsonl(samples / "plain.jsonl"), key=lambda s: (s["prompt_id"], s["way"]))
    examples = [
        lora.example(
            tokenizer, prompts[s["prompt_id"]], s["answer"], ended=s["ended"], n_tokens=N_TOKENS
        )
        for s in drawn
        if s["answer"].strip()
    ]

    def loss_of(batch: list[int]) -> tuple[torch.Tensor, dict[str, float]]:
        sums_B, lengths_B = lora.answer_log_probs(
            model, [examples[i] for i in batch], tokenizer.pad_token_id
        )
        return -sums_B.sum() / lengths_B.sum(), {}

    batches = lora.shuffled_batches(len(examples), BATCH_SIZE, N_STEPS, SEEDS[alias])
    lora.train(model, batches, loss_of, n_steps=N_STEPS, learning_rate=LEARNING_RATE)
    lora.save(model, target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--alias", choices=sorted(SEEDS), required=True)
    parser.add_argument("--out", type=Path, help="default: the packaged adapters")
    given = parser.parse_args()
    train_sft(given.base, given.samples, given.alias, (given.out or ADAPTERS) / given.alias)
