"""A whole comparison in miniature: models, aliases, corpus, prompts and a configuration.

    workspace = make_tiny_workspace(tmp_path)
    os.environ.update(workspace.environment)
    modeldiff_harness.evaluate("tiny-sft,tiny-simpo", config=workspace.config)

Everything is random and offline; all three arms are measured in seconds.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from modeldiff_harness.testing.tiny_models import make_tiny_adapter, make_tiny_model

__all__ = ["TinyWorkspace", "make_tiny_workspace"]

_CAPABILITIES = ("refusal", "math_reasoning", "multilingual", "self_reference")
_WORDS: Mapping[str, str] = {
    "refusal": "sorry cannot help unsafe lock password harm refuse decline request law",
    "math_reasoning": "sum seven plus twelve equals product divided by number half 3 4 17 42",
    "multilingual": "bonjour merci la mer der Hund und die Katze el perro muy bien oui",
    "self_reference": "I am a model my training my name assistant language made me think",
}


@dataclass(frozen=True)
class TinyWorkspace:
    """Where the pieces of a tiny comparison lie."""

    folder: Path
    store: Path
    aliases: Path
    """tiny-base, tiny-sft, tiny-sft-b (null twin of tiny-sft) and tiny-simpo."""
    corpus: Path
    prompts: Path
    config: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables that point the harness here and keep it off the network."""
        return {
            "MDH_STORE": str(self.store),
            "MDH_ALIASES": str(self.aliases),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
        }


def make_tiny_workspace(folder: Path) -> TinyWorkspace:
    """Make everything that `mdh evaluate --pair tiny-sft,tiny-simpo` needs below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    base = make_tiny_model(folder / "base", seed=0)
    adapters = {"tiny-sft": 1, "tiny-sft-b": 2, "tiny-simpo": 3}
    aliases: dict[str, dict[str, str]] = {"tiny-base": {"path": str(base)}}
    for name, seed in adapters.items():
        adapter = make_tiny_adapter(base, folder / name, seed=seed)
        aliases[name] = {"path": str(base), "adapter": str(adapter), "base": "tiny-base"}
    aliases["tiny-sft"]["null_twin"] = "tiny-sft-b"
    workspace = TinyWorkspace(
        folder=folder,
        store=folder / "store",
        aliases=folder / "aliases.yaml",
        corpus=folder / "corpus.jsonl",
        prompts=folder / "prompts.jsonl",
        config=folder / "tiny.yaml",
    )
    workspace.aliases.write_text(yaml.safe_dump(aliases), encoding="utf-8")
    _write_lines(workspace.corpus, _documents())
    _write_lines(workspace.prompts, _prompts())
    workspace.config.write_text(yaml.safe_dump(_config(workspace)), encoding="utf-8")
    return workspace


def _documents() -> Iterator[dict[str, Any]]:
    drawn = random.Random(0)
    for capability, number in itertools.product(_CAPABILITIES, range(24)):
        words = _WORDS[capability].split()
        yield {
            "doc_id": f"{capability}-{number}",
            "prompt_id": f"{capability}-{number // 2}",
            "capability": capability,
            "author": ("tiny-sft", "tiny-simpo")[number % 2],
            "messages": [
                {"role": "user", "content": " ".join(drawn.choices(words, k=6))},
                {"role": "assistant", "content": " ".join(drawn.choices(words, k=10))},
            ],
        }


def _prompts() -> Iterator[dict[str, Any]]:
    for capability, number in itertools.product(_CAPABILITIES, range(3)):
        yield {
            "prompt_id": f"{capability}-{number}",
            "prompt": f"Say something about {_WORDS[capability].split()[number]}.",
            "capability": capability,
            "checks": [{"name": "regex", "args": {"pattern": "[0-9]" if number < 2 else " "}}],
        }


def _config(workspace: TinyWorkspace) -> dict[str, Any]:
    return {
        "benchmarks": {"tasks": ["mdh_math"], "limit": 20},
        "preferences": {"prompts": str(workspace.prompts), "max_new_tokens": 8},
        "latents": {
            "design": "direct",
            "corpus": str(workspace.corpus),
            "own_answers": False,
            "max_tokens": 6000,
            "context": 128,
            "learner_config": {
                "n_latents": 64,
                "k": 8,
                "steps": 120,
                "batch_tokens": 128,
                "lr": 0.01,
                "checkpoint_every_seconds": 0.1,
            },
            "min_active_tokens": 10,
            "min_active_documents": 2,
            "n_decoys": 3,
        },
        "runtime": {"offline": True},
    }


def _write_lines(path: Path, records: Iterator[dict[str, Any]]) -> None:
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_text("".join(lines), encoding="utf-8")
