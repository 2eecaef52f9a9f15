"""Where the embedded pair's files are, and how their records are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
TRAIN_PROMPTS = FOLDER / "data" / "train_prompts.jsonl"
CORPUS_PROMPTS = FOLDER.parent / "corpora" / "data" / "corpus_prompts.jsonl"
ADAPTERS = FOLDER / "adapters"
ANSWERS = FOLDER / "data" / "answers"

BASE_ALIAS = "smollm2-it"
ADAPTER_ALIASES = ("smollm2-sft", "smollm2-sft-b", "smollm2-simpo")
ALIASES = (BASE_ALIAS, *ADAPTER_ALIASES)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
