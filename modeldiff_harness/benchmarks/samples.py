"""lm-eval's sample rows (its JSON lines layout) as columns.

A row is decoded into the fields that are needed, by their types; what does not fit (NaN, lone
surrogates, a number for a text, a broken line) is read again by Python's own JSON, which says what
is wrong.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import msgspec

from modeldiff_harness.artifacts import TaskSample
from modeldiff_harness.benchmarks.answer_faults import generation_faults
from modeldiff_harness.benchmarks.sample_table import SampleTable
from modeldiff_harness.errors import RunError

__all__ = ["LM_EVAL_FAULTS", "read_samples", "sample_from_row", "shorten"]

LM_EVAL_FAULTS = ("not_extracted", "empty", "refused")
"""What lm-eval's rows can show; it does not record why generation stopped."""

LONGEST_LINE_BYTES = 64 * 2**20
LONGEST_GENERATION = 4000
"""Characters of a generation that are kept beside its answer."""

_NOT_FOUND = "[invalid]"
"""What lm-eval's extraction filters return when they find no answer."""


Arguments = Sequence[Mapping[str, Any]]


class _Row(msgspec.Struct, kw_only=True, gc=False):
    """What is taken of a row; its metrics are fields of a subclass."""

    doc_id: int
    doc: msgspec.Raw
    doc_hash: str
    target: Any
    target_hash: str
    prompt_hash: str
    arguments: dict[str, dict[str, Any]]
    resps: Any = None
    filtered_resps: Any
    filter: str
    metrics: tuple[str, ...]


_NOT_PLAIN = (msgspec.MsgspecError, UnicodeError, KeyError, TypeError, ValueError, IndexError,
              AttributeError, RecursionError)  # fmt: skip


def read_samples(path: Path) -> SampleTable:
    """Read a `samples_*.jsonl` file.

    Raises RunError that names the file and line when a row cannot be read.
    """
    table = SampleTable()
    table.extend(_rows(path))
    return table


def _rows(path: Path) -> Iterator[tuple[Any, ...]]:
    metrics: tuple[str, ...] = ()
    decode, names = _decoder(metrics)
    for number, line in _lines(path):
        try:
            if not line.isascii():
                line.decode("utf-8", "surrogatepass")  # fields that are skipped are not checked
            row = decode(line)
            if row.metrics != metrics:
                metrics = row.metrics
                decode, names = _decoder(metrics)
                row = decode(line)
            named = {metric: getattr(row, name) for metric, name in names.items()}
            fields = _fields(row, list(row.arguments.values()), named, bytes(row.doc))
        except _NOT_PLAIN:
            fields = _read_again(line, f"{path.name} line {number}")
        yield fields


