"""What the terminal shows of a training: one row a dictionary, the numbers of its last step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from modeldiff_harness.contracts import TrainStepEvent

__all__ = ["TrainTable", "train_remark"]

_COLUMNS = (
    "training", "step", "tokens/s", "loss", "FVE", "L0", "dead", "lr", "k", "left",
)  # fmt: skip
_TERMS: tuple[tuple[str, str, str, str], ...] = (
    # column, term, format in the table, format in a line
    ("loss", "total", "{:.4g}", "loss {:.4g}"),
    ("FVE", "fve", "{:.3f}", "FVE {:.3f}"),
    ("L0", "l0", "{:.1f}", "L0 {:.1f}"),
    ("dead", "n_dead", "{:,.0f}", "{:,.0f} dead"),
    ("lr", "lr", "{:.3g}", "lr {:.3g}"),
    ("k", "k", "{:.4g}", "k {:.4g}"),
)


@dataclass
class _Row:
    event: TrainStepEvent
    first_step: int
    first_seen: float
    seen: float

    @property
    def seconds_left(self) -> float | None:
        """Steps that are left at the mean speed since the first event; None before the second."""
        taken = self.event.step - self.first_step
        if taken <= 0:
            return None
        return (self.event.n_steps - self.event.step) * (self.seen - self.first_seen) / taken


class TrainTable:
    """The dictionaries in training, in the order they began; a finished one leaves the table."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[str, _Row] = {}

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, event: TrainStepEvent) -> None:
        """Take the numbers of `event`."""
        now = self._clock()
        if event.step >= event.n_steps:
            self._rows.pop(event.dictionary_id, None)
            return
        row = self._rows.get(event.dictionary_id)
        if row is None:
            self._rows[event.dictionary_id] = _Row(event, event.step, now, now)
        else:
            row.event, row.seen = event, now

    def clear(self) -> None:
        """Forget everything: the work ended or was broken off."""
        self._rows.clear()

    def cells(self) -> list[tuple[str, ...]]:
        """Return a row of text a dictionary, as wide as the header."""
        return [_cells(row) for row in self._rows.values()]

    def __rich__(self) -> Table:
        table = Table(
            *_COLUMNS, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold"
        )
        rows = self.cells()
        for index, column in enumerate(table.columns[1:], start=1):
            column.justify, column.no_wrap = "right", True
            column.min_width = max(len(cells[index]) for cells in (*rows, _COLUMNS))
        for name, *numbers in rows:  # a narrow terminal cuts the name, never a number
            short = Text(name, no_wrap=True, overflow="ellipsis")
            table.add_row(short, *(Text(number) for number in numbers))
        return table


def train_remark(event: TrainStepEvent) -> str:
    """Return the numbers of a step in one line; terms a learner does not log are left out."""
    parts = [f"{event.tokens_per_second:,.0f} tokens/s"]
    for _column, term, _in_table, in_line in _TERMS:
        if term in event.terms:
            parts.append(in_line.format(event.terms[term]))
    return ", ".join(parts)


def _cells(row: _Row) -> tuple[str, ...]:
    event = row.event
    numbers = [
        in_table.format(event.terms[term]) if term in event.terms else "–"
        for _column, term, in_table, _in_line in _TERMS
    ]
    left = row.seconds_left
    return (
        event.dictionary_id,
        f"{event.step:,}/{event.n_steps:,}",
        f"{event.tokens_per_second:,.0f}",
        *numbers,
        "–" if left is None else _duration(left),
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
