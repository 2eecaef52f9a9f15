"""Rows of a Parquet file, bounded by what they decode to: a few kilobytes may stand for gigabytes.

A page of one long text and a run of a million references to it is small on disk and as Arrow's
dictionary, and huge as a million texts.  So texts are decoded as dictionaries, and the size that
the rows would have is added up before they are made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeldiff_harness.errors import UsageError

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

__all__ = ["LEAST_DECODED_BYTES", "MOST_TIMES_STORED", "DecodesToTooMuch", "parquet_rows"]

LEAST_DECODED_BYTES = 512 * 2**20
"""A file may always decode to this much …"""
MOST_TIMES_STORED = 100
"""… and to this many times its size; text compresses about tenfold."""
_ROW_BYTES = 512
"""What a row costs beside its texts."""
_VALUE_BYTES = 8
_ROWS = 256


class DecodesToTooMuch(UsageError):
    """A few kilobytes that stand for gigabytes."""


def parquet_rows(path: Path, columns: Collection[str] | None) -> Iterator[dict[str, Any]]:
    """Yield every row; `columns` are the only top-level ones that are read, None reads all.

    Raises UsageError when the file is no Parquet that can be read or has a column twice, and
    DecodesToTooMuch beyond `MOST_TIMES_STORED` times its size (and `LEAST_DECODED_BYTES`).
    """
    import pyarrow

    try:
        yield from _rows(path, columns)
    except (pyarrow.ArrowException, UnicodeError, ValueError, OverflowError, OSError) as error:
        text = " ".join(str(error).split())[:300]
        raise UsageError(f"{path} is not Parquet that can be read: {text}") from None


def _rows(path: Path, columns: Collection[str] | None) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        present = file.schema_arrow.names
        texts = _text_columns(file.metadata)
    for name in present:
        if present.count(name) > 1:
            raise UsageError(f"{path} has the column {name[:40]!r} twice.", hint="Keep one.")
    wanted = None if columns is None else [name for name in present if name in columns]
    most = max(LEAST_DECODED_BYTES, MOST_TIMES_STORED * path.stat().st_size)
    with pyarrow.parquet.ParquetFile(path, read_dictionary=texts) as file:
        if _declared_bytes(file.metadata, wanted) > most:
            raise _too_large(path, most)
        decoded = 0
        for batch in file.iter_batches(batch_size=_ROWS, columns=wanted):
            decoded += batch.num_rows * _ROW_BYTES
            decoded += sum(_decoded_bytes(column) for column in batch.columns)
            if decoded > most:
                raise _too_large(path, most)
            yield from batch.to_pylist()


def _text_columns(metadata: pyarrow.parquet.FileMetaData) -> list[str]:
    """Paths of the columns that hold texts or bytes, however deep."""
    if metadata.num_row_groups == 0:
        return []
    group = metadata.row_group(0)
    chunks = [group.column(i) for i in range(metadata.num_columns)]
    return [one.path_in_schema for one in chunks if one.physical_type == "BYTE_ARRAY"]


def _declared_bytes(metadata: pyarrow.parquet.FileMetaData, wanted: Collection[str] | None) -> int:
    """What the footer says that the columns decode to, texts as a dictionary."""
    total = metadata.num_rows * _ROW_BYTES
    for g in range(metadata.num_row_groups):
        group = metadata.row_group(g)
        for i in range(metadata.num_columns):
            chunk = group.column(i)
            if wanted is None or chunk.path_in_schema.partition(".")[0] in wanted:
                total += max(chunk.total_uncompressed_size, _VALUE_BYTES * chunk.num_values)
    return int(total)


def _decoded_bytes(array: pyarrow.Array) -> int:
    """Bytes of the values of `array`, every text as long as it is and as often as it stands."""
    import pyarrow
    import pyarrow.compute

    kind = array.type
    if pyarrow.types.is_dictionary(kind):
        lengths = pyarrow.compute.binary_length(array.dictionary)
        total = pyarrow.compute.sum(pyarrow.compute.take(lengths, array.indices)).as_py()
        return int(total or 0) + _VALUE_BYTES * len(array)
    if pyarrow.types.is_struct(kind):
        return sum(_decoded_bytes(child) for child in array.flatten())
    if pyarrow.types.is_map(kind):
        return _decoded_bytes(array.keys) + _decoded_bytes(array.items)
    if hasattr(array, "flatten"):  # lists of every width
        return _decoded_bytes(array.flatten()) + _VALUE_BYTES * len(array)
    return int(array.nbytes)


def _too_large(path: Path, most: int) -> UsageError:
    return DecodesToTooMuch(
        f"{path} decodes to more than {most / 2**20:,.0f} MiB, {MOST_TIMES_STORED} times its size.",
        hint="Give the rows as JSON lines if they are real.",
    )
