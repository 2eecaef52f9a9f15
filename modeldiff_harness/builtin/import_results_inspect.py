"""Evaluation logs of Inspect: `.eval` archives and their `.json` form, one task a log.

An `.eval` file is a zip of `header.json` (or, of a run that did not end, `_journal/start.json`) and
`samples/<id>_epoch_<n>.json`; very long samples lie in a folder of their own as `sample.json`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import ImportedResults, MeasuredTask, TaskSample
from modeldiff_harness.benchmarks.answer_faults import FAULTS, generation_faults
from modeldiff_harness.benchmarks.bounded_files import BoundedZip, read_json, walk_files
from modeldiff_harness.benchmarks.importers import digest_of_text
from modeldiff_harness.benchmarks.pairing.metric_values import MEAN_OF_SCORED
from modeldiff_harness.benchmarks.samples import shorten
from modeldiff_harness.benchmarks.tasks import capability_by_name
from modeldiff_harness.errors import UsageError

__all__ = ["create"]

_SAMPLE = re.compile(r"samples/.+_epoch_\d+(\.json|/sample\.json)")
_REFERENCE = re.compile(r"attachment://([0-9a-f]{1,64})")
_HEADERS = ("header.json", "_journal/start.json")
_FILTER = "none"
_DEPTH = 2
_GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""Inspect's letters: correct, partial, incorrect, no answer."""
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_LENGTH_STOPS = ("max_tokens", "model_length")
_HEADLINES = ("accuracy", "mean")
"""Inspect's metrics that are the mean of the samples' values."""


class InspectResults:
    """Reads one or more logs of one model."""

    def recognises(self, path: Path) -> bool:
        """Say whether this is a log, or a folder of them."""
        try:
            return any(_is_log(file) for file in _files(path))
        except (OSError, UsageError):
            return False

    def read(self, path: Path) -> ImportedResults:
        """Read every task at `path`; of several logs of one task the newest."""
        logs: dict[str, tuple[str, Path, dict[str, Any]]] = {}
        models: dict[str, None] = {}
        n_logs = 0
        for file in _files(path):
            if not _is_log(file):
                continue
            n_logs += 1
            header = _header(file)
            spec = _mapping(header.get("eval"))
            models[str(spec.get("model"))] = None
            created, task = str(spec.get("created", "")), str(spec.get("task") or file.stem)
            if task not in logs or created > logs[task][0]:
                logs[task] = created, file, header
        if not logs:
            raise UsageError(f"{path} holds no log of Inspect.")
        if len(models) > 1:
            raise UsageError(
                f"{path} holds logs of several models: {', '.join(list(models)[:8])}.",
                hint="Name the log of one model, or a folder with one model's logs.",
            )
        notes = []
        if n_logs > len(logs):
            notes.append(f"{path.name}: several logs of one task; the newest of each is read")
        tasks = []
        for task, (_created, file, header) in logs.items():
            tasks.append(_task(task, file, header))
            status = header.get("status", "started")
            if status != "success":
                notes.append(
                    f"{task}: the run ended as {str(status)[:20]!r}; samples may be missing"
                )
        return ImportedResults(
            model=next(iter(models)),
            format="inspect",
            tasks=tuple(tasks),
            facts=_facts(next(iter(logs.values()))[2]),
            notes=tuple(notes),
        )


create = InspectResults


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for file in walk_files(path, _DEPTH):
        if file.suffix in (".eval", ".json"):
            yield file


def _is_log(file: Path) -> bool:
    with file.open("rb") as stream:
        head = stream.read(4096)
    if file.suffix == ".eval" or head[:2] == b"PK":
        return head[:4] == b"PK\x03\x04" and file.suffix == ".eval"
    return file.suffix == ".json" and b'"eval"' in head and b'"version"' in head


