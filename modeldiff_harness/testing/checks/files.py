"""What the checks of both kinds of importer share: files that are not of the format."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modeldiff_harness.errors import UsageError
from modeldiff_harness.testing.checks.rules import Subject

__all__ = ["check_recognition", "left_as_it_was"]


def check_recognition(
    subject: Subject,
    recognises: Callable[[Path], bool],
    read: Callable[[Path], Any],
    own: Path,
    others: Sequence[Path],
) -> None:
    """Check that `own` is recognised, and that whatever else there may be is not.

    Of the files that no format has (missing, empty, binary, broken JSON, an empty folder), `read`
    may only say UsageError or give nothing.
    """
    with subject.rule("recognises"):
        subject.require("recognises", recognises(own) is True, f"not its own format: {own.name}")
        for other in others:
            subject.require("recognises", recognises(other) is False, f"{other.name} as its own")
    with _junk() as files:
        for junk in files:
            with subject.rule("recognises"):
                answer = recognises(junk)
            subject.require("recognises", answer is False, f"it takes {junk.name} for its own")
            with subject.rule("refusals"):
                try:
                    found = read(junk)
                except UsageError as error:
                    one_line = "\n" not in str(error)
                    subject.require("refusals", one_line, f"{junk.name}: not one line")
                else:
                    subject.require("refusals", not found, f"it reads something in {junk.name}")


@contextmanager
def left_as_it_was(subject: Subject, path: Path) -> Iterator[None]:
    """Fail when the block changes the file or folder."""
    before = _digest(path)
    yield
    subject.require("reading", _digest(path) == before, f"it changes {path.name}")


@contextmanager
def _junk() -> Iterator[list[Path]]:
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        contents = {
            "empty.jsonl": b"",
            "blank.json": b"\n\n",
            "binary.bin": bytes(range(256)) * 4,
            "broken.json": b'{"results": [',
            "numbers.json": json.dumps(list(range(20))).encode(),
            "nested.json": b"[" * 5_000,
            "words.txt": b"no table, no record\n" * 3,
        }
        for name, content in contents.items():
            (root / name).write_bytes(content)
        (root / "empty-folder").mkdir()
        yield [*(root / name for name in contents), root / "empty-folder", root / "missing"]


def _digest(path: Path) -> str:
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file}\0".encode() + file.read_bytes())
    return digest.hexdigest()
