"""Folders of texts that other programs obey: only this user writes them, and they are as written.

    $MDH_STORE/task_suites/<name>-<digest of the content>/

Whoever could write there could have code run.  So the folder and those above it, up to the store,
must be this user's alone and every file what it should be, or a private folder of this process
takes its place.  Nothing is ever written to or trusted from a name that others can foresee.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from modeldiff_harness.disk import read_regular, write_atomically
from modeldiff_harness.errors import RunError
from modeldiff_harness.store import Problem, default_store_folder

__all__ = ["content_digest", "place_texts", "suite_problems"]

_VERB = "task_suites"
_MOST_BYTES = 2**20


def content_digest(texts: Mapping[str, str]) -> str:
    """Return 16 hex digits of the sha256 over names and texts."""
    joined = "\0".join(f"{name}\0{texts[name]}" for name in sorted(texts))
    return hashlib.sha256(joined.encode()).hexdigest()[:16]


def place_texts(name: str, texts: Mapping[str, str]) -> Path:
    """Return a folder that holds exactly `texts` (file name → content).

    Raises RunError when no folder can be written.
    """
    root = default_store_folder()
    folder = root / _VERB / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for one in (folder.parent, folder):
            if not one.is_symlink():
                one.chmod(0o700)
        if all(_is_ours(one) for one in (root, folder.parent, folder)):
            _make_exact(folder, texts)
            return folder
    except OSError:  # not ours to write
        pass
    return _private(tuple(sorted(texts.items())))


def suite_problems(store: Path) -> list[tuple[Problem, Path]]:
    """Return the folders below `store` whose content is not what their name says."""
    found = []
    for folder in sorted((store / _VERB).glob("*")):
        try:
            texts = {p.name: _text(p) for p in folder.iterdir() if p.name != "complete"}
            right = folder.name.endswith(f"-{content_digest(texts)}")
        except (OSError, ValueError):
            right = False
        if not right:
            text = "the content does not give the name"
            found.append((Problem(_VERB, folder.name, text), folder))
    return found


@cache
def _private(texts: tuple[tuple[str, str], ...]) -> Path:
    """Return a folder that only this process knows, until it ends."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="mdh-"))  # 0700, a name nobody can foresee
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _make_exact(folder, dict(texts))
    except OSError as error:
        raise RunError(
            f"no folder can be written for tasks ({error.strerror}).", hint="Set MDH_STORE."
        ) from error
    return folder


def _make_exact(folder: Path, texts: Mapping[str, str]) -> None:
    """Leave in `folder` what `texts` says and nothing else."""
    for path in folder.iterdir():
        if path.name not in texts or path.is_symlink() or not path.is_file():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or _text(path) != text:
            write_atomically(path, text)


def _text(path: Path) -> str:
    return read_regular(path, most_bytes=_MOST_BYTES).decode("utf-8", errors="replace")


def _is_ours(folder: Path) -> bool:
    """Say whether only this user can write into the folder."""
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode):
        return False
    if not hasattr(os, "geteuid"):
        return True
    return state.st_uid == os.geteuid() and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
