"""Reading other programs' files: bounded, in memory, nothing unpacked and nothing executed.

Bounded is what comes out, not only what is stored: a file may become so many times larger than it
lies on disk, and no more.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from modeldiff_harness.errors import UsageError

__all__ = [
    "BoundedZip",
    "decoded_bytes_allowed",
    "RepeatedKey",
    "object_of",
    "open_bytes",
    "parse_json",
    "read_head",
    "read_json",
    "walk_files",
]

LARGEST_JSON_BYTES = 2 * 2**30
LARGEST_ENTRY_BYTES = 256 * 2**20
LARGEST_DECODED_BYTES = 16 * 2**30
"""Of one file, whatever it holds."""
ALWAYS_DECODED_BYTES = 64 * 2**20
"""Also of the smallest file."""
MOST_TIMES_LARGER = 100
"""Text of evaluations shrinks to a fifth or, with long shared prompts, to a fiftieth."""
MOST_ENTRIES = 2_000_000
MOST_FILES = 20_000
_ENTRY_FLOOR_BYTES = 16 * 2**20
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


def decoded_bytes_allowed(stored_bytes: int) -> int:
    """Return how many bytes a file of `stored_bytes` may become when it is decoded."""
    allowed = ALWAYS_DECODED_BYTES + MOST_TIMES_LARGER * stored_bytes
    return min(allowed, LARGEST_DECODED_BYTES)


def walk_files(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the files at most `depth` folders below, sorted; links to folders are not followed.

    Pipes, sockets and devices are passed over: reading one may never end.
    """
    seen = 0
    base = len(folder.parts)
    for place, folders, names in os.walk(folder, onerror=_refuse_folder):
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
            if not _is_special(here / name):
                yield here / name


def _refuse_folder(error: OSError) -> None:
    """Say what cannot be looked into: files are never passed over in silence."""
    raise UsageError(f"cannot read the folder {error.filename}: {error.strerror}.") from error


def _is_special(path: Path) -> bool:
    """Whether it is neither a file nor a link to nowhere, which is read and refused by its name."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a regular file, gzip by its name, for reading in pieces.

    Reading past what a file of this size may become raises UsageError, as does anything else than
    a regular file; OSError, EOFError and zlib.error come from damaged ones.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)  # waits for nobody, should it be a pipe after all
    except ValueError as error:  # a NUL in the name
        raise UsageError(f"cannot read {str(path)!r}: {error}.") from error
    with os.fdopen(descriptor, "rb") as stream:
        described = os.fstat(descriptor)
        if not stat.S_ISREG(described.st_mode):
            raise UsageError(f"{path} is not a regular file.", hint="Name a file or a folder.")
        if path.suffix != ".gz":
            yield stream
            return
        with gzip.open(stream) as unpacked:
            bounded = _Bounded(unpacked, decoded_bytes_allowed(described.st_size), path.name)
            yield io.BufferedReader(bounded)


class _Bounded(io.RawIOBase):
    """A stream of a file that must not become larger than `most_bytes`."""

    def __init__(self, stream: gzip.GzipFile, most_bytes: int, name: str) -> None:
        super().__init__()
        self._stream, self._left, self._name = stream, most_bytes, name

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as it goes; UsageError once too much has come."""
        data = self._stream.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise UsageError(f"{self._name} unpacks to more than results have any reason to be.")
        buffer[: len(data)] = data
        return len(data)


def read_head(path: Path, n_bytes: int) -> bytes:
    """Return the first bytes of a file; none of one that cannot be read, whatever it is."""
    try:
        with open_bytes(path) as stream:
            return stream.read(n_bytes)
    except (*_UNREADABLE, UsageError):
        return b""


def read_json(path: Path) -> Any:
    """Read a JSON file; UsageError in one line when it is missing, too large or malformed."""
    try:
        with open_bytes(path) as stream:
            data = stream.read(LARGEST_JSON_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}.") from error
    except (EOFError, zlib.error) as error:
        raise UsageError(f"cannot read {path}: {error}.", hint="Was it cut off?") from error
    if len(data) > LARGEST_JSON_BYTES:
        raise UsageError(f"{path} is larger than {LARGEST_JSON_BYTES // 2**30} GiB.")
    return parse_json(data, str(path))


