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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import ImportedResults, MeasuredTask, TaskSample
from modeldiff_harness.benchmarks.answer_faults import generation_faults
from modeldiff_harness.benchmarks.bounded_files import (
    decoded_bytes_allowed,
    read_json,
    walk_files,
)
from modeldiff_harness.benchmarks.bounded_parquet import DecodedBudget, open_parquet
from modeldiff_harness.benchmarks.directions import stated_directions
from modeldiff_harness.benchmarks.pairing.metric_values import MEAN_OF_SCORED
from modeldiff_harness.benchmarks.sample_table import SampleTable
from modeldiff_harness.benchmarks.samples import shorten
from modeldiff_harness.benchmarks.tasks import capability_by_name
from modeldiff_harness.clean_text import clean_text, clean_texts
from modeldiff_harness.errors import UsageError, first_line

__all__ = ["create"]

_STAMP = r"\d{4}-\d\d-\d\dT[\d.:-]+"
_DETAILS = re.compile(rf"details_(?P<task>.+)_(?P<stamp>{_STAMP})\.parquet")
_NUMBER = re.compile(r"[0-9]{1,18}")
_DEPTH = 6
_BATCH_ROWS = 500
_MOST_ROWS = 5_000_000
_MOST = 1e300
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
_NOT_A_DETAIL = (AttributeError, TypeError, ValueError, IndexError, KeyError, ArithmeticError,
                 RecursionError, RuntimeError)  # fmt: skip
"""What a row of other types raises on its way to a sample."""
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
        found, n_files = _newest(path)
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
        _require_one_model(path, documents.values())
        return ImportedResults(
            model=clean_text(_model_name(next(iter(found.values()))[1])),
            format="lighteval",
            tasks=tuple(tasks),
            facts=_facts(list(documents.values())[-1] if documents else {}),
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


def _newest(path: Path) -> tuple[dict[str, tuple[str, Path]], int]:
    """Task → stamp and file of its newest run, and how many files there are, of one model."""
    found: dict[str, tuple[str, Path]] = {}
    files = list(_details(path))
    for file in files:
        match = _DETAILS.fullmatch(file.name)
        assert match is not None
        if match["task"] not in found or match["stamp"] > found[match["task"]][0]:
            found[match["task"]] = match["stamp"], file
    if not found:
        raise UsageError(
            f"{path} holds no details of lighteval.", hint="Run lighteval with --save-details."
        )
    models = list(dict.fromkeys(map(_model_name, files)))
    if len(models) > 1:
        raise UsageError(
            f"{path} holds details of several models.", hint=f"Name one: {', '.join(models[:8])}."
        )
    return found, len(files)


def _require_one_model(path: Path, documents: Iterable[Mapping[str, Any]]) -> None:
    """Refuse runs of several models that lie in one folder, where its name cannot tell."""
    told: dict[str, None] = {}
    for document in documents:
        general = _mapping(document.get("config_general"))
        model = _mapping(general.get("model_config"))
        name = general.get("model_name") or model.get("model_name")
        revision = model.get("revision") or general.get("model_sha")
        if name:
            told[f"{name}@{revision}" if revision not in (None, "", "main") else str(name)] = None
    if len(told) > 1:
        raise UsageError(
            f"{path} holds details of several models: {', '.join(list(told)[:8])}.",
            hint="Give each model a folder.",
        )


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
    try:
        cleaned: dict[str, Any] = clean_texts(document)
    except ValueError as error:
        raise UsageError(f"{file} is not a results file of lighteval: {error}.") from error
    return cleaned


def _parts(task: str) -> tuple[str, int | None]:
    """Name and shots of "name|5", "suite|name|5" or "suite|name|5|0"."""
    parts = task.split("|")
    name = parts[0] if len(parts) <= 2 else parts[1]
    shots = parts[{2: 1, 3: 2, 4: 2}.get(len(parts), 0)]
    return clean_text(name), int(shots) if _NUMBER.fullmatch(shots) else None


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
    samples = SampleTable.of(_samples(file))
    limit = general.get("max_samples")
    sha = general.get("lighteval_sha")
    return MeasuredTask(
        task=name,
        samples=samples,
        version="" if version is None else str(version),
        num_fewshot=_parts(key)[1],
        limit=_finite(limit),
        n_items=_count(config.get("effective_num_docs")),
        capability=capability_by_name(name.partition(":")[0]) or capability_by_name(name),
        higher_is_better=_directions(config, name),
        aggregations=dict.fromkeys(samples.values, MEAN_OF_SCORED),
        harness=f"lighteval {sha}" if isinstance(sha, str) and sha != "?" else "lighteval",
        printed=_printed(results),
        primary_metrics=tuple(m for m in results if not str(m).endswith("_stderr")),
        faults_recorded=_FAULTS if samples.are_generated else (),
        source="lighteval",
    )


def _of_task(document: Mapping[str, Any], section: str, key: str) -> Any:
    """Results files write the bar of a task's key as it is, or as a colon."""
    listed = _mapping(document.get(section))
    for name in (key, key.replace("|", ":"), "|".join(key.split("|")[:-1])):
        if name in listed:
            return listed[name]
    return None


def _directions(config: Mapping[str, Any], task: str) -> dict[str, bool | None]:
    found: dict[str, Any] = {}
    metrics = config.get("metrics", config.get("metric"))
    for metric in metrics if isinstance(metrics, list) else []:
        names, up = _mapping(metric).get("metric_name"), _mapping(metric).get("higher_is_better")
        for name in names if isinstance(names, list) else [names]:
            found[str(name)] = up.get(str(name)) if isinstance(up, dict) else up
    return stated_directions(found, task)


def _printed(results: Mapping[str, Any]) -> dict[str, float]:
    found = {f"{metric},{_FILTER}": _finite(value) for metric, value in results.items()}
    return {key: value for key, value in found.items() if value is not None}


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _MOST:
        return None
    return float(value)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _samples(file: Path) -> Iterator[TaskSample]:
    import pyarrow

    number = 0
    try:
        table, read = _table(file)
        budget = DecodedBudget(decoded_bytes_allowed(file.stat().st_size), file.name)
        for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=_columns(table)):
            budget.spend(batch)
            for row in batch.to_pylist():
                try:
                    yield read(row, number).sample()
                except _NOT_A_DETAIL as error:
                    raise UsageError(
                        f"{file.name}, row {number} is not a detail of lighteval:"
                        f" {first_line(error)}."
                    ) from error
                number += 1
    except (OSError, pyarrow.ArrowException, *_NOT_A_DETAIL) as error:
        raise UsageError(f"cannot read {file} after row {number}: {first_line(error)}.") from error


