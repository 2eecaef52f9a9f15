"""Draw on-policy answers of the base model to the training prompts, plain and steered.

    python -m modeldiff_harness.demo.convert build/smollm2
    python -m modeldiff_harness.demo.sample --base build/smollm2 --out build/samples

Resumes where it stopped. About 1,900 answers of 64 tokens.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modeldiff_harness.demo.generate import Request, generate, load_base
from modeldiff_harness.demo.records import TRAIN_PROMPTS, read_jsonl
from modeldiff_harness.demo.steering import Steering, steerings, unwanted

N_PLAIN = 2
N_TOKENS = 64
N_FILLED = 3
N_FIELD_TOKENS = 12
BATCH_SIZE = 96
SEED = 20
TOP_K = 40


def _plain(prompt: Mapping[str, Any]) -> tuple[Steering, ...]:
    return tuple(Steering(f"plain-{n}", "") for n in range(N_PLAIN))


PASSES = {
    "plain": (_plain, 0.8, SEED),
    "steered": (steerings, 0.4, SEED + 1),
    "unwanted": (unwanted, 0.4, SEED + 2),
}
"""File name → how prompts are steered, temperature, seed."""


def fill_templates(
    model: Any, tokenizer: Any, prompts: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return templates filled field by field: the field's name is forced, its value is drawn.

    The base model copies a template's fields without filling them, so that no other sampling
    gives a filled one.
    """
    fields = {
        p["prompt_id"]: p["checks"][0]["args"]["fields"]
        for p in prompts
        if p["capability"] == "template_following"
    }
    wordings = {p["prompt_id"]: p["prompt"] for p in prompts}
    forms = {f"{prompt_id}|fill-{n}": "" for prompt_id in fields for n in range(N_FILLED)}
    for number in range(max(map(len, fields.values()))):
        wanted = []
        for key, form in forms.items():
            prompt_id = key.split("|", 1)[0]
            if number < len(fields[prompt_id]):
                opening = f"{form}{fields[prompt_id][number]}:"
                wanted.append(Request(key, wordings[prompt_id], None, opening))
        for answers in generate(
            model, tokenizer, wanted, n_tokens=N_FIELD_TOKENS, batch_size=BATCH_SIZE,
            temperature=0.4, top_k=TOP_K, seed=SEED + 10 + number,
            first_in_line=True,
        ):  # fmt: skip
            for answer in answers:
                given = answer.text[len(forms[answer.key]) :].splitlines()[0].rstrip()
                forms[answer.key] += f"{given}\n"
    return [
        {
            "prompt_id": key.split("|", 1)[0],
            "way": key.split("|", 1)[1],
            "answer": form.rstrip(),
            "ended": True,
        }
        for key, form in forms.items()
    ]


def sample(base: Path, out: Path) -> None:
    """Write the samples, {prompt_id, way, answer, ended}, into `out`, one file a pass."""
    out.mkdir(parents=True, exist_ok=True)
    prompts = read_jsonl(TRAIN_PROMPTS)
    model, tokenizer = load_base(base)
    for name, (ways, temperature, seed) in PASSES.items():
        path = out / f"{name}.jsonl"
        wanted = [
            Request(f"{p['prompt_id']}|{way.name}", p["prompt"], way.system, way.opening)
            for p in prompts
            for way in ways(p)
        ]
        n_drawn = len(read_jsonl(path)) if path.exists() else 0
        done = -(-n_drawn // BATCH_SIZE) if n_drawn == len(wanted) else n_drawn // BATCH_SIZE
        batches = generate(
            model, tokenizer, wanted, n_tokens=N_TOKENS, batch_size=BATCH_SIZE,
            temperature=temperature, top_k=TOP_K, seed=seed, first_batch=done,
        )  # fmt: skip
        with path.open("a", encoding="utf-8") as stream:
            for number, answers in enumerate(batches, start=done):
                for answer in answers:
                    prompt_id, way = answer.key.split("|", 1)
                    record = {"prompt_id": prompt_id, "way": way, "answer": answer.text}
                    stream.write(
                        json.dumps(record | {"ended": answer.ended}, ensure_ascii=False) + "\n"
                    )
                stream.flush()
                os.fsync(stream.fileno())
                print(f"{name}: {(number + 1) * BATCH_SIZE} of {len(wanted)}", flush=True)
    filled = fill_templates(model, tokenizer, prompts)
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in filled]
    (out / "filled.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    sample(arguments.base, arguments.out)
