"""Samples as columns: a sequence of `TaskSample` that costs a few hundred bytes a row."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, islice
from operator import attrgetter
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import TaskSample
from modeldiff_harness.benchmarks.bounded_files import object_of
from modeldiff_harness.clean_text import clean_texts
from modeldiff_harness.errors import RunError

__all__ = ["DigestColumn", "MetricColumn", "SampleTable", "TextColumn"]

_FIELDS = tuple(TaskSample.__dataclass_fields__)
_ROWS_AT_ONCE = 1024
_DIGEST_BYTES = 32
_ABSENT = 0.0
"""What stands where a row has no number; `known` says so."""


class TextColumn:
    """Texts end to end in one buffer, UTF-8, lone surrogates included."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", (0,))

    def extend(self, texts: Sequence[str]) -> None:
        """Add texts."""
        joined = "".join(texts)
        if joined.isascii():
            self._extend(texts, joined.encode())
        else:
            self.extend_bytes([text.encode("utf-8", "surrogatepass") for text in texts])

    def extend_bytes(self, texts: Sequence[bytes]) -> None:
        """Add texts that are UTF-8 already."""
        self._extend(texts, b"".join(texts))

    def _extend(self, texts: Sequence[str] | Sequence[bytes], joined: bytes) -> None:
        ends = accumulate(map(len, texts), initial=self._ends.pop())
        self._ends.extend(ends)
        self._bytes += joined

    def __getitem__(self, row: int) -> str:
        return self._bytes[self._ends[row] : self._ends[row + 1]].decode("utf-8", "surrogatepass")

    @property
    def n_bytes(self) -> int:
        """Bytes of all texts."""
        return len(self._bytes)

    def take(self, rows: Iterable[int]) -> list[str]:
        """Return the texts of `rows`."""
        data, ends = self._bytes, self._ends
        return [data[ends[i] : ends[i + 1]].decode("utf-8", "surrogatepass") for i in rows]


class DigestColumn:
    """Hex digests of 256 bits as 32 bytes each; once another text comes, all as texts."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._texts: TextColumn | None = None

    def extend(self, texts: Sequence[str]) -> None:
        """Add digests, or texts of any kind."""
        if self._texts is None:
            digests = _packed(texts)
            if digests is not None:
                self._digests += digests
                return
            before = self.take(range(len(self._digests) // _DIGEST_BYTES))
            self._texts = TextColumn()
            self._texts.extend(before)
            self._digests.clear()
        self._texts.extend(texts)

    def __getitem__(self, row: int) -> str:
        if self._texts is not None:
            return self._texts[row]
        return self._digests[row * _DIGEST_BYTES : (row + 1) * _DIGEST_BYTES].hex()

    def take(self, rows: Iterable[int]) -> list[str]:
        """Return the texts of `rows`."""
        return [self[row] for row in rows]


def _packed(texts: Sequence[str]) -> bytes | None:
    """The texts as bytes, or None when they are not all digests in lower case."""
    joined = "".join(texts)
    if any(len(text) != 2 * _DIGEST_BYTES for text in texts):
        return None
    try:
        digests = bytes.fromhex(joined)
    except ValueError:
        return None
    return digests if digests.hex() == joined else None


class MetricColumn:
    """One metric's numbers, and which rows have one."""

    def __init__(self, n_rows: int) -> None:
        self.numbers = array("d", (_ABSENT,)) * n_rows
        self.known = bytearray(n_rows)

    def extend(self, numbers: Iterable[float | None]) -> None:
        """Add rows; None where there is no number, NaN where it is known not to be one."""
        for number in numbers:
            self.numbers.append(_ABSENT if number is None else number)
            self.known.append(number is not None)

    def number(self, row: int) -> float:
        """Return one row's number; always the same NaN, so that rows with it can be equal."""
        number = self.numbers[row]
        return math.nan if math.isnan(number) else number

    def values(self) -> NDArray[np.float64]:
        """Return one float64 a row, NaN where there is none."""
        known = np.frombuffer(self.known, dtype=np.bool_)
        return np.where(known, np.frombuffer(self.numbers, dtype=np.float64), np.nan)


