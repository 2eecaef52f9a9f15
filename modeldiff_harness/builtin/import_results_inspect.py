"""Evaluation logs of Inspect: `.eval` archives and their `.json` form, one task a log.

An `.eval` file is a zip of `header.json` (or, of a run that did not end, `_journal/start.json`) and
`samples/<id>_epoch_<n>.json`; very long samples lie in a folder of their own as `sample.json`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import ImportedResults, MeasuredTask, TaskSample
from modeldiff_harness.benchmarks.answer_faults import FAULTS, generation_faults
from modeldiff_harness.benchmarks.bounded_files import (
    BoundedZip,
    read_head,
    read_json,
    walk_files,
)
from modeldiff_harness.benchmarks.epoch_reducers import MEAN
from modeldiff_harness.benchmarks.inspect_epochs import (
    EpochAnswer,
    LogReducers,
    scores_of,
    value_to_float,
)
from modeldiff_harness.benchmarks.pairing.metric_values import MEAN_OF_SCORED
from modeldiff_harness.benchmarks.samples import shorten
from modeldiff_harness.benchmarks.tasks import capability_by_name
from modeldiff_harness.clean_text import clean_texts
from modeldiff_harness.errors import UsageError

__all__ = ["create"]

_SAMPLE = re.compile(r"samples/.+_epoch_\d+(\.json|/sample\.json)")
_REFERENCE = re.compile(r"attachment://([0-9a-f]{1,64})")
_HEADERS = ("header.json", "_journal/start.json")
_FILTER = "none"
_DEPTH = 2
_LENGTH_STOPS = ("max_tokens", "model_length")
_UNNAMED_SCORER = "score"
_MODEL_ARGUMENTS = ("model_path", "peft_path", "adapter", "revision")
"""What tells local models apart: their name is the same for all."""
_LOG_FIELDS = ("version", "status", "eval", "results", "invalidated")
_SAMPLE_FIELDS = ("id", "epoch", "input", "choices", "target", "messages", "output", "scores",
                  "score", "metadata", "attachments", "error", "limit")  # fmt: skip
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_LONGEST_ARGUMENTS = 120
_MOST = 1e15
_ABSENT = object()
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
        """Read every task at `path`; of several logs of one task the newest.

        One task with other `task_args` is another task.
        """
        logs: dict[tuple[str, str], _Log] = {}
        models: dict[str, None] = {}
        n_logs = 0
        for file in _files(path):
            if not _is_log(file):
                continue
            n_logs += 1
            log = _Log(file, _header(file))
            models[log.model] = None
            known = logs.get(log.identity)
            if known is None or log.created > known.created:
                logs[log.identity] = log
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
        names = _names(logs.values())
        tasks = [_task(name, log, notes) for name, log in zip(names, logs.values(), strict=True)]
        notes += [f"{task.task}: the run {task.unfinished}" for task in tasks if task.unfinished]
        return ImportedResults(
            model=next(iter(models)),
            format="inspect",
            tasks=tuple(tasks),
            facts=_facts(next(iter(logs.values())).header),
            notes=tuple(notes),
        )


create = InspectResults


@dataclass(frozen=True)
class _Log:
    file: Path
    header: Mapping[str, Any]

    @property
    def spec(self) -> Mapping[str, Any]:
        return _mapping(self.header.get("eval"))

    @property
    def task(self) -> str:
        return str(self.spec.get("task") or self.file.stem)

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The task's arguments as they were given, or as older versions recorded them."""
        passed = self.spec.get("task_args_passed")
        return _mapping(self.spec.get("task_args") if passed is None else passed)

    @property
    def identity(self) -> tuple[str, str]:
        return self.task, json.dumps(self.arguments, sort_keys=True)

    @property
    def model(self) -> str:
        """The model's name; a local one has its path among its arguments."""
        name, own = str(self.spec.get("model")), _mapping(self.spec.get("model_args"))
        told = [f"{key}={own[key]}" for key in _MODEL_ARGUMENTS if own.get(key) not in (None, "")]
        return f"{name} ({', '.join(told)})" if told else name

    @property
    def created(self) -> tuple[float, str]:
        stated = str(self.spec.get("created", ""))
        try:
            return datetime.fromisoformat(stated).timestamp(), stated
        except (ValueError, OverflowError, OSError):
            return -math.inf, stated


def _names(logs: Collection[_Log]) -> list[str]:
    """The tasks' names, with the arguments that differ where one task was run with several."""
    of_task: dict[str, list[Mapping[str, Any]]] = {}
    for log in logs:
        of_task.setdefault(log.task, []).append(log.arguments)
    names = []
    for log in logs:
        others = of_task[log.task]
        keys = sorted({key for one in others for key in one})
        varied = [k for k in keys if any(one.get(k, _ABSENT) != others[0].get(k, _ABSENT)
                                         for one in others)]  # fmt: skip
        told = _told({key: log.arguments.get(key) for key in varied})
        names.append(f"{log.task} [{told}]" if varied else log.task)
    return names


