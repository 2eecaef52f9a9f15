"""lm-eval's sample rows (its JSON lines layout) as columns.

A row is decoded into the fields that are needed, by their types; what does not fit (NaN, lone
surrogates, a number for a text, a broken line, a row of an older lm-eval) is read again by Python's
own JSON, which says what is wrong.

Rows of older versions name neither their filter nor their metrics, and those of 0.4.0 to 0.4.2 have
no hashes and come as one list: `RowLayout` says what the results file knows, the metrics are the
fields that every row has beside the known ones, and hashes are made as lm-eval makes them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import msgspec

from modeldiff_harness.artifacts import TaskSample
from modeldiff_harness.benchmarks.answer_faults import generation_faults
from modeldiff_harness.benchmarks.bounded_files import object_of, open_bytes
from modeldiff_harness.benchmarks.sample_table import SampleTable
from modeldiff_harness.clean_text import clean_text, clean_texts
from modeldiff_harness.errors import RunError

__all__ = ["LM_EVAL_FAULTS", "RowLayout", "read_samples", "sample_from_row", "shorten"]

LM_EVAL_FAULTS = ("not_extracted", "empty", "refused")
"""What lm-eval's rows can show; it does not record why generation stopped."""

LONGEST_LINE_BYTES = 64 * 2**20
LARGEST_LIST_BYTES = 2**30
"""Of a file that is one list and is read as a whole."""
LONGEST_GENERATION = 4000
"""Characters of a generation that are kept beside its answer."""

_NOT_FOUND = "[invalid]"
"""What lm-eval's extraction filters return when they find no answer."""
_FIELDS = ("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics",
           "doc_hash", "prompt_hash", "target_hash")  # fmt: skip


Arguments = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class RowLayout:
    """What rows of an older lm-eval leave to their results file."""

    filters: tuple[str, ...] = ("none",)
    """The filters that the results file prints, in its order; its rows come filter by filter."""
    metrics: Mapping[str, tuple[str, ...]] | None = None
    """Filter → the metrics printed under it; None: whatever a row has beside the known fields."""
    version: str = "before 0.4.7"
    """Of the lm-eval that wrote the rows, for messages."""


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
              AttributeError, RecursionError, ArithmeticError)  # fmt: skip
_MAY_BE_UNCLEAN = (rb"\u", rb"\b", rb"\f", rb"\r", b"\x7f")
"""What a line of ASCII must hold for its texts to need cleaning."""
_OPENS_LIST = re.compile(rb"\s*\[\s*(\{|\]|$)")
"""The first line of a file that is one list, as 0.4.0 to 0.4.2 write it."""
_ESCAPED_LETTER = re.compile(rb"\\u00[2-7]")
"""A key may be written with it; lm-eval does not."""


def read_samples(path: Path, layout: RowLayout = RowLayout()) -> SampleTable:
    """Read a `samples_*.jsonl` file, or one of an older layout; `.gz` is unpacked.

    Raises RunError that names the file and line when a row cannot be read.
    """
    table = SampleTable()
    table.extend(_rows(path, layout))
    return table


def _rows(path: Path, layout: RowLayout) -> Iterator[tuple[Any, ...]]:
    metrics: tuple[str, ...] = ()
    decode, names, keys = _decoder(metrics)
    unnamed = _Unnamed(layout)
    first = True
    for number, line in _lines(path):
        where = f"{path.name} line {number}"
        if first and _OPENS_LIST.match(line):
            yield from _rows_of_list(path, unnamed)
            return
        first = False
        try:
            plain = line.isascii()
            if not plain:
                line.decode("utf-8", "surrogatepass")  # fields that are skipped are not checked
            row = decode(line)
            if row.metrics != metrics:
                metrics = row.metrics
                decode, names, keys = _decoder(metrics)
                row = decode(line)
            doc = bytes(row.doc)
            if _may_repeat_a_key(line, doc, keys):
                raise ValueError("a key may stand twice")
            named = {metric: getattr(row, name) for metric, name in names.items()}
            fields = _fields(row, list(row.arguments.values()), named, doc)
            if not plain or any(mark in line for mark in _MAY_BE_UNCLEAN):
                fields = _clean(fields)
        except _NOT_PLAIN:
            fields = _read_again(line, where, unnamed)
        yield fields
    unnamed.check(path.name)


