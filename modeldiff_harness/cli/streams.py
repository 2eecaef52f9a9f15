"""Standard output and error as `mdh` writes them: the one place that everything printed passes.

A reader that goes away, an encoding that lacks a letter and a stream that is closed cost the text
and never the command.  In a GitHub workflow a line that came from somebody's file is no command.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from modeldiff_harness.cli.redaction import redacted

__all__ = ["Output", "print_workflow_command", "standard_streams"]

_NOTHING = r"\s\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
"""What a runner passes over in a command: blanks, and what a comparison takes for nothing."""
_GAP = rf"(?:(?![\r\n])[{_NOTHING}])*"
_COMMAND = re.compile(rf"(?:^|(?<=[\r\n])){_GAP}:{_GAP}:|#{_GAP}#{_GAP}\[")
"""`::name` where a line begins, the older `##[name]` anywhere."""
_LAST_LINE = re.compile(r"[^\r\n]*\Z")


def print_workflow_command(line: str, *, err: bool = False) -> None:
    """Print a workflow command of our own, which `Output` lets through."""
    stream = sys.stderr if err else sys.stdout
    if isinstance(stream, Output):
        stream.write_as_it_is(f"{line}\n")
    elif stream is not None:
        stream.write(f"{line}\n")


class Output(io.TextIOBase):
    """A text stream that never fails its writer; `lost`: why text did not arrive, if it did not.

    `inert`: the last character of what a workflow would take for a command is written as its
    \\u escape.  JSON reads it as the same text.  `clean` takes out what must not be shown.
    """

    def __init__(
        self, stream: Any, *, inert: bool, clean: Callable[[str], str] = lambda text: text
    ) -> None:
        super().__init__()
        self._stream = stream
        self._inert = inert
        self._clean = clean
        self._line = ""
        self.lost: OSError | ValueError | None = None
        with suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write `text`, or drop it when nobody reads any more."""
        if not isinstance(text, str):
            raise TypeError(f"a text stream takes text, not {type(text).__name__}")
        cleaned = self._clean(text)
        self._put(self._made_inert(cleaned) if self._inert else cleaned)
        return len(text)

    def write_as_it_is(self, text: str) -> None:
        """Write a workflow command of our own."""
        self._put(text)
        self._line = ""

    def _made_inert(self, text: str) -> str:
        before = self._line
        whole = before + text
        done = len(_COMMAND.sub(_escaped, before))
        self._line = _shortened(_LAST_LINE.search(whole)[0])  # type: ignore[index]
        return _COMMAND.sub(_escaped, whole)[done:]

    def _put(self, text: str) -> None:
        if self.lost is not None or self._stream is None:
            return
        try:
            self._stream.write(text)
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            self._lose(error)

    def flush(self) -> None:
        """Flush, as far as somebody reads."""
        if self.lost is not None or self._stream is None:
            return
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._lose(error)

    def _lose(self, error: OSError | ValueError) -> None:
        self.lost = error
        with suppress(Exception):  # what is buffered would fail again when the program ends
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def isatty(self) -> bool:
        """Say whether a terminal reads."""
        with suppress(Exception):
            return bool(self._stream.isatty())
        return False

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor below; OSError where there is none."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return int(self._stream.fileno())

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding below."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """What happens to letters that the encoding lacks."""
        return getattr(self._stream, "errors", None)


def _escaped(found: re.Match[str]) -> str:
    text = found[0]
    return f"{text[:-1]}\\u{ord(text[-1]):04x}"


def _shortened(line: str) -> str:
    """Return what decides how the rest of a line is read: its beginning, or its last characters."""
    if len(line) < 64:
        return line
    bare = re.sub(f"[{_NOTHING}]", "", line)
    return bare if len(bare) < 3 else f"x{bare[-2:]}"


@contextmanager
def standard_streams() -> Iterator[tuple[Output, Output]]:
    """Put an `Output` in the place of standard output and error; yields both.

    Descriptors that are closed are opened on nothing first: the next file opened would get their
    number, and be written to.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    inert = os.environ.get("GITHUB_ACTIONS") == "true"
    before = sys.stdout, sys.stderr
    out, err = Output(before[0], inert=inert), Output(before[1], inert=inert, clean=redacted)
    sys.stdout, sys.stderr = out, err
    try:
        yield out, err
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before
