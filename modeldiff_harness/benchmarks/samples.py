"""lm-eval's sample rows (its JSON lines layout) as typed rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import TaskSample
from modeldiff_harness.benchmarks.answer_faults import generation_faults
from modeldiff_harness.errors import RunError

__all__ = [
    "LM_EVAL_FAULTS",
    "TaskSample",
    "by_filter",
    "read_samples",
    "sample_from_row",
    "shorten",
]

LM_EVAL_FAULTS = ("not_extracted", "empty", "refused")
"""What lm-eval's rows can show; it does not record why generation stopped."""

LONGEST_LINE_BYTES = 64 * 2**20
LONGEST_GENERATION = 4000
"""Characters of a generation that are kept beside its answer."""

_NOT_FOUND = "[invalid]"
"""What lm-eval's extraction filters return when they find no answer."""


def read_samples(path: Path) -> tuple[TaskSample, ...]:
    """Read a `samples_*.jsonl` file.

    Raises RunError that names the file and line when a row cannot be read.
    """
    return tuple(_rows(path))


def _rows(path: Path) -> Iterator[TaskSample]:
    try:
        with path.open("rb") as stream:
            number = 0
            while line := stream.readline(LONGEST_LINE_BYTES):
                number += 1
                where = f"{path.name} line {number}"
                if len(line) == LONGEST_LINE_BYTES:
                    raise RunError(f"{where} is longer than {LONGEST_LINE_BYTES // 2**20} MiB.")
                if line.isspace():
                    continue
                yield _row(line, where)
    except OSError as error:
        raise RunError(f"cannot read samples {path.name}: {error.strerror}.") from error


def _row(line: bytes, where: str) -> TaskSample:
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            raise TypeError(f"{type(row).__name__} instead of an object")
        return sample_from_row(row)
    except KeyError as error:
        found = f"it has no {error.args[0]!r}"
    except (TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        found = f"{type(error).__name__}: {error}"
    raise RunError(
        f"{where} is not an lm-eval sample: {found}.",
        hint="Was the file cut off? Run the task again with --log_samples.",
    )


def sample_from_row(row: Mapping[str, Any]) -> TaskSample:
    """Convert one row; raises KeyError for a field that every lm-eval sample has."""
    values: dict[str, float] = {}
    parts: dict[str, Any] = {}
    for metric in row["metrics"]:
        value = row[metric]
        if isinstance(value, (bool, int, float)):
            values[metric] = float(value)
        else:
            parts[metric] = value
    arguments = list(row["arguments"].values())
    response = _response(row["filtered_resps"], arguments, by_length=False)
    generation = _generation(row, arguments)
    doc = row["doc"]
    return TaskSample(
        doc_id=int(row["doc_id"]),
        doc_hash=str(row["doc_hash"]),
        target_hash=str(row["target_hash"]),
        prompt_hash=str(row["prompt_hash"]),
        filter=str(row["filter"]),
        target=_target_text(row["target"], arguments),
        prompt=_text(arguments[0].get("arg_0", "")) if arguments else "",
        response=response,
        response_by_length=_response(row["filtered_resps"], arguments, by_length=True),
        values=values,
        parts=parts,
        doc=doc if isinstance(doc, dict) else {},
        generation="" if generation in (None, response) else shorten(generation or ""),
        faults=()
        if generation is None
        else generation_faults(generation, extracted=response != _NOT_FOUND),
    )


def shorten(text: str, longest: int = LONGEST_GENERATION) -> str:
    """Cut a long text in its middle: beginnings refuse, ends answer."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} […] {text[-half:]}"


def _generation(row: Mapping[str, Any], arguments: list[dict[str, Any]]) -> str | None:
    """Return the text before the filters; None for items that are decided by log-likelihood."""
    if not arguments or not isinstance(arguments[0].get("arg_1"), Mapping):
        return None
    first = row.get("resps") or row["filtered_resps"]
    while isinstance(first, list):
        if not first:
            return ""
        first = first[0]
    return first if isinstance(first, str) else None


def _response(filtered: Any, arguments: list[dict[str, Any]], *, by_length: bool) -> str:
    if not filtered:
        return ""
    scores = [score for score in map(_log_likelihood, filtered) if score is not None]
    if len(scores) == len(filtered) == len(arguments) > 1:
        choices = [_continuation(argument) for argument in arguments]
        if len(set(choices)) == 1:  # Winogrande: the choices are contexts, not continuations
            choices = [_text(argument.get("arg_0", "")) for argument in arguments]
        if by_length:
            pairs = zip(scores, choices, strict=True)
            scores = [score / max(1, len(choice)) for score, choice in pairs]
        return choices[max(range(len(scores)), key=scores.__getitem__)]
    first = filtered[0]
    return first if isinstance(first, str) else json.dumps(first, ensure_ascii=False)


def _log_likelihood(response: Any) -> float | None:
    if not isinstance(response, list) or len(response) != 2:
        return None
    try:
        number = float(response[0])
    except (TypeError, ValueError):
        return None
    return None if math.isnan(number) else number


def _continuation(argument: Mapping[str, Any]) -> str:
    return _text(argument.get("arg_1", "")).strip()


def _target_text(target: Any, arguments: list[dict[str, Any]]) -> str:
    """Name the right choice where the target is its number."""
    text = _text(target)
    if text.isdecimal() and len(arguments) > 1 and int(text) < len(arguments):
        choice = _continuation(arguments[int(text)])
        return choice or text
    return text


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def by_filter(samples: Iterable[TaskSample]) -> dict[str, list[TaskSample]]:
    """Group rows by filter, in order of first appearance."""
    groups: dict[str, list[TaskSample]] = {}
    for sample in samples:
        groups.setdefault(sample.filter, []).append(sample)
    return groups