def _header(file: Path) -> dict[str, Any]:
    """Return the log without its samples; a JSON log is read once more for them."""
    if file.suffix != ".eval":
        return _log(read_json(file), file)
    with BoundedZip(file) as archive:
        for name in _HEADERS:
            if name in archive.names:
                return _log(archive.read_json(name), file)
    raise UsageError(f"{file} is not a log of Inspect: it has no {_HEADERS[0]}.")


def _log(value: Any, file: Path) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("eval"), dict):
        raise UsageError(f"{file} is not a log of Inspect: it has no `eval`.")
    return value


def _raw_samples(file: Path, header: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if file.suffix != ".eval":
        listed = header.get("samples")
        for sample in listed if isinstance(listed, list) else []:
            yield _mapping(sample)
        return
    with BoundedZip(file) as archive:
        for name in archive.names:
            if _SAMPLE.fullmatch(name):
                sample = dict(_mapping(archive.read_json(name)))
                if name.endswith("/sample.json"):
                    _complete(sample, name.removesuffix("sample.json"), archive)
                yield sample


def _complete(sample: dict[str, Any], prefix: str, archive: BoundedZip) -> None:
    """Give a sample that lies in pieces its metadata and the texts its shell refers to."""
    if f"{prefix}metadata.json" in archive.names:
        sample["metadata"] = archive.read_json(f"{prefix}metadata.json")
    texts: dict[str, str] = {}
    chunks = [name for name in archive.names if name.startswith(f"{prefix}attachments/")]
    for name in chunks:
        start = name.removeprefix(f"{prefix}attachments/").removesuffix(".json")
        listed = archive.read_json(name)
        if start.isdecimal() and isinstance(listed, list):
            texts.update({str(int(start) + i): str(text) for i, text in enumerate(listed)})
    sample["attachments"] = texts


def _task(task: str, file: Path, header: Mapping[str, Any]) -> MeasuredTask:
    spec, results = _mapping(header.get("eval")), _mapping(header.get("results"))
    samples, scorers = [], dict.fromkeys(_scorer_names(results))
    for number, raw in enumerate(_raw_samples(file, header)):
        if raw.get("id") is None or raw.get("epoch") is None:
            raise UsageError(f"{file.name}: sample {number} has no id and epoch.")
        sample = _sample(raw)
        samples.append(sample)
        scorers.update(dict.fromkeys(sample.values))
    limit = _mapping(spec.get("config")).get("limit")
    version = spec.get("task_version")
    return MeasuredTask(
        task=task,
        samples=tuple(samples),
        version="" if version is None else str(version),
        limit=_limit(limit),
        capability=capability_by_name(task.rpartition("/")[2]),
        aggregations=dict.fromkeys(scorers, MEAN_OF_SCORED),
        harness=f"inspect_ai {_mapping(spec.get('packages')).get('inspect_ai', '')}".strip(),
        printed=_printed(results),
        primary_metrics=tuple(scorers),
        faults_recorded=FAULTS,
        source="inspect_ai",
    )


def _limit(value: Any) -> float | None:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(v, int) for v in value):
        return float(value[1] - value[0])
    return float(value) if isinstance(value, (int, float)) and value is not True else None