def _told(arguments: Mapping[str, Any]) -> str:
    """Arguments as "key=value, key=value"; long ones are cut and told apart by a digest."""
    text = ", ".join(f"{key}={value}" for key, value in sorted(arguments.items()))
    if len(text) <= _LONGEST_ARGUMENTS:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{text[:_LONGEST_ARGUMENTS]}… {digest}"


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for file in walk_files(path, _DEPTH):
        if file.suffix in (".eval", ".json"):
            yield file


def _is_log(file: Path) -> bool:
    head = read_head(file, 4096)
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
    """The log with its texts cleaned, its samples as they are: those are cleaned one by one."""
    if not isinstance(value, dict) or not isinstance(value.get("eval"), dict):
        raise UsageError(f"{file} is not a log of Inspect: it has no `eval`.")
    try:
        cleaned = {key: clean_texts(value[key]) for key in _LOG_FIELDS if key in value}
    except ValueError as error:
        raise UsageError(f"{file} is not a log of Inspect: {error}.") from error
    return {**cleaned, "samples": value.get("samples")}


def _raw_samples(file: Path, header: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if file.suffix != ".eval":
        listed = header.get("samples")
        for sample in listed if isinstance(listed, list) else []:
            yield _mapping(sample)
        return
    with BoundedZip(file) as archive:
        samples = [name for name in archive.names if _SAMPLE.fullmatch(name)]
        pieces = tuple(n.removesuffix("sample.json") for n in samples if n.endswith("/sample.json"))
        for name in archive.names:
            known = name.startswith("samples/") and not name.endswith("/")
            if known and not (_SAMPLE.fullmatch(name) or name.startswith(pieces)):
                raise UsageError(
                    f"{file.name}: entry {name[:100]!r} is among the samples and none by its name."
                )
        for name in samples:
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


def _task(name: str, log: _Log, notes: list[str]) -> MeasuredTask:
    """Read one log; `notes` gets what is to be said of it."""
    spec, results = log.spec, _results(log.header)
    scorer = next(iter(_scorer_names(results)), _UNNAMED_SCORER)
    answers = [
        _answer(raw, scorer, f"{log.file.name}: sample {number}")
        for number, raw in enumerate(_raw_samples(log.file, log.header))
    ]
    reducers = LogReducers(results, _mapping(spec.get("config")), answers)
    samples = reducers.samples(answers)
    metrics = dict.fromkeys([*reducers.of_results(results), *reducers.metrics])
    for metric, reducer in reducers.unknown.items():
        reason = f"its epochs are reduced by {reducer!r}, which is not one of Inspect's own"
        if not metrics:
            raise UsageError(f"{log.file.name}: {metric} has no value an item: {reason}.")
        notes.append(f"{name}: {metric} left out: {reason}")
    version = "" if spec.get("task_version") is None else str(spec["task_version"])
    if log.arguments:
        version = f"{version} with {_told(log.arguments)}".strip()
    total, epochs = _total(log.header)
    return MeasuredTask(
        task=name,
        samples=tuple(samples),
        version=version,
        limit=_limit(_mapping(spec.get("config")).get("limit")),
        n_items=total // epochs if total else None,
        capability=capability_by_name(log.task.rpartition("/")[2]),
        aggregations=dict.fromkeys(metrics, MEAN_OF_SCORED),
        harness=f"inspect_ai {_mapping(spec.get('packages')).get('inspect_ai', '')}".strip(),
        printed=_printed(results, reducers),
        primary_metrics=tuple(metrics),
        faults_recorded=FAULTS,
        source="inspect_ai",
        unfinished=_unfinished(log.header, len(answers), total),
    )


def _total(header: Mapping[str, Any]) -> tuple[int, int]:
    """How many samples the run was to have, epochs included, 0 if it is not said; and epochs."""
    spec, results = _mapping(header.get("eval")), _mapping(header.get("results"))
    epochs = max(1, _count(_mapping(spec.get("config")).get("epochs")))
    stated = max(_count(results.get("total_samples")), _count(results.get("completed_samples")))
    return stated or _count(_mapping(spec.get("dataset")).get("samples")) * epochs, epochs


def _unfinished(header: Mapping[str, Any], n_found: int, total: int) -> str:
    status = str(header.get("status", "started"))[:20]
    of = f"{n_found:,} of {total:,} samples" if total else f"{n_found:,} samples"
    if status != "success":
        return f"ended as {status!r} with {of}"
    if header.get("invalidated") is True:
        return f"was marked as invalid, with {of}"
    results = _mapping(header.get("results"))
    stopped_early = results.get("early_stopping") is not None
    expected = _count(results.get("completed_samples")) if stopped_early else total
    stated = any(_count(results.get(key)) for key in ("total_samples", "completed_samples"))
    if stated and n_found < expected:
        return f"holds only {n_found:,} of {expected:,} samples"
    return ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _limit(value: Any) -> float | None:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(v, int) for v in value):
        value = value[1] - value[0]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > _MOST:
        return None
    return float(value)


