"""Result files in the layouts of lm-eval, Inspect and lighteval, for tests of importers.

The writers take plain items and put them where the three programs put theirs; nothing of the
programs is imported.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "ResultItem",
    "inspect_log",
    "inspect_sample",
    "items_of",
    "lm_eval_row",
    "write_inspect_eval",
    "write_lighteval",
    "write_lm_eval",
]

STAMP = "2025-11-03T12-30-00.123456"


@dataclass(frozen=True)
class ResultItem:
    """One answered question."""

    number: int
    value: float
    """What the metric says of the answer."""
    question: str = ""
    target: str = "yes"
    answer: str = "yes"
    generation: str = ""
    """The text the answer was taken from; empty: the answer itself."""
    doc: Mapping[str, Any] = field(default_factory=dict)
    epoch: int = 1
    stop_reason: str = "stop"

    def text(self) -> str:
        """Return the question, made up when none was given."""
        return self.question or f"Question {self.number}?"


def items_of(values: Sequence[float], **fields: Any) -> list[ResultItem]:
    """Return one item a value; answers are right where the value is not 0."""
    return [
        ResultItem(i, value, answer="yes" if value else "no", **fields)
        for i, value in enumerate(values)
    ]


def _sha(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# ── lm-eval ──────────────────────────────────────────────────────────────────────────────────


def lm_eval_row(
    item: ResultItem, metric: str = "exact_match", filter_name: str = "none"
) -> dict[str, Any]:
    """Return one line of samples_*.jsonl of a generation task."""
    doc = {"question": item.text(), **item.doc}
    prompt = f"Q: {item.text()}\nA:"
    return {
        "doc_id": item.number,
        "doc": doc,
        "target": item.target,
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": ["\n"]}}},
        "resps": [[item.generation or item.answer]],
        "filtered_resps": [item.answer],
        "filter": filter_name,
        "metrics": [metric],
        "doc_hash": _sha(doc),
        "prompt_hash": _sha(prompt),
        "target_hash": _sha(item.target),
        metric: item.value,
    }


def write_lm_eval(
    folder: Path,
    tasks: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    model: str = "org/model",
    stamp: str = STAMP,
    changes: Mapping[str, Any] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    configs: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write `folder`/<model>/ as `lm_eval --log_samples --output_path folder` does; returns it.

    `tasks`: name → rows of `lm_eval_row`.  `changes` go into the results file as they are.
    """
    place = folder / model.replace("/", "__")
    place.mkdir(parents=True, exist_ok=True)
    printed: dict[str, Any] = {}
    for task, rows in tasks.items():
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (place / f"samples_{task}_{stamp}.jsonl").write_text(lines, encoding="utf-8")
        printed[task] = {"alias": task, **_printed(rows)}
    document = {
        "results": printed,
        "group_subtasks": {t: [] for t in tasks} | {g: list(m) for g, m in (groups or {}).items()},
        "configs": {
            task: {"task": task, "output_type": "generate_until", **(configs or {}).get(task, {})}
            for task in tasks
        },
        "versions": dict.fromkeys(tasks, 1.0),
        "n-shot": dict.fromkeys(tasks, 0),
        "higher_is_better": {
            task: {metric: True for row in rows for metric in row["metrics"]}
            for task, rows in tasks.items()
        },
        "n-samples": {t: {"original": len(r), "effective": len(r)} for t, r in tasks.items()},
        "config": {"model": "hf", "limit": None, "random_seed": 0, "numpy_seed": 1234,
                   "torch_seed": 1234, "fewshot_seed": 1234, "model_dtype": "torch.bfloat16"},
        "model_name": model,
        "lm_eval_version": "0.4.13",
        **(changes or {}),
    }  # fmt: skip
    path = place / f"results_{stamp}.json"
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")
    return place


