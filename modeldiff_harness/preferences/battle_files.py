"""Rows of a file of battles, whatever holds them: JSON lines, a JSON list, CSV or Parquet.

What is in a row is data: nothing is rendered, run or unpickled, and its text is cleaned here
(`clean_text`).  A row that cannot be read is yielded as a `BadRow` with its reason, so that it can
be counted; a file that cannot be read is one error.  A key or column that stands twice has no
value: no reader takes the last one.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal

from modeldiff_harness.clean_text import clean_texts
from modeldiff_harness.errors import UsageError
from modeldiff_harness.preferences.parquet_rows import parquet_rows

__all__ = [
    "BadRow",
    "Container",
    "container_of",
    "parse_json",
    "parse_object",
    "peek_rows",
    "read_rows",
]

Container = Literal["jsonl", "json", "csv", "parquet"]

LONGEST_LINE_BYTES = 64 * 2**20
"""A longer line of JSON is not one battle."""
LARGEST_JSON_BYTES = 2 * 2**30
"""A JSON list is read whole; a larger one should be JSON lines or Parquet."""
_LONGEST_CSV_FIELD = 16 * 2**20
_PARQUET_MAGIC = b"PAR1"
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
        rows = parquet_rows(path, columns) if kind == "parquet" else readers[kind](path)
        for row in rows:
            yield row if isinstance(row, BadRow) else _cleaned(row)
    except OSError as error:
        raise _unreadable(path, error) from error


def _cleaned(row: dict[str, Any]) -> dict[str, Any] | BadRow:
    try:
        cleaned: dict[str, Any] = clean_texts(row)
    except (ValueError, RecursionError) as error:
        return BadRow(f"not readable: {error}")
    return cleaned


def peek_rows(path: Path, most: int = 5) -> list[dict[str, Any]]:
    """Return the first rows that can be read; none when the file cannot be read at all.

    Of a JSON list only the first megabyte is parsed.
    """
    found: list[dict[str, Any]] = []
    try:
        listed = container_of(path) == "json"
        rows = _json_list(path, _PEEKED_BYTES) if listed else read_rows(path)
        for row, _ in zip(rows, range(most), strict=False):
            if isinstance(row, dict):
                found.append(row)
    except (UsageError, OSError):
        return found
    return found


def parse_json(text: str) -> Any:
    """Parse JSON; NaN and Infinity become floats.  Raises BadRow: not JSON, or a key twice."""
    try:
        return _STRICT.decode(text)
    except _Repeated as error:
        raise BadRow(f"key {error.key[:40]!r} stands twice") from None
    except (ValueError, RecursionError):
        raise BadRow("not JSON") from None


def parse_object(text: bytes) -> dict[str, Any]:
    """Parse one JSON object as `parse_json` does.  Raises BadRow when it is none."""
    try:
        record = parse_json(text.decode("utf-8-sig"))
    except UnicodeError:
        raise BadRow("not valid Unicode") from None
    if not isinstance(record, dict):
        raise BadRow("not an object")
    return record


class _Repeated(Exception):
    """A key stands twice in one object, so that its value is anybody's guess."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Repeated(_repeated([key for key, _ in pairs])[0])
    return found


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name, n in Counter(names).items() if n > 1]


_STRICT = json.JSONDecoder(object_pairs_hook=_without_repeats)
_LENIENT = json.JSONDecoder()
"""Finds the end of an object that `_STRICT` refuses."""


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


def _json_list(path: Path, first_bytes: int | None = None) -> Iterator[dict[str, Any] | BadRow]:
    """Yield the elements of a JSON list one by one; of its first bytes alone when told so."""
    if first_bytes is None and path.stat().st_size > LARGEST_JSON_BYTES:
        raise UsageError(
            f"{path} is a JSON list of more than 2 GiB.", hint="Give JSON lines or Parquet."
        )
    with path.open("rb") as stream:
        data = stream.read(-1 if first_bytes is None else first_bytes)
    try:
        text = data.decode("utf-8-sig", "strict" if first_bytes is None else "ignore")
    except UnicodeError as error:
        raise UsageError(f"{path} is not a JSON list: {error}.") from None
    at, wanted = _past_space(text, text.index("[") + 1), True
    while text[at : at + 1] != "]" or (wanted and text[at - 1] == ","):
        try:
            element, at = _element(text, at)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path} is not a JSON list: {error}.") from None
        yield element
        at = _past_space(text, at)
        wanted = text[at : at + 1] == ","
        if wanted:
            at = _past_space(text, at + 1)
        elif text[at : at + 1] != "]":
            raise UsageError(f"{path} is not a JSON list: no end after character {at:,}.")
    if text[at + 1 :].strip():
        raise UsageError(f"{path} is not a JSON list: there is more after its end.")


def _element(text: str, at: int) -> tuple[dict[str, Any] | BadRow, int]:
    try:
        record, end = _STRICT.raw_decode(text, at)
    except _Repeated as error:
        _, end = _LENIENT.raw_decode(text, at)
        return BadRow(f"key {error.key[:40]!r} stands twice"), end
    return record if isinstance(record, dict) else BadRow("not an object"), end


def _past_space(text: str, at: int) -> int:
    while text[at : at + 1] and text[at] in " \t\r\n":
        at += 1
    return at


def _csv_rows(path: Path) -> Iterator[dict[str, Any] | BadRow]:
    csv.field_size_limit(_LONGEST_CSV_FIELD)
    # A byte that is not UTF-8 becomes half a surrogate pair: its row is refused, not the file.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        delimiter = _delimiter(stream)
        try:
            reader = csv.DictReader(stream, delimiter=delimiter, restkey="", strict=True)
            if twice := _repeated([name for name in reader.fieldnames or () if name]):
                raise UsageError(
                    f"{path} has the column {twice[0][:40]!r} twice.", hint="Keep one of them."
                )
            for row in reader:
                if "" in row and row[""] is not None:
                    yield BadRow("more cells than columns")
                    continue
                cells = {k: v for k, v in row.items() if v is not None}
                whole = all(_is_unicode(cell) for pair in cells.items() for cell in pair)
                yield cells if whole else BadRow("not valid Unicode")
        except csv.Error as error:
            raise UsageError(f"{path} is not CSV: {error}.") from None


def _delimiter(stream: IO[str]) -> str:
    """Return the mark that cuts the header into most columns."""
    header = stream.readline(_PEEKED_BYTES)
    stream.seek(0)
    return max(_DELIMITERS, key=header.count)


def _is_unicode(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeError:
        return False
    return True


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot read the battles {path}: {error.strerror or error}.")
