"""Reading other programs' files: bounded, in memory, nothing unpacked and nothing executed."""

from __future__ import annotations

import json
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modeldiff_harness.errors import UsageError

__all__ = ["BoundedZip", "parse_json", "read_json", "walk_files"]

LARGEST_JSON_BYTES = 2 * 2**30
LARGEST_ENTRY_BYTES = 256 * 2**20
LARGEST_ARCHIVE_BYTES = 16 * 2**30
"""All entries of one archive together, unpacked."""
MOST_ENTRIES = 2_000_000
MOST_FILES = 20_000
_ZSTANDARD = 93
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,  # encrypted; NotImplementedError, an unknown compression, is one too
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)
"""What zipfile, its decompressors and pyarrow raise for an entry that cannot be had."""


def walk_files(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the files at most `depth` folders below, sorted; links to folders are not followed."""
    seen = 0
    base = len(folder.parts)
    for place, folders, names in os.walk(folder):
        here = Path(place)
        if len(here.parts) - base >= depth:
            folders.clear()
        folders.sort()
        for name in sorted(names):
            seen += 1
            if seen > MOST_FILES:
                raise UsageError(
                    f"{folder} holds more than {MOST_FILES:,} files.",
                    hint="Name the folder of one model.",
                )
            yield here / name


def read_json(path: Path) -> Any:
    """Read a JSON file; UsageError in one line when it is missing, too large or malformed."""
    try:
        if path.stat().st_size > LARGEST_JSON_BYTES:
            raise UsageError(f"{path} is larger than {LARGEST_JSON_BYTES // 2**30} GiB.")
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}.") from error
    return parse_json(data, str(path))


def parse_json(data: bytes, what: str) -> Any:
    """Parse JSON; UsageError that names `what` and the place of the fault."""
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{what} is not JSON: {error.msg} at line {error.lineno}.", hint="Was it cut off?"
        ) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, or nested without end
        raise UsageError(f"{what} is not readable JSON: {type(error).__name__}.") from error


class BoundedZip:
    """A zip archive that is read entry by entry into memory, never beyond fixed sizes.

    Sizes in the archive's directory are not believed: reading stops at the limit.  Names are only
    looked up, never used as paths.  Deflate and Zstandard (which Python's zipfile lacks before
    3.14) are understood.  Raises UsageError for anything else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._total = 0
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise UsageError(f"{path} is not a readable zip archive: {error}.") from error
        if len(self._zip.infolist()) > MOST_ENTRIES:
            raise UsageError(f"{path} holds more than {MOST_ENTRIES:,} entries.")
        self.names = tuple(dict.fromkeys(info.filename for info in self._zip.infolist()))
        """Entry names, once each; of several entries of one name the last counts."""

    def __enter__(self) -> BoundedZip:
        """Return the archive."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close the file."""
        self._zip.close()

    def read_json(self, name: str) -> Any:
        """Return an entry's JSON; UsageError when it is missing, damaged or too large."""
        what = f"{self.path.name}: entry {name[:100]!r}"
        try:
            info = self._zip.getinfo(name)
            data = self._read(info)
        except KeyError:
            raise UsageError(f"{self.path.name} has no entry {name!r}.") from None
        except _UNREADABLE as error:
            raise UsageError(f"{what} cannot be read: {error}.") from error
        self._total += len(data)
        if len(data) > LARGEST_ENTRY_BYTES or self._total > LARGEST_ARCHIVE_BYTES:
            raise UsageError(f"{what} is larger than an evaluation log has any reason to be.")
        return parse_json(data, what)

    def _read(self, info: zipfile.ZipInfo) -> bytes:
        if info.compress_type != _ZSTANDARD or hasattr(zipfile, "ZIP_ZSTANDARD"):
            with self._zip.open(info) as stream:
                return stream.read(LARGEST_ENTRY_BYTES + 1)
        import pyarrow

        if info.compress_size > LARGEST_ENTRY_BYTES:
            raise ValueError("it is too large")
        source = pyarrow.BufferReader(self._stored(info))
        with pyarrow.CompressedInputStream(source, "zstd") as stream:
            data: bytes = stream.read(LARGEST_ENTRY_BYTES + 1)
        return data

    def _stored(self, info: zipfile.ZipInfo) -> bytes:
        """The entry's bytes as they lie in the file, after its local header."""
        with self.path.open("rb") as stream:
            stream.seek(info.header_offset)
            header = stream.read(30)
            if len(header) < 30 or header[:4] != b"PK\x03\x04":
                raise zipfile.BadZipFile("its local header is damaged")
            skipped = int.from_bytes(header[26:28], "little")
            skipped += int.from_bytes(header[28:30], "little")
            stream.seek(skipped, os.SEEK_CUR)
            return stream.read(info.compress_size)