def _answer(raw: Mapping[str, Any], scorer: str, where: str) -> EpochAnswer:
    """Read one sample; `scorer`: what the one `score` of version 1 is called."""
    if raw.get("id") is None or not _count(raw.get("epoch")):
        raise UsageError(f"{where} has no id and epoch.")
    try:
        kept: dict[str, Any] = clean_texts({key: raw[key] for key in _SAMPLE_FIELDS if key in raw})
    except ValueError as error:
        raise UsageError(f"{where} cannot be read: {error}.") from error
    if "score" in kept and "scores" not in kept:
        kept["scores"] = {scorer: kept["score"]}
    scores = kept.get("scores")
    if scores is not None and not isinstance(scores, dict):
        raise UsageError(f"{where} has scores that are {type(scores).__name__}, not an object.")
    values = _values(scores or {})
    numbers = {metric: value_to_float(value) for metric, value in values.items()}
    return EpochAnswer(_sample(kept, numbers), values)


def _sample(raw: Mapping[str, Any], values: dict[str, float]) -> TaskSample:
    texts = _mapping(raw.get("attachments"))
    prompt = _resolve(_prompt(raw), texts)
    question = _resolve(_text(raw.get("input")), texts)
    target = raw.get("target")
    target_text = target if isinstance(target, str) else ", ".join(map(str, _list(target)))
    generation = _generation(raw, texts)
    answer = _mapping(next(iter(_mapping(raw.get("scores")).values()), None)).get("answer")
    response = _resolve(str(answer), texts) if answer not in (None, "") else generation
    return TaskSample.of(
        _identity(raw["id"]),
        item=[question, raw.get("choices")],
        target=target_text,
        prompt=prompt,
        response=response,
        values=values,
        doc={
            "id": raw["id"],
            "input": question,
            "choices": raw.get("choices"),
            "target": target,
            "metadata": raw.get("metadata") or {},
        },
        repeat=raw["epoch"],
        generation="" if generation == response else shorten(generation),
        faults=_faults(raw, generation),
    )


def _generation(raw: Mapping[str, Any], texts: Mapping[str, Any]) -> str:
    output = _mapping(raw.get("output"))
    said = _mapping(_choice(output).get("message")).get("content")
    return _resolve(str(output.get("completion") or _text(said)), texts)


def _choice(output: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(next(iter(_list(output.get("choices"))), None))


def _faults(raw: Mapping[str, Any], generation: str) -> tuple[str, ...]:
    output = _mapping(raw.get("output"))
    first = _mapping(next(iter(_mapping(raw.get("scores")).values()), None))
    no_answer = "answer" in first and first["answer"] in (None, "")
    stopped = str(_choice(output).get("stop_reason"))
    faults = generation_faults(
        generation,
        extracted=first.get("value") != "N" and not no_answer,
        truncated=stopped in _LENGTH_STOPS or raw.get("limit") is not None,
        refused=stopped == "content_filter",
    )
    if raw.get("error") is not None or output.get("error") is not None:
        return ("error", *(fault for fault in faults if fault != "empty"))
    return faults


def _identity(value: Any) -> int | str:
    """As Inspect keeps samples apart: by the text of their id, so that 1 and "1" are one."""
    text = str(value)
    return int(text) if _NUMBER.fullmatch(text) else text


def _values(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Scorer → value as it stands; of a scorer with several named values "scorer.name" → value."""
    values = {}
    for scorer, score in scores.items():
        value = _mapping(score).get("value")
        if isinstance(value, Mapping):
            for name, one in value.items():
                values[f"{scorer}.{name}"] = one
        else:
            values[str(scorer)] = value
    return values


def _results(header: Mapping[str, Any]) -> Mapping[str, Any]:
    """The log's results; those of version 1 have one `scorer` and its `metrics` beside."""
    results = _mapping(header.get("results"))
    if "scores" in results or not isinstance(results.get("scorer"), dict):
        return results
    scorer = results["scorer"]
    return {**results, "scores": [{**scorer, "metrics": _mapping(results.get("metrics"))}]}


def _scorer_names(results: Mapping[str, Any]) -> list[str]:
    return [str(one["name"]) for one in scores_of(results) if isinstance(one.get("name"), str)]


def _printed(results: Mapping[str, Any], reducers: LogReducers) -> dict[str, float]:
    """The mean over items, and its standard error, of every scorer and way to reduce epochs."""
    printed: dict[str, float] = {}
    for score in scores_of(results):
        name = reducers.name(str(score.get("name")), str(score.get("reducer") or MEAN))
        metrics = _mapping(score.get("metrics"))
        for wanted, suffix in ((_HEADLINES, ""), (("stderr",), "_stderr")):
            for headline in wanted:
                value = value_to_float(_mapping(metrics.get(headline)).get("value"))
                if math.isfinite(value):
                    printed.setdefault(f"{name}{suffix},{_FILTER}", value)
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