def _may_repeat_a_key(line: bytes, doc: bytes, keys: re.Pattern[bytes]) -> bool:
    """Whether a key that is read may stand twice in a row, of which msgspec keeps the last."""
    if b"\\u00" in line and _ESCAPED_LETTER.search(line):
        return True
    found = keys.findall(line)
    if len(found) == len(set(found)):
        return False
    counts = Counter(found)
    counts.subtract(keys.findall(doc))
    return max(counts.values()) > 1


@lru_cache(maxsize=64)
def _decoder(
    metrics: tuple[str, ...],
) -> tuple[Callable[[bytes], Any], dict[str, str], re.Pattern[bytes]]:
    """Return the call that decodes rows of these metrics, metric → name of its attribute, and what
    finds the keys that are read.

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
    written = [re.escape(json.dumps(key)[1:-1].encode()) for key in (*_FIELDS, *names)]
    keys = re.compile(b'"(' + b"|".join(written) + rb')"\s*:')  # begins with a letter: fast
    return msgspec.json.Decoder(kind).decode, names, keys


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers."""
    try:
        with open_bytes(path) as stream:
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
        problem = error.strerror or str(error)
        raise RunError(f"cannot read samples {path.name}: {problem}.") from error
    except (EOFError, zlib.error) as error:
        raise RunError(
            f"cannot read samples {path.name}: {error}.", hint="Was it cut off?"
        ) from error


def _rows_of_list(path: Path, unnamed: _Unnamed) -> Iterator[tuple[Any, ...]]:
    with open_bytes(path) as stream:
        data = stream.read(LARGEST_LIST_BYTES + 1)
    if len(data) > LARGEST_LIST_BYTES:
        raise RunError(f"{path.name} is larger than {LARGEST_LIST_BYTES // 2**30} GiB.")
    try:
        rows = json.loads(data, object_pairs_hook=object_of)
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{path.name} is not a list of lm-eval samples: {type(error).__name__}: {error}."
        ) from error
    for number, row in enumerate(rows):
        yield _of_any_row(row, f"{path.name}, sample {number}", unnamed)
    unnamed.check(path.name)


def _read_again(line: bytes, where: str, unnamed: _Unnamed) -> tuple[Any, ...]:
    try:
        row = json.loads(line, object_pairs_hook=object_of)
    except (ValueError, RecursionError) as error:
        raise _not_a_sample(where, f"{type(error).__name__}: {error}", broken=True) from error
    return _of_any_row(row, where, unnamed)


def _of_any_row(row: Any, where: str, unnamed: _Unnamed) -> tuple[Any, ...]:
    try:
        if not isinstance(row, dict):
            raise TypeError(f"{type(row).__name__} instead of an object")
        return _fields_of_row(unnamed.completed(row))
    except KeyError as error:
        found = f"it has no {error.args[0]!r}"
    except (
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        RecursionError,
        ArithmeticError,
    ) as e:
        found = f"{type(e).__name__}: {e}"
    raise _not_a_sample(where, found)


def _not_a_sample(where: str, found: str, *, broken: bool = False) -> RunError:
    hint = "Was the file cut off? Run the task again with --log_samples." if broken else ""
    return RunError(f"{where} is not an lm-eval sample: {found}.", hint=hint)