def parse_json(data: bytes, what: str) -> Any:
    """Parse JSON; UsageError that names `what` and the fault: also a key that stands twice."""
    try:
        return json.loads(data, object_pairs_hook=object_of)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{what} is not JSON: {error.msg} at line {error.lineno}.", hint="Was it cut off?"
        ) from error
    except RepeatedKey as error:
        raise UsageError(f"{what} is ambiguous: {error}.", hint="Keep one of them.") from error
    except RecursionError as error:
        raise UsageError(f"{what} is not readable JSON: it is nested too deeply.") from error
    except ValueError as error:  # not UTF-8, or a number of thousands of digits
        raise UsageError(f"{what} is not readable JSON: {type(error).__name__}.") from error


class RepeatedKey(ValueError):
    """An object has a key twice, and only one of the values would be seen."""


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these keys and values, for `json.loads`; RepeatedKey for a key twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise RepeatedKey(f"the key {twice[:60]!r} stands twice")
    return found


class BoundedZip:
    """A zip archive that is read entry by entry into memory, never beyond fixed sizes.

    Sizes in the archive's directory are not believed: reading stops at the limit, of an entry and
    of all together.  Names are only looked up, never used as paths.  Deflate and Zstandard (which
    Python's zipfile lacks before 3.14) are understood.  Raises UsageError for anything else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._total = 0
        try:
            stored = path.stat()
            if not stat.S_ISREG(stored.st_mode):
                raise OSError("it is not a regular file")
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise UsageError(f"{path} is not a readable zip archive: {error}.") from error
        self._most_bytes = decoded_bytes_allowed(stored.st_size)
        names = [info.filename for info in self._zip.infolist()]
        if len(names) > MOST_ENTRIES:
            raise UsageError(f"{path} holds more than {MOST_ENTRIES:,} entries.")
        self.names = tuple(dict.fromkeys(names))
        """Entry names, once each."""
        checksums: dict[str, int] = {}
        self._ambiguous = {
            info.filename
            for info in self._zip.infolist()
            if checksums.setdefault(info.filename, info.CRC) != info.CRC
        }
        """Names of entries that stand twice and differ."""

    def __enter__(self) -> BoundedZip:
        """Return the archive."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close the file."""
        self._zip.close()

    def read_json(self, name: str) -> Any:
        """Return an entry's JSON; UsageError when it is missing, damaged or too large."""
        what = f"{self.path.name}: entry {name[:100]!r}"
        if name in self._ambiguous:
            raise UsageError(f"{what} stands twice, and they differ.", hint="Write the log again.")
        try:
            info = self._zip.getinfo(name)
            most = _ENTRY_FLOOR_BYTES + MOST_TIMES_LARGER * max(0, info.compress_size)
            most = min(most, LARGEST_ENTRY_BYTES, self._most_bytes - self._total)
            data = self._read(info, most + 1)
        except KeyError:
            raise UsageError(f"{self.path.name} has no entry {name[:100]!r}.") from None
        except _UNREADABLE as error:
            raise UsageError(f"{what} cannot be read: {error}.") from error
        self._total += len(data)
        if len(data) > most:
            raise UsageError(f"{what} is larger than an evaluation log has any reason to be.")
        return parse_json(data, what)

    def _read(self, info: zipfile.ZipInfo, n_bytes: int) -> bytes:
        if info.compress_type != _ZSTANDARD or hasattr(zipfile, "ZIP_ZSTANDARD"):
            with self._zip.open(info) as stream:
                return stream.read(n_bytes)
        import pyarrow

        if info.compress_size > LARGEST_ENTRY_BYTES:
            raise ValueError("it is too large")
        source = pyarrow.BufferReader(self._stored(info))
        with pyarrow.CompressedInputStream(source, "zstd") as stream:
            data: bytes = stream.read(n_bytes)
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
