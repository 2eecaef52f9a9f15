"""A tiny random model, tasks without any download, and runs made of plain rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from modeldiff_harness.benchmarks.records import BenchModel, TaskFolder, TaskRun

TASKS = Path(__file__).parent / "tasks"


@pytest.fixture(scope="session")
def task_folder() -> TaskFolder:
    return TaskFolder(TASKS, "fixture")


@pytest.fixture(scope="session")
def make_tiny_model() -> Callable[[int], tuple[Any, Any]]:
    """Seed → (model, tokenizer): two layers of random weights over bytes-like pieces."""
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = [chr(code) for code in range(32, 127)] + ["\n"]
    vocabulary = {piece: i for i, piece in enumerate(["<unk>", "<s>", "</s>", *letters])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )

    def make(seed: int) -> tuple[Any, Any]:
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=512,
            initializer_range=0.5,
            bos_token_id=1,
            eos_token_id=2,
        )
        return LlamaForCausalLM(config).eval(), tokenizer

    return make


@pytest.fixture(scope="session")
def tiny_models(make_tiny_model: Callable[[int], tuple[Any, Any]]) -> tuple[BenchModel, BenchModel]:
    first, second = make_tiny_model(1), make_tiny_model(2)
    return BenchModel("before", load=lambda: first), BenchModel("after", load=lambda: second)


def _sample_row(
    doc_id: int,
    values: Mapping[str, Any],
    *,
    doc: Mapping[str, Any] | None = None,
    filter_name: str = "none",
    target: str = "0",
    prompt: str = "Q",
) -> dict[str, Any]:
    """One sample row in lm-eval's file layout."""
    doc = dict(doc or {"text": f"document {doc_id}"})
    return {
        "doc_id": doc_id,
        "doc": doc,
        "target": target,
        "arguments": {
            "gen_args_0": {"arg_0": prompt, "arg_1": " yes"},
            "gen_args_1": {"arg_0": prompt, "arg_1": " no"},
        },
        "resps": [[["-1.5", "False"]], [["-0.5", "True"]]],
        "filtered_resps": [["-1.5", "False"], ["-0.5", "True"]],
        "filter": filter_name,
        "metrics": list(values),
        "doc_hash": _sha(json.dumps(doc, sort_keys=True)),
        "prompt_hash": _sha(prompt),
        "target_hash": _sha(target),
        **values,
    }


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def sample_row() -> Callable[..., dict[str, Any]]:
    """The maker of sample rows."""
    return _sample_row


@pytest.fixture
def rows_of() -> Callable[..., list[dict[str, Any]]]:
    """Values → one sample row each."""

    def make(values: Sequence[Any], metric: str = "acc", **changes: Any) -> list[dict[str, Any]]:
        return [_sample_row(i, {metric: value}, **changes) for i, value in enumerate(values)]

    return make


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., TaskRun]:
    """Rows → a finished run with its sample file."""

    def make(model: str, rows: Sequence[Mapping[str, Any]], **fields: Any) -> TaskRun:
        task = fields.get("task", "toy")
        folder = tmp_path / f"{task}-{model.replace('/', '_')}"
        folder.mkdir()
        (folder / "samples.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        defaults: dict[str, Any] = {
            "task": task,
            "model": model,
            "source": "fixture",
            "capability": None,
            "version": "1.0",
            "output_type": "multiple_choice",
            "num_fewshot": 0,
            "limit": None,
            "n_docs": len(rows),
            "n_docs_total": len(rows),
            "higher_is_better": {"acc": True, "acc_norm": True},
            "aggregations": {"acc": "mean", "acc_norm": "mean"},
            "cluster_field": None,
            "seeds": (0, 1234, 1234, 1234),
            "lm_eval_version": "0.4.13",
            "chat_template_digest": None,
            "warnings": (),
            "lm_eval_results": {
                "results": {task: {"alias": task, "acc,none": 0.5, "acc_stderr,none": 0.05}},
                "configs": {task: {"task": task}},
                "versions": {task: 1.0},
                "n-shot": {task: 0},
                "higher_is_better": {task: {"acc": True}},
                "n-samples": {task: {"original": len(rows), "effective": len(rows)}},
            },
            "folder": folder,
        }
        return TaskRun(**{**defaults, **fields})

    return make
