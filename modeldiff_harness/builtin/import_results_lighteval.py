"""Results of lighteval: its details, and the results file beside them.

    results/<model>/results_<stamp>.json
    details/<model>/<stamp>/details_<task>_<stamp>.parquet

Read are the present layout (columns doc, metric, model_response) and the one before version 0.10
(flat columns, in some files as the texts of Python values).
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import ImportedResults, MeasuredTask, TaskSample
from modeldiff_harness.benchmarks.answer_faults import generation_faults
from modeldiff_harness.benchmarks.bounded_files import read_json, walk_files
from modeldiff_harness.benchmarks.importers import digest_of_text
from modeldiff_harness.benchmarks.pairing.metric_values import MEAN_OF_SCORED
from modeldiff_harness.benchmarks.samples import shorten
from modeldiff_harness.benchmarks.tasks import capability_by_name
from modeldiff_harness.errors import UsageError, first_line

__all__ = ["create"]

_STAMP = r"\d{4}-\d\d-\d\dT[\d.:-]+"
_DETAILS = re.compile(rf"details_(?P<task>.+)_(?P<stamp>{_STAMP})\.parquet")
_DEPTH = 6
_BATCH_ROWS = 500
_MOST_ROWS = 5_000_000
_LARGEST_TABLE_BYTES = 16 * 2**30
_LONGEST_LITERAL = 2_000_000
_FILTER = "none"
_NEW_COLUMNS = (
    "doc.id", "doc.query", "doc.choices", "doc.gold_index", "doc.specific", "doc.generation_size",
    "metric", "model_response.input", "model_response.text", "model_response.text_post_processed",
    "model_response.output_tokens", "model_response.logprobs",
)  # fmt: skip
_OLD_COLUMNS = (
    "example", "full_prompt", "predictions", "gold", "choices", "gold_index", "metrics",
    "specifics", "pred_logits",
)  # fmt: skip
_FAULTS = ("empty", "truncated", "refused")


class LightevalResults:
    """Reads one model's details."""

    def recognises(self, path: Path) -> bool:
        """Say whether there are details files."""
        try:
            return next(_details(path), None) is not None
        except (OSError, UsageError):
            return False

    def read(self, path: Path) -> ImportedResults:
        """Read every task of the one model at `path`; of several runs the newest of each task."""
        found: dict[str, tuple[str, Path]] = {}
        models: dict[str, None] = {}
        n_files = 0
        for file in _details(path):
            n_files += 1
            match = _DETAILS.fullmatch(file.name)
            assert match is not None
            models[_model_name(file)] = None
            if match["task"] not in found or match["stamp"] > found[match["task"]][0]:
                found[match["task"]] = match["stamp"], file
        if not found:
            raise UsageError(
                f"{path} holds no details of lighteval.", hint="Run lighteval with --save-details."
            )
        if len(models) > 1:
            raise UsageError(
                f"{path} holds details of several models.",
                hint=f"Name one: {', '.join(list(models)[:8])}.",
            )
        notes = []
        if n_files > len(found):
            notes.append(f"{path.name}: several runs; the newest of each task is read")
        documents: dict[Path, dict[str, Any]] = {}
        tasks = []
        names = _bare_names(found)
        for task, (stamp, file) in found.items():
            results = _results_file(file, stamp)
            if results is None:
                notes.append(f"{task}: no results file beside its details; directions are assumed")
            elif results not in documents:
                documents[results] = _document(results)
            document = documents[results] if results is not None else {}
            tasks.append(_task(task, names[task], file, document))
        last = list(documents.values())[-1] if documents else {}
        return ImportedResults(
            model=next(iter(models)),
            format="lighteval",
            tasks=tuple(tasks),
            facts=_facts(last),
            notes=tuple(notes),
        )


create = LightevalResults


def _details(path: Path) -> Iterator[Path]:
    if path.is_file():
        if _DETAILS.fullmatch(path.name):
            yield path
        return
    for file in walk_files(path, _DEPTH):
        if _DETAILS.fullmatch(file.name):
            yield file


def _model_name(file: Path) -> str:
    """The folders between `details` and the stamp."""
    folders = file.resolve().parts[:-2]
    if "details" in folders:
        last = len(folders) - 1 - folders[::-1].index("details")
        if folders[last + 1 :]:
            return "/".join(folders[last + 1 :])
    return folders[-1] if folders else file.stem


def _results_file(file: Path, stamp: str) -> Path | None:
    folder = file.resolve().parent
    for above in folder.parents:
        if above.name == "details":
            model = folder.parent.relative_to(above)
            place = above.parent / "results" / model / f"results_{stamp}.json"
            return place if place.is_file() else None
    beside = folder / f"results_{stamp}.json"
    return beside if beside.is_file() else None