def _sample(raw: Mapping[str, Any]) -> TaskSample:
    texts = _mapping(raw.get("attachments"))
    output = _mapping(raw.get("output"))
    choice = _mapping(next(iter(_list(output.get("choices"))), None))
    prompt = _resolve(_prompt(raw), texts)
    question = _resolve(_text(raw.get("input")), texts)
    target = raw.get("target")
    target_text = target if isinstance(target, str) else ", ".join(map(str, _list(target)))
    generation = _resolve(
        str(output.get("completion") or _text(_mapping(choice.get("message")).get("content"))),
        texts,
    )
    scores = _mapping(raw.get("scores"))
    first = _mapping(next(iter(scores.values()), None))
    answer = first.get("answer")
    response = _resolve(str(answer), texts) if answer not in (None, "") else generation
    failed = raw.get("error") is not None or output.get("error") is not None
    stopped = str(choice.get("stop_reason"))
    faults = generation_faults(
        generation,
        extracted=first.get("value") != "N" and not (answer in (None, "") and "answer" in first),
        truncated=stopped in _LENGTH_STOPS or raw.get("limit") is not None,
        refused=stopped == "content_filter",
    )
    return TaskSample(
        doc_id=_identity(raw["id"]),
        doc_hash=digest_of_text([question, raw.get("choices")]),
        target_hash=digest_of_text(target_text),
        prompt_hash=digest_of_text(prompt),
        filter=_FILTER,
        target=target_text,
        prompt=prompt,
        response=response,
        response_by_length=response,
        values=_values(scores),
        doc={
            "id": raw["id"],
            "input": question,
            "choices": raw.get("choices"),
            "target": target,
            "metadata": raw.get("metadata") or {},
        },
        repeat=raw["epoch"] if isinstance(raw["epoch"], int) else 0,
        generation="" if generation == response else shorten(generation),
        faults=("error", *(f for f in faults if f != "empty")) if failed else faults,
    )


def _identity(value: Any) -> int | str:
    return value if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _values(scores: Mapping[str, Any]) -> dict[str, float]:
    """Scorer → value; of a scorer with several named values "scorer.name" → value."""
    values = {}
    for scorer, score in scores.items():
        value = _mapping(score).get("value")
        if isinstance(value, Mapping):
            for name, one in value.items():
                values[f"{scorer}.{name}"] = _number(one)
        else:
            values[str(scorer)] = _number(value)
    return values


def _number(value: Any) -> float:
    """As Inspect's value_to_float; NaN for what has no number, so that it is counted."""
    if isinstance(value, (bool, int, float)):
        return float(value)
    if isinstance(value, str):
        if value in _GRADES:
            return _GRADES[value]
        if value.lower() in _WORDS:
            return _WORDS[value.lower()]
        try:
            return float(value)
        except ValueError:
            return math.nan
    return math.nan


def _scorer_names(results: Mapping[str, Any]) -> list[str]:
    return [
        str(score["name"])
        for score in map(_mapping, _list(results.get("scores")))
        if isinstance(score.get("name"), str)
    ]


def _printed(results: Mapping[str, Any]) -> dict[str, float]:
    """The mean and its standard error of every scorer that is reduced by the mean."""
    printed: dict[str, float] = {}
    for score in map(_mapping, _list(results.get("scores"))):
        if score.get("reducer") not in (None, "mean"):
            continue
        metrics = _mapping(score.get("metrics"))
        for wanted, suffix in ((_HEADLINES, ""), (("stderr",), "_stderr")):
            for name in wanted:
                value = _mapping(metrics.get(name)).get("value")
                if isinstance(value, (int, float)) and math.isfinite(value):
                    printed.setdefault(f"{score.get('name')}{suffix},{_FILTER}", float(value))
    return printed


def _prompt(raw: Mapping[str, Any]) -> str:
    """The conversation up to the model's first words."""
    before = []
    for message in map(_mapping, _list(raw.get("messages"))):
        if message.get("role") == "assistant":
            break
        before.append(message)
    return _text(before) if before else _text(raw.get("input"))


def _text(value: Any) -> str:
    """A text, a list of parts or of messages as plain text; ids and images are left out."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        role = f"[{value['role']}] " if "role" in value else ""
        return role + _text(value.get("content", value.get("text", "")))
    return "\n".join(_text(one) for one in _list(value))


def _resolve(text: str, texts: Mapping[str, Any]) -> str:
    """Put the texts that a log keeps apart back in place."""
    if not texts:
        return text
    return _REFERENCE.sub(lambda match: str(texts.get(match[1], match[0])), text)


def _facts(header: Mapping[str, Any]) -> dict[str, str]:
    spec = _mapping(header.get("eval"))
    facts = {"date": spec.get("created"), "source": spec.get("model_base_url")}
    return {name: str(value) for name, value in facts.items() if value}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
