"""Parquet of other programs: what it becomes is counted before it becomes it.

A page may say "this megabyte, a million times" in a few bytes.  Texts are therefore read as numbers
into a dictionary of distinct texts, and their lengths added up before a row is made of them.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from modeldiff_harness.benchmarks.bounded_files import decoded_bytes_allowed
from modeldiff_harness.errors import UsageError

__all__ = ["DecodedBudget", "open_parquet"]

VALUE_BYTES = 64
"""What one value costs as an object of Python, whatever it is."""


def open_parquet(file: Path) -> Any:
    """Open a parquet file, its texts as dictionaries.

    Raises UsageError for anything but a regular file, and where its own description already says
    that it becomes larger than a file of this size may; OSError and pyarrow's errors for a damaged
    one.
    """
    import pyarrow
    import pyarrow.parquet

    described = file.stat()
    if not stat.S_ISREG(described.st_mode):
        raise UsageError(f"{file} is not a regular file.", hint="Name a file or a folder.")
    allowed = decoded_bytes_allowed(described.st_size)
    plain = pyarrow.parquet.ParquetFile(file)
    metadata = plain.metadata
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    n_bytes = sum(group.total_byte_size for group in groups)
    n_values = sum(
        group.column(i).num_values for group in groups for i in range(metadata.num_columns)
    )
    if n_bytes > allowed or n_values * VALUE_BYTES > 4 * allowed:
        raise UsageError(f"{file} unpacks to more than results have any reason to be.")
    columns = (plain.schema.column(i) for i in range(len(plain.schema)))
    texts = [one.path for one in columns if one.physical_type == "BYTE_ARRAY"]
    return pyarrow.parquet.ParquetFile(file, read_dictionary=texts)


class DecodedBudget:
    """How much the batches of one file may still become."""

    def __init__(self, most_bytes: int, name: str) -> None:
        self._most_bytes = most_bytes
        self._left = most_bytes
        self._name = name

    def spend(self, batch: Any) -> None:
        """Count a batch before it becomes rows; UsageError once it is too much.

        Texts stay, and are counted over the whole file; other values are counted in each batch.
        """
        texts, n_values = _costs(batch.to_struct_array())
        self._left -= texts
        if self._left < 0 or n_values * VALUE_BYTES > 4 * self._most_bytes:
            raise UsageError(f"{self._name} unpacks to more than results have any reason to be.")


def _costs(array: Any) -> tuple[int, int]:
    """Bytes of all texts of an array as they are written out, and how many values it holds."""
    import pyarrow
    import pyarrow.compute

    kind = array.type
    if pyarrow.types.is_struct(kind):
        parts = [_costs(one) for one in array.flatten()]
    elif pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        parts = [_costs(array.flatten())]
    elif pyarrow.types.is_map(kind):
        parts = [_costs(array.keys), _costs(array.items)]
    elif pyarrow.types.is_dictionary(kind):
        lengths = pyarrow.compute.binary_length(array.dictionary)
        each = lengths.cast(pyarrow.int64()).take(array.indices)
        return pyarrow.compute.sum(each).as_py() or 0, len(array)
    else:
        return (array.nbytes if _is_text(kind) else 0), len(array)
    return sum(texts for texts, _ in parts), len(array) + sum(n for _, n in parts)


def _is_text(kind: Any) -> bool:
    import pyarrow

    checks = (pyarrow.types.is_binary, pyarrow.types.is_string, pyarrow.types.is_large_string)
    return any(check(kind) for check in checks)