def _table(file: Path) -> tuple[Any, Callable[[Mapping[str, Any], int], _Answered]]:
    """Open details of a bearable size; returns them and what reads a row of their layout."""
    table = open_parquet(file)
    if table.metadata.num_rows > _MOST_ROWS:
        raise UsageError(f"{file} is larger than details have any reason to be.")
    names = set(table.schema_arrow.names)
    if _is_new(names):
        return table, _new_row
    if "metrics" not in names:
        raise UsageError(
            f"{file.name} is not a details file of lighteval: it has the columns"
            f" {', '.join(sorted(map(clean_text, names))[:8])}."
        )
    return table, _old_row


def _is_new(names: Collection[str]) -> bool:
    return {"doc", "metric", "model_response"} <= set(names)


def _columns(table: Any) -> list[str]:
    names = table.schema_arrow.names
    return list(_NEW_COLUMNS) if _is_new(names) else [c for c in _OLD_COLUMNS if c in names]


@dataclass(frozen=True)
class _Answered:
    """One row of either layout."""

    doc_id: int | str
    query: str
    prompt: str
    choices: list[str]
    gold: Any
    """The number of the right choice, or several."""
    texts: list[str]
    """Generated texts as they were scored; empty where a likelihood decides."""
    generation: str | None
    """The first generated text as it came."""
    logprobs: Any
    metrics: Mapping[str, Any]
    doc: dict[str, Any]
    truncated: bool = False

    def target(self) -> str:
        gold = self.gold if isinstance(self.gold, list) else [self.gold]
        right = [] if self.gold is None else list(map(int, gold))
        return ", ".join(self.choices[i] for i in right if 0 <= i < len(self.choices))

    def response(self) -> str:
        if self.texts:
            return self.texts[0]
        if len(self.logprobs) == len(self.choices) > 0:
            numbers = [_score(one) for one in self.logprobs]
            return self.choices[numbers.index(max(numbers))].strip()
        return ""

    def sample(self) -> TaskSample:
        target, response = self.target(), self.response()
        numbers = {str(m): v for m, v in self.metrics.items() if isinstance(v, (int, float))}
        sample = TaskSample.of(
            self.doc_id,
            item=[self.query, self.choices],
            target=target,
            prompt=self.prompt,
            response=response,
            values={metric: float(value) for metric, value in numbers.items()},
            parts={
                str(metric): value
                for metric, value in self.metrics.items()
                if value is not None and str(metric) not in numbers
            },
            doc=self.doc,
        )
        sample = replace(sample, target=target.strip())  # hashed as it stands in the file
        if self.generation is None:
            return sample
        return replace(
            sample,
            generation="" if self.generation == response else shorten(self.generation),
            faults=generation_faults(self.generation, truncated=self.truncated),
        )