def _printed(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The means of the metrics that are numbers, with a standard error of any kind."""
    values: dict[str, list[Any]] = {}
    for row in rows:
        for metric in row["metrics"]:
            values.setdefault(f"{metric},{row['filter']}", []).append(row[metric])
    printed = {}
    for key, found in values.items():
        if all(isinstance(value, (int, float)) for value in found):
            metric, _, filter_name = key.rpartition(",")
            printed[key] = sum(found) / len(found)
            printed[f"{metric}_stderr,{filter_name}"] = 0.01
    return printed


# ── Inspect ──────────────────────────────────────────────────────────────────────────────────


def inspect_sample(item: ResultItem, scorer: str = "match", value: Any = None) -> dict[str, Any]:
    """Return one sample of a log; `value` defaults to Inspect's letters for 1 and 0."""
    graded = {1: "C", 0: "I"}.get(item.value, item.value) if value is None else value  # type: ignore[call-overload]
    message = {"id": f"random-{item.number}", "role": "assistant", "content": item.answer}
    return {
        "id": item.number,
        "epoch": item.epoch,
        "input": item.text(),
        "target": item.target,
        "messages": [{"id": "x", "role": "user", "content": item.text()}, message],
        "output": {
            "model": "provider/model",
            "choices": [{"message": message, "stop_reason": item.stop_reason}],
            "completion": item.generation or item.answer,
        },
        "scores": {scorer: {"value": graded, "answer": item.answer}},
        "metadata": dict(item.doc),
        "store": {},
        "events": [],
    }


def inspect_log(
    samples: Sequence[Mapping[str, Any]],
    *,
    task: str = "gsm8k",
    model: str = "provider/model",
    created: str = "2025-11-03T12:30:00+00:00",
    accuracy: float | None = None,
    scorer: str = "match",
    **changes: Any,
) -> dict[str, Any]:
    """Return a whole log, as the `.json` form holds it."""
    metrics = {} if accuracy is None else {"accuracy": {"name": "accuracy", "value": accuracy}}
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "created": created,
            "task": task,
            "task_version": 0,
            "dataset": {"name": task, "samples": len(samples)},
            "model": model,
            "config": {"epochs": 1},
            "packages": {"inspect_ai": "0.3.285"},
        },
        "plan": {"name": "plan", "steps": []},
        "results": {
            "total_samples": len(samples),
            "completed_samples": len(samples),
            "scores": [{"name": scorer, "scorer": scorer, "reducer": "mean", "metrics": metrics}],
        },
        "stats": {},
        "samples": [dict(sample) for sample in samples],
        **changes,
    }


def write_inspect_eval(
    path: Path, log: Mapping[str, Any], *, compression: int = zipfile.ZIP_DEFLATED
) -> Path:
    """Write a log as an `.eval` archive; returns `path`."""
    header = {key: value for key, value in log.items() if key != "samples"}
    start = {key: log[key] for key in ("version", "eval", "plan")}
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("_journal/start.json", json.dumps(start))
        for sample in log["samples"]:
            name = f"samples/{sample['id']}_epoch_{sample['epoch']}.json"
            archive.writestr(name, json.dumps(sample))
        archive.writestr("summaries.json", "[]")
        archive.writestr("header.json", json.dumps(header))
    return path


# ── lighteval ────────────────────────────────────────────────────────────────────────────────


def write_lighteval(
    folder: Path,
    tasks: Mapping[str, Sequence[ResultItem]],
    *,
    model: str = "org/model",
    metric: str = "extractive_match",
    stamp: str = STAMP,
    old: bool = False,
    as_text: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> Path:
    """Write results and details as `lighteval --save-details --output-dir folder`; returns it.

    `tasks`: key such as "gsm8k|0" → items.  `old`: the flat columns of versions before 0.10, and
    with `as_text` every value as the text of a Python value.
    """
    import pyarrow
    import pyarrow.parquet

    details = folder / "details" / model / stamp
    details.mkdir(parents=True, exist_ok=True)
    for task, items in tasks.items():
        rows = [_old_detail(i, metric) if old else _detail(i, metric, task) for i in items]
        if as_text:
            rows = [{key: str(value) for key, value in row.items()} for row in rows]
        table = pyarrow.Table.from_pylist(rows)
        pyarrow.parquet.write_table(table, details / f"details_{task}_{stamp}.parquet")
    results = folder / "results" / model
    results.mkdir(parents=True, exist_ok=True)
    document = {
        "config_general": {
            "lighteval_sha": "?", "model_name": model, "max_samples": None,
            "model_config": {"model_name": model, "dtype": "bfloat16", "revision": "main"},
        },
        "results": {
            task: {metric: sum(i.value for i in items) / len(items), f"{metric}_stderr": 0.01}
            for task, items in tasks.items()
        },
        "versions": dict.fromkeys(tasks, 0),
        "config_tasks": {
            task: {"name": task, "metrics": [{"metric_name": metric, "higher_is_better": True}]}
            for task in tasks
        },
        "summary_tasks": {},
        "summary_general": {},
        **(changes or {}),
    }  # fmt: skip
    (results / f"results_{stamp}.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def _detail(item: ResultItem, metric: str, task: str) -> dict[str, Any]:
    return {
        "doc": {
            "query": item.text(), "choices": [item.target], "gold_index": 0, "id": str(item.number),
            "task_name": task, "generation_size": 4, "specific": {"topic": "any", **item.doc},
        },
        "metric": {metric: item.value},
        "model_response": {
            "input": f"Q: {item.text()}\nA:", "input_tokens": [1, 2], "logprobs": [],
            "text": [item.generation or item.answer], "text_post_processed": [item.answer],
            "output_tokens": [[7] * (4 if item.stop_reason == "max_tokens" else 2)],
        },
    }  # fmt: skip


def _old_detail(item: ResultItem, metric: str) -> dict[str, Any]:
    return {
        "example": item.text(),
        "full_prompt": f"Q: {item.text()}\nA:",
        "predictions": [item.generation or item.answer],
        "gold": [item.target],
        "choices": [item.target],
        "gold_index": [0],
        "metrics": {metric: item.value},
        "specifics": {"topic": "any", **item.doc},
    }