class SampleTable(Sequence[TaskSample]):
    """A task's samples under one model, column by column; a row is made when it is asked for.

    Rows are added at the end and never change.
    """

    def __init__(self) -> None:
        self.doc_id: list[int | str] = []
        self.doc_hash = DigestColumn()
        self.target_hash = DigestColumn()
        self.prompt_hash = DigestColumn()
        self.filter: list[str] = []
        self.target = TextColumn()
        self.prompt = TextColumn()
        self.response = TextColumn()
        self.response_by_length: dict[int, str] = {}
        """Row → answer, where it is another than the response."""
        self.values: dict[str, MetricColumn] = {}
        self.parts: dict[str, dict[int, Any]] = {}
        """Metric → row → what its aggregation needs."""
        self._json = TextColumn()
        """Documents that came as JSON: parsed when asked for."""
        self._doc: dict[int, Mapping[str, Any]] = {}
        """Row → document that came as it is."""
        self.repeat: dict[int, int] = {}
        """Row → which of several answers it is, where that is not 0."""
        self.generation = TextColumn()
        self.faults: dict[int, tuple[str, ...]] = {}
        """Row → faults, where there are any."""

    @classmethod
    def of(cls, samples: Iterable[TaskSample]) -> SampleTable:
        """Return `samples` as a table; a table is returned as it is."""
        if isinstance(samples, cls):
            return samples
        table = cls()
        table.extend(map(attrgetter(*_FIELDS), samples))
        return table

    def extend(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Add rows: the fields of `TaskSample` in order, documents also as the bytes of JSON."""
        rows = iter(rows)
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            self._extend(len(self), dict(zip(_FIELDS, zip(*some, strict=True), strict=True)))

    def _extend(self, start: int, added: Mapping[str, Sequence[Any]]) -> None:
        for name in ("doc_hash", "target_hash", "prompt_hash", "target", "prompt", "response",
                     "generation"):  # fmt: skip
            getattr(self, name).extend(added[name])
        self.filter.extend(added["filter"])
        pairs = zip(added["response"], added["response_by_length"], strict=True)
        self.response_by_length.update(
            {row: other for row, (one, other) in enumerate(pairs, start) if one != other}
        )
        values, parts = added["values"], added["parts"]
        for metric in dict.fromkeys(chain(self.values, *values)):
            column = self.values.get(metric) or MetricColumn(start)
            self.values[metric] = column
            column.extend([one.get(metric) for one in values])
        for row, one in enumerate(parts, start):
            for metric, part in one.items():
                self.parts.setdefault(metric, {})[row] = part
        docs = added["doc"]
        self._json.extend_bytes([doc if isinstance(doc, bytes) else b"" for doc in docs])
        self._doc.update({i: d for i, d in enumerate(docs, start) if d and type(d) is not bytes})
        for name in ("repeat", "faults"):
            found = {row: one for row, one in enumerate(added[name], start) if one}
            getattr(self, name).update(found)
        self.doc_id.extend(added["doc_id"])

    def __len__(self) -> int:
        return len(self.doc_id)

    def __iter__(self) -> Iterator[TaskSample]:
        return map(self.row, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> TaskSample: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[TaskSample, ...]: ...
    def __getitem__(self, index: int | slice) -> TaskSample | tuple[TaskSample, ...]:
        rows = range(len(self))[index]
        return tuple(map(self.row, rows)) if isinstance(rows, range) else self.row(rows)

    def row(self, row: int) -> TaskSample:
        """Return one row; no negative numbers."""
        response = self.response[row]
        return TaskSample(
            doc_id=self.doc_id[row],
            doc_hash=self.doc_hash[row],
            target_hash=self.target_hash[row],
            prompt_hash=self.prompt_hash[row],
            filter=self.filter[row],
            target=self.target[row],
            prompt=self.prompt[row],
            response=response,
            response_by_length=self.response_by_length.get(row, response),
            values={m: c.number(row) for m, c in self.values.items() if c.known[row]},
            parts={metric: rows[row] for metric, rows in self.parts.items() if row in rows},
            doc=self.doc(row),
            repeat=self.repeat.get(row, 0),
            generation=self.generation[row],
            faults=self.faults.get(row, ()),
        )

    def doc(self, row: int) -> Mapping[str, Any]:
        """Return the document of one row, its texts clean; empty when it is no object.

        Raises RunError for one that JSON cannot say: a key twice, nested without end.
        """
        if row in self._doc:
            return self._doc[row]
        try:
            doc = clean_texts(json.loads(self._json[row] or "{}", object_pairs_hook=object_of))
        except (ValueError, RecursionError) as error:
            problem = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
            raise RunError(f"the document of item {self.doc_id[row]}: {problem}.") from error
        return doc if isinstance(doc, dict) else {}

    def key(self, row: int) -> tuple[int | str, str]:
        """Return what identifies the item within its task and filter."""
        return self.doc_id[row], self.doc_hash[row]

    def number(self, row: int, metric: str) -> float | None:
        """Return one row's number of a metric, or None where it has none."""
        column = self.values.get(metric)
        return column.numbers[row] if column is not None and column.known[row] else None

    def record(self, row: int, metric: str) -> Any:
        """Return what an aggregation takes of one row: its part, else its number, else None."""
        parts = self.parts.get(metric, {})
        part = parts[row] if row in parts else self.number(row, metric)
        return tuple(part) if isinstance(part, list) else part

    def answers(self, rows: Sequence[int], by_length: bool) -> list[str]:
        """Return the responses of `rows`, by length where it is asked for."""
        responses = self.response.take(rows)
        if not (by_length and self.response_by_length):
            return responses
        pairs = zip(rows, responses, strict=True)
        return [self.response_by_length.get(row, response) for row, response in pairs]

    @property
    def are_generated(self) -> bool:
        """Whether some row shows a text that was generated, or what is the matter with one."""
        return bool(self.faults) or self.generation.n_bytes > 0

    def rows_by_filter(self) -> dict[str, list[int]]:
        """Return filter → its rows, in order of first appearance."""
        groups: dict[str, list[int]] = {}
        for row, name in enumerate(self.filter):
            groups.setdefault(name, []).append(row)
        return groups