def _object(row: Mapping[str, Any], column: str) -> Mapping[str, Any]:
    """A column's value with its texts cleaned; TypeError for what is no object."""
    value = row.get(column)
    if not isinstance(value, dict):
        raise TypeError(f"it has no {column} that is an object")
    cleaned: Mapping[str, Any] = clean_texts(value)
    return cleaned


def _listed(values: Mapping[str, Any], name: str) -> list[Any]:
    """A list, empty where there is none; TypeError for another type, such as one bare text."""
    value = values.get(name)
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"its {name} is {type(value).__name__}, not a list")
    return list(value)


def _texts(values: Mapping[str, Any], name: str) -> list[str]:
    return [str(one) for one in _listed(values, name)]


def _new_row(row: Mapping[str, Any], number: int) -> _Answered:
    doc, answer = _object(row, "doc"), dict(_mapping(row["model_response"]))
    tokens = answer.pop("output_tokens", None) or []  # numbers, and many: nothing to clean
    answer = clean_texts(answer)
    texts = _texts(answer, "text")
    after = _texts(answer, "text_post_processed")
    most = doc.get("generation_size")
    raw_id = str(doc.get("id") or "")
    return _Answered(
        doc_id=int(raw_id) if _NUMBER.fullmatch(raw_id) else raw_id or number,
        query=str(doc.get("query") or ""),
        prompt=_prompt(answer.get("input")) or str(doc.get("query") or ""),
        choices=_texts(doc, "choices"),
        gold=doc.get("gold_index"),
        texts=after or texts,
        generation=texts[0] if texts else None,
        logprobs=_listed(answer, "logprobs"),
        metrics=_object(row, "metric"),
        doc={"query": doc.get("query"), "specific": doc.get("specific") or {}},
        truncated=bool(texts and most and tokens and len(tokens[0]) >= int(most)),
    )


def _old_row(row: Mapping[str, Any], number: int) -> _Answered:
    plain = {
        name: clean_texts(value if name in ("example", "full_prompt") else _literal(value))
        for name, value in row.items()
    }
    predictions = _listed(plain, "predictions")
    texts = [str(p) for p in predictions if isinstance(p, str)]
    scores = _listed(plain, "pred_logits")
    if not texts and predictions:  # of choices: (log-likelihood, greedy) pairs
        scores = [p[0] if isinstance(p, (list, tuple)) else p for p in predictions]
    query = str(plain.get("example") or "")
    return _Answered(
        doc_id=number,
        query=query,
        prompt=str(plain.get("full_prompt") or query),
        choices=_texts(plain, "choices"),
        gold=plain.get("gold_index"),
        texts=texts,
        generation=texts[0] if texts else None,
        logprobs=scores,
        metrics=_object(plain, "metrics"),
        doc={"query": query, "specific": plain.get("specifics") or {}},
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