def _document(file: Path) -> dict[str, Any]:
    document = read_json(file)
    if not isinstance(document, dict) or not isinstance(document.get("results"), dict):
        raise UsageError(f"{file} is not a results file of lighteval: it has no results.")
    return document


def _parts(task: str) -> tuple[str, int | None]:
    """Name and shots of "name|5", "suite|name|5" or "suite|name|5|0"."""
    parts = task.split("|")
    name = parts[0] if len(parts) <= 2 else parts[1]
    shots = parts[{2: 1, 3: 2, 4: 2}.get(len(parts), 0)]
    return name, int(shots) if shots.isdecimal() else None


def _bare_names(found: Mapping[str, Any]) -> dict[str, str]:
    """The task's own name, or the whole key where two keys share it (two numbers of shots)."""
    bare = {task: _parts(task)[0] for task in found}
    names = list(bare.values())
    return {task: name if names.count(name) == 1 else task for task, name in bare.items()}


def _task(key: str, name: str, file: Path, document: Mapping[str, Any]) -> MeasuredTask:
    general = _mapping(document.get("config_general"))
    results = _mapping(_of_task(document, "results", key))
    config = _mapping(_of_task(document, "config_tasks", key))
    version = _of_task(document, "versions", key)
    samples = tuple(_samples(file))
    metrics = dict.fromkeys(metric for sample in samples for metric in sample.values)
    limit = general.get("max_samples")
    sha = general.get("lighteval_sha")
    return MeasuredTask(
        task=name,
        samples=samples,
        version="" if version is None else str(version),
        num_fewshot=_parts(key)[1],
        limit=float(limit) if isinstance(limit, (int, float)) and limit is not True else None,
        capability=capability_by_name(name.partition(":")[0]) or capability_by_name(name),
        higher_is_better=_directions(config),
        aggregations=dict.fromkeys(metrics, MEAN_OF_SCORED),
        harness=f"lighteval {sha}" if isinstance(sha, str) and sha != "?" else "lighteval",
        printed=_printed(results),
        primary_metrics=tuple(m for m in results if not str(m).endswith("_stderr")),
        faults_recorded=_FAULTS if any(s.generation or s.faults for s in samples) else (),
        source="lighteval",
    )


def _of_task(document: Mapping[str, Any], section: str, key: str) -> Any:
    """Results files write the bar of a task's key as it is, or as a colon."""
    listed = _mapping(document.get(section))
    for name in (key, key.replace("|", ":"), "|".join(key.split("|")[:-1])):
        if name in listed:
            return listed[name]
    return None


def _directions(config: Mapping[str, Any]) -> dict[str, bool | None]:
    found: dict[str, bool | None] = {}
    metrics = config.get("metrics", config.get("metric"))
    for metric in metrics if isinstance(metrics, list) else []:
        names, up = _mapping(metric).get("metric_name"), _mapping(metric).get("higher_is_better")
        for name in names if isinstance(names, list) else [names]:
            one = up.get(name) if isinstance(up, dict) else up
            found[str(name)] = one if isinstance(one, bool) else None
    return found


def _printed(results: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"{metric},{_FILTER}": float(value)
        for metric, value in results.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }


def _samples(file: Path) -> Iterator[TaskSample]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(file)
        described = table.metadata
        size = sum(described.row_group(i).total_byte_size for i in range(described.num_row_groups))
        if described.num_rows > _MOST_ROWS or size > _LARGEST_TABLE_BYTES:
            raise UsageError(f"{file} is larger than details have any reason to be.")
        names = set(table.schema_arrow.names)
        new = {"doc", "metric", "model_response"} <= names
        if not new and "metrics" not in names:
            raise UsageError(
                f"{file.name} is not a details file of lighteval: it has the columns"
                f" {', '.join(sorted(names)[:8])}."
            )
        wanted = _NEW_COLUMNS if new else tuple(c for c in _OLD_COLUMNS if c in names)
        number = 0
        for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=list(wanted)):
            for row in batch.to_pylist():
                try:
                    yield _new_sample(row, number) if new else _old_sample(row, number)
                except (AttributeError, TypeError, ValueError, IndexError, KeyError) as error:
                    raise UsageError(
                        f"{file.name}, row {number} is not a detail of lighteval: {error}."
                    ) from error
                number += 1
    except (OSError, pyarrow.ArrowException) as error:
        raise UsageError(f"cannot read {file}: {first_line(error)}.") from error


