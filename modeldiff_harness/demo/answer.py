"""Answer the capability corpus's prompts greedily: the shipped answers of the embedded models.

    python -m modeldiff_harness.demo.answer --base build/smollm2 --alias smollm2-simpo

Writes data/answers/ALIAS.jsonl, in the order of the prompts. Resumes where it stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from modeldiff_harness.demo.generate import Request, generate, load_base, load_tuned
from modeldiff_harness.demo.records import (
    ADAPTERS,
    ALIASES,
    ANSWERS,
    BASE_ALIAS,
    CORPUS_PROMPTS,
    read_jsonl,
)

N_TOKENS = 72
BATCH_SIZE = 65


def answer(base: Path, alias: str, adapters: Path, out: Path) -> None:
    """Write {prompt_id, author, answer} of one model for every prompt of the corpus.

    Args:
        base: The converted base model.
        alias: The author: the base's alias or an adapter's.
        adapters: Folder that holds the adapters by alias.
        out: Folder to write `ALIAS.jsonl` into.
    """
    prompts = read_jsonl(CORPUS_PROMPTS)
    wanted = [Request(p["prompt_id"], p["prompt"]) for p in prompts]
    out.mkdir(parents=True, exist_ok=True)
    partial = out / f"{alias}.partial.jsonl"
    texts = {r["key"]: r["text"] for r in read_jsonl(partial)} if partial.exists() else {}
    model, tokenizer = (
        load_base(base) if alias == BASE_ALIAS else load_tuned(base, adapters / alias)
    )
    batches = generate(
        model, tokenizer, wanted,
        n_tokens=N_TOKENS, batch_size=BATCH_SIZE, first_batch=len(texts) // BATCH_SIZE,
    )  # fmt: skip
    for answers in batches:
        with partial.open("a", encoding="utf-8") as stream:
            for one in answers:
                record = {"key": one.key, "text": one.text}
                stream.write(json.dumps(record, ensure_ascii=False) + "\n")
        texts |= {one.key: one.text for one in answers}
        print(f"{alias}: {len(texts)} of {len(wanted)}", flush=True)
    lines = [
        json.dumps(
            {"prompt_id": p["prompt_id"], "author": alias, "answer": texts[p["prompt_id"]]},
            ensure_ascii=False,
        )
        for p in prompts
    ]
    (out / f"{alias}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.unlink()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--alias", choices=ALIASES, required=True)
    parser.add_argument("--adapters", type=Path, default=ADAPTERS)
    parser.add_argument("--out", type=Path, default=ANSWERS)
    given = parser.parse_args()
    answer(given.base, given.alias, given.adapters, given.out)
