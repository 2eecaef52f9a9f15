"""lm-eval's sample rows (its JSON lines layout) as typed rows."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modeldiff_harness.errors import RunError

__all__ = ["TaskSample", "by_filter", "read_samples", "sample_from_row"]


@dataclass(frozen=True)
class TaskSample:
    """One item under one model and one filter."""

    doc_id: int
    doc_hash: str
    target_hash: str
    prompt_hash: str
    filter: str
    target: str
    prompt: str
    response: str
    """Generated text after the filter, or the choice with the highest log-likelihood."""
    response_by_length: str
    """The same with log-likelihoods divided by the choices' lengths, as `acc_norm` decides."""
    values: dict[str, float]
    """Metric → value of this item, for metrics that are one number an item; NaN is kept."""
    parts: dict[str, Any] = field(default_factory=dict)
    """Metric → what its aggregation needs of this item (F1, BLEU, perplexity)."""
    cluster: str | None = None

    @property
    def key(self) -> tuple[int, str]:
        """What identifies the item within its task and filter."""
        return self.doc_id, self.doc_hash


def read_samples(path: Path, cluster_field: str | None = None) -> tuple[TaskSample, ...]:
    """Read a `samples_*.jsonl` file.

    Raises RunError that names the file and line when a row cannot be read.
    """
    return tuple(_rows(path, cluster_field))


def _rows(path: Path, cluster_field: str | None) -> Iterator[TaskSample]:
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                try:
                    yield sample_from_row(json.loads(line), cluster_field)
                except (KeyError, TypeError, ValueError, IndexError) as error:
                    raise RunError(
                        f"{path.name} line {number} is not an lm-eval sample: "
                        f"{type(error).__name__}: {error}.",
                        hint="Run the task again.",
                    ) from error
    except OSError as error:
        raise RunError(f"cannot read samples {path.name}: {error.strerror}.") from error


def sample_from_row(row: Mapping[str, Any], cluster_field: str | None = None) -> TaskSample:
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
    return TaskSample(
        doc_id=int(row["doc_id"]),
        doc_hash=row["doc_hash"],
        target_hash=row["target_hash"],
        prompt_hash=row["prompt_hash"],
        filter=row["filter"],
        target=_target_text(row["target"], arguments),
        prompt=_text(arguments[0].get("arg_0", "")) if arguments else "",
        response=_response(row["filtered_resps"], arguments, by_length=False),
        response_by_length=_response(row["filtered_resps"], arguments, by_length=True),
        values=values,
        parts=parts,
        cluster=_cluster(row["doc"], cluster_field),
    )


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


def _cluster(doc: Any, field_name: str | None) -> str | None:
    if field_name is None:
        return None
    if not isinstance(doc, Mapping) or field_name not in doc:
        raise KeyError(f"cluster field {field_name!r} is not in the document")
    text = json.dumps(doc[field_name], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def by_filter(samples: Iterable[TaskSample]) -> dict[str, list[TaskSample]]:
    """Group rows by filter, in order of first appearance."""
    groups: dict[str, list[TaskSample]] = {}
    for sample in samples:
        groups.setdefault(sample.filter, []).append(sample)
    return groups