def _new_sample(row: Mapping[str, Any], number: int) -> TaskSample:
    doc, answer = _mapping(row["doc"]), _mapping(row["model_response"])
    texts = [str(text) for text in answer.get("text") or []]
    after = [str(text) for text in answer.get("text_post_processed") or []]
    tokens = answer.get("output_tokens") or []
    most = doc.get("generation_size")
    stopped = bool(texts and most and tokens and len(tokens[0]) >= int(most))
    raw_id = str(doc.get("id") or "")
    return _build(
        doc_id=int(raw_id) if raw_id.isdecimal() else raw_id or number,
        query=str(doc.get("query") or ""),
        prompt=_prompt(answer.get("input")) or str(doc.get("query") or ""),
        choices=[str(choice) for choice in doc.get("choices") or []],
        gold=doc.get("gold_index"),
        texts=after or texts,
        generation=texts[0] if texts else None,
        logprobs=answer.get("logprobs") or [],
        metrics=_mapping(row["metric"]),
        doc={"query": doc.get("query"), "specific": doc.get("specific") or {}},
        truncated=stopped,
    )


def _old_sample(row: Mapping[str, Any], number: int) -> TaskSample:
    plain = {name: _literal(value) if name != "example" else value for name, value in row.items()}
    predictions = plain.get("predictions") or []
    texts = [str(p) for p in predictions if isinstance(p, str)]
    scores = plain.get("pred_logits") or []
    if not texts and predictions:  # of choices: (log-likelihood, greedy) pairs
        scores = [p[0] if isinstance(p, (list, tuple)) else p for p in predictions]
    query = str(row.get("example") or "")
    return _build(
        doc_id=number,
        query=query,
        prompt=str(row.get("full_prompt") or query),
        choices=[str(choice) for choice in plain.get("choices") or []],
        gold=plain.get("gold_index"),
        texts=texts,
        generation=texts[0] if texts else None,
        logprobs=scores,
        metrics=_mapping(plain["metrics"]),
        doc={"query": query, "specific": plain.get("specifics") or {}},
        truncated=False,
    )


def _build(
    *,
    doc_id: int | str,
    query: str,
    prompt: str,
    choices: list[str],
    gold: Any,
    texts: list[str],
    generation: str | None,
    logprobs: Any,
    metrics: Mapping[str, Any],
    doc: dict[str, Any],
    truncated: bool,
) -> TaskSample:
    right = gold if isinstance(gold, list) else [] if gold is None else [gold]
    target = ", ".join(choices[int(i)] for i in right if 0 <= int(i) < len(choices))
    response = texts[0] if texts else ""
    if not texts and len(logprobs) == len(choices) > 0:
        response = choices[max(range(len(choices)), key=lambda i: _score(logprobs[i]))]
    values, parts = {}, {}
    for metric, value in metrics.items():
        if isinstance(value, (bool, int, float)):
            values[str(metric)] = float(value)
        elif value is not None:
            parts[str(metric)] = value
    return TaskSample(
        doc_id=doc_id,
        doc_hash=digest_of_text([query, choices]),
        target_hash=digest_of_text(target),
        prompt_hash=digest_of_text(prompt),
        filter=_FILTER,
        target=target.strip(),
        prompt=prompt,
        response=response.strip() if not texts else response,
        response_by_length=response.strip() if not texts else response,
        values=values,
        parts=parts,
        doc=doc,
        generation="" if generation in (None, response) else shorten(generation or ""),
        faults=() if generation is None else generation_faults(generation, truncated=truncated),
    )


def _score(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else -math.inf


def _prompt(value: Any) -> str:
    """A text, or the messages of a conversation."""
    if isinstance(value, list):
        return "\n".join(
            f"[{m.get('role')}] {m.get('content')}" if isinstance(m, dict) else str(m)
            for m in value
        )
    return "" if value is None else str(value)


def _literal(value: Any) -> Any:
    """A value that some files hold as the text of a Python value; literals only, nothing is run."""
    if not isinstance(value, str) or value[:1] not in ("[", "{", "("):
        return value
    if len(value) > _LONGEST_LITERAL:
        raise ValueError("a value is too long")
    try:
        return ast.literal_eval(re.sub(r"\bnan\b", "None", value))
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"a value is not a literal ({type(error).__name__})") from error


def _facts(document: Mapping[str, Any]) -> dict[str, str]:
    general = _mapping(document.get("config_general"))
    model = _mapping(general.get("model_config"))
    facts = {
        "revision": general.get("model_sha") or model.get("revision"),
        "dtype": general.get("model_dtype") or model.get("dtype"),
    }
    return {name: str(value) for name, value in facts.items() if value}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
