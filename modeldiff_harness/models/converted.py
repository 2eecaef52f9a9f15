"""What the model cache holds, against the digests kept beside it: converted models, digests."""

from __future__ import annotations

import json
from pathlib import Path

from modeldiff_harness.digests import file_digest
from modeldiff_harness.disk import read_regular
from modeldiff_harness.models.digests import DigestCache, digest_file, entry_name
from modeldiff_harness.store import Problem

__all__ = ["cache_problems", "is_whole", "write_content"]

_CONTENT = "content.json"
_MOST_BYTES = 2**20


def write_content(folder: Path) -> None:
    """Write file name → sha256 of everything in a converted model's folder."""
    digests = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
    (folder / _CONTENT).write_text(json.dumps(digests, indent=1), encoding="utf-8")


def is_whole(folder: Path, cache: DigestCache) -> bool:
    """Say whether the folder holds exactly the files that the conversion wrote."""
    try:
        stated = json.loads(read_regular(folder / _CONTENT, most_bytes=_MOST_BYTES))
        there = {path.name for path in folder.iterdir()} - {_CONTENT}
        return there == set(stated) and all(
            (folder / name).is_file() and digest_file(folder / name, cache) == digest
            for name, digest in stated.items()
        )
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return False


def cache_problems(cache_dir: Path) -> list[tuple[Problem, Path]]:
    """Return what of the model cache is not what it says it is, with the path to remove."""
    found = []
    for folder in sorted((cache_dir / "converted").glob("*")):
        is_model = folder.is_dir() and not folder.name.startswith(".")
        if is_model and not is_whole(folder, DigestCache(None)):
            text = "its files are not those of the conversion"
            found.append((Problem("converted", folder.name, text), folder))
    for entry in sorted((cache_dir / "digests").glob("*.json")):
        if text := _entry_fault(entry):
            found.append((Problem("digests", entry.stem[:32], text), entry))
    return found


def _entry_fault(entry: Path) -> str:
    try:
        stored = json.loads(read_regular(entry, most_bytes=_MOST_BYTES))
        what, computed = stored["what"], stored["computed"]
        files = [Path(file) for file in stored.get("files", ())]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "unreadable"
    try:
        if what != "sha256" or len(files) != 1 or entry_name(what, files) != entry.stem:
            return ""  # of a file that is gone or has changed since: never read again
        return "" if file_digest(files[0]) == computed else f"not the digest of {files[0].name}"
    except OSError:
        return ""
