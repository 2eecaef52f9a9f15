"""Rows of a file of battles, whatever holds them: JSON lines, a JSON list, CSV or Parquet.

What is in a row is data: nothing is rendered, run or unpickled.  A row that cannot be read is
yielded as a `BadRow` with its reason, so that it can be counted; a file that cannot be read is one
error.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any, Literal

from modeldiff_harness.errors import UsageError

__all__ = ["BadRow", "Container", "container_of", "parse_object", "peek_rows", "read_rows"]

Container = Literal["jsonl", "json", "csv", "parquet"]

LONGEST_LINE_BYTES = 64 * 2**20
"""A longer line of JSON is not one battle."""
LARGEST_JSON_BYTES = 2 * 2**30
"""A JSON list is read whole; a larger one should be JSON lines or Parquet."""
_LONGEST_CSV_FIELD = 16 * 2**20
_PARQUET_MAGIC = b"PAR1"
_PARQUET_ROWS = 512
_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
"""JSON's spelling of a surrogate: the only way into text from bytes that are valid UTF-8."""
_DELIMITERS = ",\t;|"
_PEEKED_BYTES = 2**20


class BadRow(Exception):
    """Why one row cannot be used; the text is the reason that is counted."""


def container_of(path: Path) -> Container:
    """Say what holds the rows, by the file's first bytes, not by its name.

    Raises UsageError when the file cannot be opened or is empty.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(4096)
    except OSError as error:
        raise _unreadable(path, error) from error
    if head.startswith(_PARQUET_MAGIC):
        return "parquet"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        raise UsageError(f"the file of battles {path} is empty.")
    if text.startswith(b"["):
        return "json"
    # One bad line at the top does not make JSON lines a table.
    objects = any(isinstance(_row_or_reason(line), dict) for line in text.splitlines()[:5])
    return "jsonl" if text.startswith(b"{") or objects else "csv"


def read_rows(
    path: Path, columns: Collection[str] | None = None
) -> Iterator[dict[str, Any] | BadRow]:
    """Yield every row as a dictionary, or as a `BadRow` that says why it is none.

    `columns`: the only top-level columns that Parquet has to read; None reads all.  CSV cells are
    text.

    Raises UsageError when the file as a whole cannot be read.
    """
    readers = {"jsonl": _json_lines, "json": _json_list, "csv": _csv_rows}
    kind = container_of(path)
    try:
        if kind == "parquet":
            yield from _parquet_rows(path, columns)
        else:
            yield from readers[kind](path)
    except OSError as error:
        raise _unreadable(path, error) from error


def peek_rows(path: Path, most: int = 5) -> list[dict[str, Any]]:
    """Return the first rows that can be read; none when the file cannot be read at all.

    Of a JSON list only the first megabyte is parsed.
    """
    found: list[dict[str, Any]] = []
    try:
        rows = _first_of_json_list(path) if container_of(path) == "json" else read_rows(path)
        for row, _ in zip(rows, range(most), strict=False):
            if isinstance(row, dict):
                found.append(row)
    except UsageError:
        return found
    return found


def parse_object(text: bytes) -> dict[str, Any]:
    """Parse one JSON object; NaN and Infinity become floats.

    Raises BadRow when it is none, or holds text that no UTF-8 file could hold afterwards.
    """
    try:
        record = json.loads(text.decode("utf-8-sig"))
    except UnicodeError:
        raise BadRow("not valid Unicode") from None
    except (ValueError, RecursionError):
        raise BadRow("not JSON") from None
    return _checked(record, may_be_broken=_HALF_PAIR.search(text) is not None)


def _checked(record: Any, *, may_be_broken: bool) -> dict[str, Any]:
    """Return the object; one with half of a surrogate pair, which UTF-8 cannot hold, is refused."""
    if not isinstance(record, dict):
        raise BadRow("not an object")
    if may_be_broken:
        try:
            json.dumps(record, ensure_ascii=False).encode()
        except (UnicodeError, RecursionError):
            raise BadRow("not valid Unicode") from None
    return record


def _json_lines(path: Path) -> Iterator[dict[str, Any] | BadRow]:
    with path.open("rb") as stream:
        while line := stream.readline(LONGEST_LINE_BYTES):
            if len(line) == LONGEST_LINE_BYTES and not line.endswith(b"\n"):
                while (rest := stream.readline(LONGEST_LINE_BYTES)) and not rest.endswith(b"\n"):
                    pass
                yield BadRow("a line of more than 64 MiB")
            elif line.strip():
                yield _row_or_reason(line)


def _row_or_reason(line: bytes) -> dict[str, Any] | BadRow:
    try:
        return parse_object(line)
    except BadRow as bad:
        return bad


def _json_list(path: Path) -> Iterator[dict[str, Any] | BadRow]:
    if path.stat().st_size > LARGEST_JSON_BYTES:
        raise UsageError(
            f"{path} is a JSON list of more than 2 GiB.", hint="Give JSON lines or Parquet."
        )
    text = path.read_bytes()
    try:
        found = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not a JSON list: {error}.") from None
    may_be_broken = _HALF_PAIR.search(text) is not None
    for record in found:
        try:
            yield _checked(record, may_be_broken=may_be_broken)
        except BadRow as bad:
            yield bad


def _first_of_json_list(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as stream:
        text = stream.read(_PEEKED_BYTES).decode("utf-8-sig", "replace").lstrip()
    decoder, at = json.JSONDecoder(), 1
    while at < len(text):
        if text[at] in " \r\n\t,":
            at += 1
            continue
        try:
            record, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return
        if isinstance(record, dict):
            yield record


def _csv_rows(path: Path) -> Iterator[dict[str, Any] | BadRow]:
    csv.field_size_limit(_LONGEST_CSV_FIELD)
    # A byte that is not UTF-8 becomes half a surrogate pair: its row is refused, not the file.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        delimiter = _delimiter(stream)
        try:
            reader = csv.DictReader(stream, delimiter=delimiter, restkey="", strict=True)
            for row in reader:
                if "" in row and row[""] is not None:
                    yield BadRow("more cells than columns")
                    continue
                try:
                    cells = {k: v for k, v in row.items() if v is not None}
                    yield _checked(cells, may_be_broken=True)
                except BadRow as bad:
                    yield bad
        except csv.Error as error:
            raise UsageError(f"{path} is not CSV: {error}.") from None


def _delimiter(stream: IO[str]) -> str:
    """Return the mark that cuts the header into most columns."""
    header = stream.readline(_PEEKED_BYTES)
    stream.seek(0)
    return max(_DELIMITERS, key=header.count)


def _parquet_rows(path: Path, columns: Collection[str] | None) -> Iterator[dict[str, Any] | BadRow]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        present = file.schema_arrow.names
        wanted = None if columns is None else [name for name in present if name in columns]
        for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=wanted):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, UnicodeError) as error:
        text = " ".join(str(error).split())
        raise UsageError(f"{path} is not Parquet that can be read: {text}") from None


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot read the battles {path}: {error.strerror or error}.")
