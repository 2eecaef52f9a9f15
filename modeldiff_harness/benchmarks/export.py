"""Results as lm-eval writes them: JSON, samples and table, with the pair rows alongside."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import BenchmarkResults, BenchmarkRow
from modeldiff_harness.benchmarks.sample_files import safe_file_name, samples_file
from modeldiff_harness.errors import RunError
from modeldiff_harness.store import write_atomically

__all__ = ["export_lm_eval", "pair_results", "pair_table"]

_DELTA = "candidate − baseline"


def export_lm_eval(
    results: BenchmarkResults, folder: Path, *, stamp: str | None = None
) -> tuple[Path, ...]:
    """Write both models' results as lm-eval would, and the pair beside them.

    folder/<model>/results_<stamp>.json, folder/<model>/samples_<task>_<stamp>.jsonl,
    folder/pair/results_<stamp>.json and folder/pair/table_<stamp>.md.  `stamp` defaults to the
    time, in lm-eval's form.  Returns the paths.  Raises RunError when the folder cannot be written.
    """
    stamp = stamp or datetime.now().isoformat().replace(":", "-")
    written: list[Path] = []
    try:
        for model, raw in results.lm_eval_results.items():
            place = folder / safe_file_name(model)
            place.mkdir(parents=True, exist_ok=True)
            hashes = {}
            for task in raw.get("results", {}):
                source = samples_file(results, task, model)
                if not source.exists():
                    continue
                target = place / f"samples_{safe_file_name(task)}_{stamp}.jsonl"
                _copy_atomically(source, target)
                hashes[task] = _task_hash(source)
                written.append(target)
            groups = {group: list(leaves) for group, leaves in results.groups.items()}
            document = {
                **raw,
                "group_subtasks": {**raw.get("group_subtasks", {}), **groups},
                "task_hashes": hashes,
                "lm_eval_version": results.lm_eval_version,
                "model_name": model,
                "model_name_sanitized": safe_file_name(model),
            }
            written.append(_write_json(place / f"results_{stamp}.json", document))
        place = folder / "pair"
        place.mkdir(parents=True, exist_ok=True)
        written.append(_write_json(place / f"results_{stamp}.json", pair_results(results)))
        written.append(place / f"table_{stamp}.md")
        write_atomically(written[-1], pair_table(results))
    except OSError as error:
        raise RunError(
            f"cannot write results to {folder}: {error.strerror}.", hint="Check --output_path."
        ) from error
    return tuple(written)


def pair_results(results: BenchmarkResults) -> dict[str, Any]:
    """Both models and their difference in lm-eval's results layout.

    Every task appears three times: under each model and as the paired difference, whose standard
    error is the paired one.  `configs` stays as lm-eval gave it.
    """
    document: dict[str, Any] = {
        "results": {},
        "group_subtasks": {},
        "configs": {},
        "versions": {},
        "n-shot": {},
        "higher_is_better": {},
        "lm_eval_version": results.lm_eval_version,
        "limit": results.limit,
        "notes": list(results.notes),
    }
    for raw in results.lm_eval_results.values():
        document["configs"].update(raw.get("configs", {}))
    for task in dict.fromkeys(row.task for row in results.rows):
        rows = [row for row in results.rows if row.task == task]
        for model, raw in results.lm_eval_results.items():
            if task in raw.get("results", {}):
                _add(document, task, model, raw["results"][task], rows)
        delta: dict[str, Any] = {"sample_len": rows[0].n}
        for row in rows:
            delta[f"{row.metric},{row.filter}"] = row.delta
            delta[f"{row.metric}_stderr,{row.filter}"] = "N/A" if row.se is None else row.se
        _add(document, task, _DELTA, delta, rows)
    return document


def _add(
    document: dict[str, Any],
    task: str,
    what: str,
    values: dict[str, Any],
    rows: Sequence[BenchmarkRow],
) -> None:
    # The number keeps baseline, candidate, difference in order: the table sorts its keys.
    number = sum(key.startswith(f"{task} · ") for key in document["results"]) + 1
    key = f"{task} · {number} {what}"
    document["results"][key] = {**values, "name": key, "alias": f"{task} · {what}"}
    document["group_subtasks"][key] = []
    document["versions"][key] = rows[0].version
    document["n-shot"][key] = rows[0].num_fewshot
    document["higher_is_better"][key] = {row.metric: row.higher_is_better for row in rows}


def pair_table(results: BenchmarkResults) -> str:
    """Return lm-eval's nine-column markdown table with the pair rows in it."""
    from modeldiff_harness.benchmarks import lm_eval_adapter

    return lm_eval_adapter.markdown_table(pair_results(results))


def _task_hash(samples: Path) -> str:
    """As lm-eval: sha256 over document, prompt and target hashes in order."""
    digest = hashlib.sha256()
    with samples.open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            text = row["doc_hash"] + row["prompt_hash"] + row["target_hash"]
            digest.update(text.encode())
    return digest.hexdigest()


def _copy_atomically(source: Path, target: Path) -> None:
    beside = target.with_name(f".{target.name}.tmp")
    shutil.copyfile(source, beside)
    beside.replace(target)


def _write_json(path: Path, document: dict[str, Any]) -> Path:
    write_atomically(path, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
    return path
