"""One model's answers to the items of a comparison, as rows of its table of samples."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import overload

import numpy as np

from modeldiff_harness.artifacts import TaskSample
from modeldiff_harness.benchmarks.sample_table import MetricColumn, SampleTable
from modeldiff_harness.stats.estimates import Floats

__all__ = ["PairedSide"]


@dataclass(frozen=True)
class PairedSide(Sequence[TaskSample]):
    """One sample an item: of several answers the means, with the text of the first."""

    table: SampleTable = field(repr=False)
    first: array[int] = field(repr=False)
    """Item → row of its first answer."""
    further: Mapping[int, tuple[int, ...]] = field(default_factory=dict, repr=False)
    """Item → rows of its other answers, where there are several."""

    def __len__(self) -> int:
        return len(self.first)

    def __iter__(self) -> Iterator[TaskSample]:
        return map(self._sample, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> TaskSample: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[TaskSample, ...]: ...
    def __getitem__(self, index: int | slice) -> TaskSample | tuple[TaskSample, ...]:
        items = range(len(self))[index]
        return tuple(map(self._sample, items)) if isinstance(items, range) else self._sample(items)

    def _sample(self, item: int) -> TaskSample:
        sample = self.table.row(self.first[item])
        rows = self.rows_of(item)
        if len(rows) == 1:
            return sample
        columns = self.table.values.items()
        known = {m: c for m, c in columns if any(c.known[row] for row in rows)}
        return replace(sample, values={m: _mean_of_scored(c, rows) for m, c in known.items()})

    def rows_of(self, item: int) -> tuple[int, ...]:
        """Return the rows of every answer to one item."""
        return (self.first[item], *self.further.get(item, ()))

    @property
    def rows(self) -> Iterable[int]:
        """The rows of every answer to every item."""
        yield from self.first
        for others in self.further.values():
            yield from others

    @property
    def n_answers(self) -> int:
        """How many answers there are to all items."""
        return len(self.first) + sum(map(len, self.further.values()))

    def values(self, metric: str) -> Floats:
        """Return one float64 an item: the mean of the answers that were scored, NaN for none."""
        column = self.table.values.get(metric)
        if column is None:
            return np.full(len(self), np.nan)
        values: Floats = column.values()[np.asarray(self.first)]
        for item in self.further:
            values[item] = _mean_of_scored(column, self.rows_of(item))
        return values

    def has_parts(self, metric: str) -> bool:
        """Whether some item's metric is no number but what its aggregation needs."""
        parts = self.table.parts.get(metric, {})
        return any(row in parts for row in self.first) if parts else False

    def metrics(self) -> list[str]:
        """Return the metrics that some item has, in the order they are met."""
        met: dict[str, tuple[int, bool]] = {}
        for metric, column in self.table.values.items():
            known = np.frombuffer(column.known, dtype=np.bool_)[np.asarray(self.first)]
            if known.any():
                met[metric] = int(known.argmax()), False
            for item, rows in self.further.items():
                if any(column.known[row] for row in rows):
                    met[metric] = min(met.get(metric, (item, False)), (item, False))
        for metric, parts in self.table.parts.items():
            with_part = (item for item, row in enumerate(self.first) if row in parts)
            for item in islice(with_part, 1):
                met[metric] = min(met.get(metric, (item, True)), (item, True))
        return sorted(met, key=met.__getitem__)

    def faults(self) -> list[tuple[str, ...]]:
        """Return what is the matter with every answer to every item."""
        return [self.table.faults.get(row, ()) for row in self.rows]


def _mean_of_scored(column: MetricColumn, rows: Iterable[int]) -> float:
    finite = [column.numbers[row] for row in rows if column.known[row]]
    finite = [value for value in finite if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