class _Unnamed:
    """Gives rows of lm-eval before 0.4.7 what they lack."""

    def __init__(self, layout: RowLayout) -> None:
        self._layout = layout
        self._seen: Counter[Any] = Counter()
        """Number of an item → how often it came: once a filter."""

    def completed(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with filter, metrics and hashes, as lm-eval writes them since 0.4.7."""
        if "metrics" in row and "filter" in row:
            return row
        if not {"doc_id", "doc", "target", "arguments", "filtered_resps"} <= row.keys():
            return row  # no row of any version: the missing field is named
        filters = self._layout.filters
        number = str(row["doc_id"])
        turn = self._seen[number]
        self._seen[number] += 1
        if turn >= len(filters):
            raise ValueError(
                f"item {row['doc_id']} stands there {turn + 1} times and rows of lm-eval"
                f" {self._layout.version} do not name their filter, of which the results file has"
                f" {len(filters)}"
            )
        name = filters[turn]
        known = [key for key in row if key not in _FIELDS]
        printed = (self._layout.metrics or {}).get(name)
        metrics = [key for key in known if printed is None or key in printed]
        if not metrics:
            raise ValueError(
                f"lm-eval {self._layout.version} does not name its metrics, and none of"
                f" {', '.join(map(repr, known[:6])) or 'its fields'} is one that the results file"
                " prints"
            )
        hashes = {} if "doc_hash" in row else _hashes(row)
        return {**row, **hashes, "filter": row.get("filter", name), "metrics": metrics}

    def check(self, file: str) -> None:
        """Raise RunError when items came for some of the filters only."""
        expected = len(self._layout.filters)
        if self._seen and set(self._seen.values()) != {expected}:
            number = next(n for n, times in self._seen.items() if times != expected)
            raise RunError(
                f"{file}: item {number} stands there {self._seen[number]} times; rows of lm-eval"
                f" {self._layout.version} do not name their filter, and the results file prints"
                f" {expected} ({', '.join(self._layout.filters[:8])}).",
                hint="Run the task again with lm-eval 0.4.7 or later.",
            )


def _hashes(row: Mapping[str, Any]) -> dict[str, str]:
    """As lm-eval 0.4.3 and later hash a document, its prompt and its target."""
    arguments = _arguments(row["arguments"])
    texts = {
        "doc_hash": json.dumps(row["doc"], indent=2, ensure_ascii=False),
        "prompt_hash": str(arguments[0].get("arg_0", "")) if arguments else "",
        "target_hash": str(row["target"]),
    }
    return {
        name: hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        for name, text in texts.items()
    }


def _arguments(value: Any) -> list[Mapping[str, Any]]:
    """Arguments by name, also where they are lists of values, as before 0.4.3."""
    listed = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(listed, list):
        raise TypeError(f"its arguments are {type(value).__name__}")
    found: list[Mapping[str, Any]] = []
    for one in listed:
        if isinstance(one, list):
            one = {f"arg_{i}": part for i, part in enumerate(one)}
        if not isinstance(one, dict):
            raise TypeError(f"an argument is {type(one).__name__}")
        found.append(one)
    return found


def sample_from_row(row: Mapping[str, Any]) -> TaskSample:
    """Convert one row; raises KeyError for a field that every lm-eval sample has."""
    return TaskSample(*_fields_of_row(row))


def _fields_of_row(row: Mapping[str, Any]) -> tuple[Any, ...]:
    metrics = row["metrics"]
    if not isinstance(metrics, list):
        raise TypeError(f"its metrics are {type(metrics).__name__}, not a list")
    named = {str(metric): row[metric] for metric in metrics}
    plain = _Row(
        filtered_resps=row["filtered_resps"],
        resps=row.get("resps"),
        doc=msgspec.Raw(),
        doc_id=_whole(row["doc_id"]),
        doc_hash=str(row["doc_hash"]),
        target_hash=str(row["target_hash"]),
        prompt_hash=str(row["prompt_hash"]),
        filter=str(row["filter"]),
        target=row["target"],
        arguments={},
        metrics=(),
    )
    doc = row["doc"]
    return _clean(
        _fields(plain, _arguments(row["arguments"]), named, doc if isinstance(doc, dict) else {})
    )


def _whole(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"its doc_id is {value}")
    return int(value)


def _clean(fields: tuple[Any, ...]) -> tuple[Any, ...]:
    """The fields with every text cleaned; a document that is bytes still is cleaned when parsed."""
    return tuple(clean_text(one) if isinstance(one, str) else clean_texts(one) for one in fields)


def _fields(
    row: _Row, arguments: Arguments, named: Mapping[str, Any], doc: Mapping[str, Any] | bytes
) -> tuple[Any, ...]:
    """Return the fields of `TaskSample` in order; `named`: metric → value."""
    values: dict[str, float] = {}
    parts: dict[str, Any] = {}
    for metric, value in named.items():
        if isinstance(value, (int, float)):
            values[metric] = float(value)
        elif value is None:
            values[metric] = math.nan  # not scored: counted, never dropped
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
    if len(arguments) > 1 and len(text) < 8 and text.isascii() and text.isdecimal():
        number = int(text)
        if number < len(arguments):
            return _continuation(arguments[number]) or text
    return text


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