@lru_cache(maxsize=64)
def _decoder(metrics: tuple[str, ...]) -> tuple[Callable[[bytes], Any], dict[str, str]]:
    """Return the call that decodes rows of these metrics, and metric → name of its attribute.

    Raises ValueError for a metric that is called as a field is.
    """
    if set(metrics) & set(_Row.__struct_fields__):
        raise ValueError("a metric has the name of a field")
    names = {metric: f"m{i}" for i, metric in enumerate(metrics)}
    kind = msgspec.defstruct(
        "_RowOfMetrics",
        [(name, Any) for name in names.values()],
        bases=(_Row,),
        rename={name: metric for metric, name in names.items()},
        kw_only=True,
        gc=False,
    )
    return msgspec.json.Decoder(kind).decode, names


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers."""
    try:
        with path.open("rb") as stream:
            lines = iter(partial(stream.readline, LONGEST_LINE_BYTES), b"")
            for number, line in enumerate(lines, start=1):
                if len(line) == LONGEST_LINE_BYTES:
                    raise RunError(
                        f"{path.name} line {number} is longer than"
                        f" {LONGEST_LINE_BYTES // 2**20} MiB."
                    )
                if not line.isspace():
                    yield number, line
    except OSError as error:
        raise RunError(f"cannot read samples {path.name}: {error.strerror}.") from error


def _read_again(line: bytes, where: str) -> tuple[Any, ...]:
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            raise TypeError(f"{type(row).__name__} instead of an object")
        return _fields_of_row(row)
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
    return TaskSample(*_fields_of_row(row))


def _fields_of_row(row: Mapping[str, Any]) -> tuple[Any, ...]:
    named = {metric: row[metric] for metric in row["metrics"]}
    arguments = list(row["arguments"].values())
    plain = _Row(
        filtered_resps=row["filtered_resps"],
        resps=row.get("resps"),
        doc=msgspec.Raw(),
        doc_id=int(row["doc_id"]),
        doc_hash=str(row["doc_hash"]),
        target_hash=str(row["target_hash"]),
        prompt_hash=str(row["prompt_hash"]),
        filter=str(row["filter"]),
        target=row["target"],
        arguments={},
        metrics=(),
    )
    doc = row["doc"]
    return _fields(plain, arguments, named, doc if isinstance(doc, dict) else {})


def _fields(
    row: _Row, arguments: Arguments, named: Mapping[str, Any], doc: Mapping[str, Any] | bytes
) -> tuple[Any, ...]:
    """Return the fields of `TaskSample` in order; `named`: metric → value."""
    values: dict[str, float] = {}
    parts: dict[str, Any] = {}
    for metric, value in named.items():
        if isinstance(value, (int, float)):
            values[metric] = float(value)
        else:
            parts[metric] = value
    response, by_length = _responses(row.filtered_resps, arguments)
    generation = _generation(row, arguments)
    faults: tuple[str, ...] = ()
    if generation is not None:
        faults = generation_faults(generation, extracted=response != _NOT_FOUND)
    return (
        row.doc_id,
        row.doc_hash,
        row.target_hash,
        row.prompt_hash,
        row.filter,
        _target_text(row.target, arguments),
        _text(arguments[0].get("arg_0", "")) if arguments else "",
        response,
        by_length,
        values,
        parts,
        doc,
        0,
        "" if generation in (None, response) else shorten(generation or ""),
        faults,
    )


def shorten(text: str, longest: int = LONGEST_GENERATION) -> str:
    """Cut a long text in its middle: beginnings refuse, ends answer."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} […] {text[-half:]}"


def _generation(row: _Row, arguments: Arguments) -> str | None:
    """Return the text before the filters; None for items that are decided by log-likelihood."""
    if not arguments or not isinstance(arguments[0].get("arg_1"), dict):
        return None
    first = row.resps or row.filtered_resps
    while isinstance(first, list):
        if not first:
            return ""
        first = first[0]
    return first if isinstance(first, str) else None


def _responses(filtered: Any, arguments: Arguments) -> tuple[str, str]:
    """Return the answer as the metrics decide it, and with log-likelihoods divided by lengths."""
    if not filtered:
        return "", ""
    if len(filtered) == len(arguments) > 1:
        scores = [score for score in map(_log_likelihood, filtered) if score is not None]
        if len(scores) == len(filtered):
            choices = [_continuation(argument) for argument in arguments]
            if len(set(choices)) == 1:  # Winogrande: the choices are contexts, not continuations
                choices = [_text(argument.get("arg_0", "")) for argument in arguments]
            pairs = zip(scores, choices, strict=True)
            shares = [score / max(1, len(choice)) for score, choice in pairs]
            return choices[scores.index(max(scores))], choices[shares.index(max(shares))]
    first = _text(filtered[0])
    return first, first


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


def _target_text(target: Any, arguments: Arguments) -> str:
    """Name the right choice where the target is its number."""
    text = _text(target)
    if len(arguments) > 1 and text.isdecimal() and int(text) < len(arguments):
        choice = _continuation(arguments[int(text)])
        return choice or text
    return text


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
