"""Files written whole, folders that can be written to, and what an error of the disk means."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from modeldiff_harness.errors import MdhError, RunError, UsageError

__all__ = [
    "DISK_ERRORS",
    "disk_failure",
    "existing_folder",
    "read_regular",
    "remove",
    "sync_folder",
    "writable_folder",
    "write_atomically",
    "write_output",
]

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM}
_OTHERS = {
    errno.EROFS: ("{} is on a disk that is read-only.", "Name a place that can be written."),
    errno.EIO: ("the disk fails at {}.", "Check the disk."),
    errno.EISDIR: ("{} is a folder where a file belongs.", "Move it away, or name another file."),
    errno.ENOTDIR: (
        "cannot write to {}: it is no folder, or lies below a file.",
        "Move the file away; a store is a folder (MDH_STORE, --use_cache).",
    ),
    errno.EEXIST: ("{} is in the way.", "Move it away."),
    errno.ENOTEMPTY: ("{} is in the way.", "Move it away."),
    errno.ENAMETOOLONG: ("the name {} is longer than the file system takes.", "Shorten it."),
    errno.ELOOP: ("{} is a circle of links.", "Remove the link."),
    errno.EFBIG: ("{} grew beyond the largest file allowed.", "See `ulimit -f`."),
    errno.EMFILE: ("too many files are open, at {}.", "See `ulimit -n`."),
    errno.ENFILE: ("too many files are open, at {}.", "Close other programs."),
}
DISK_ERRORS = frozenset({*_FULL, *_DENIED, *_OTHERS})
"""Errors of the disk or of where something lies on it, not of the work."""


def disk_failure(error: OSError, place: Path | str) -> RunError:
    """Return the RunError that says what the disk refused; `place`: where, if the error does not.

    The next move never costs anything that is there.
    """
    path = Path(os.fsdecode(error.filename)) if _is_path(error.filename) else Path(place)
    shown = str(path) if len(str(path)) <= 200 else f"{str(path)[:100]}…"
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        hint = "Free space on that disk, or set MDH_STORE to another one; finished work is kept."
        return RunError(f"cannot write to {shown} ({reason}).", hint=hint)
    if error.errno in _DENIED:
        if os.path.lexists(path) and not os.access(path, os.R_OK):
            return RunError(f"cannot read {shown} ({reason}).", hint="Look at its permissions.")
        hint = "Look at the permissions, or set MDH_STORE to a folder of your own."
        return RunError(f"cannot read or write {shown} ({reason}).", hint=hint)
    message, hint = _OTHERS.get(error.errno or 0, ("{}: " + f"{reason}.", ""))
    return RunError(message.format(shown), hint=hint)


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes | os.PathLike) and bool(name)


def existing_folder(path: Path) -> Path:
    """Return the innermost folder of `path` that is there: whose disk `path` would lie on."""
    folder = path.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def writable_folder(folder: Path, option: str) -> None:
    """Make `folder` and write to it, before any work; UsageError naming `option` if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError:
        why = "it is a file"
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    else:
        return
    shown = str(folder) if len(str(folder)) <= 200 else f"{str(folder)[:100]}…"
    raise UsageError(
        f"cannot write to {option} {shown}: {why}.", hint="Name a folder that can be written."
    )


def write_output(path: Path, text: str) -> None:
    """Write a file that the user named; UsageError where it cannot be written."""
    try:
        write_atomically(path, text)
    except FileNotFoundError:
        raise UsageError(f"cannot write {path}: there is no folder {path.parent}.") from None
    except OSError as error:
        if error.errno in _FULL:
            raise disk_failure(error, path) from error
        failure: MdhError = disk_failure(
            OSError(error.errno, error.strerror or str(error), str(path)), path
        )
        raise UsageError(f"cannot write {path}: {failure.message}", hint=failure.hint) from error


def write_atomically(path: Path, text: str) -> None:
    """Write `text` beside `path`, fsync, rename: readers see the old file or the new one.

    A device or a pipe is written to as it is: a rename would replace it.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    short = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]  # a long name has no room
    beside = path.with_name(f".{short}.{os.getpid()}.tmp")
    try:
        with open(beside, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a folder with all it holds, a file, or a link; RunError where that is refused."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise disk_failure(error, path) from error


def read_regular(path: Path, *, most_bytes: int) -> bytes:
    """Return the content of a regular file; OSError for a pipe, a device, or more than that.

    Opening never waits, so that a pipe in the place of a record hangs nothing.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as stream:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        if state.st_size > most_bytes:
            raise OSError(errno.EFBIG, f"it is larger than {most_bytes:,} bytes", str(path))
        return stream.read()
