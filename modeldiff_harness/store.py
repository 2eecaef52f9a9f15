"""The store: computed objects by recipe, written once, never changed.

    $MDH_STORE/objects/<verb>/<key>/           a finished object: files, then manifest.json last
    $MDH_STORE/objects/<verb>/<key>.partial/   the same under construction; checkpoints live here
    $MDH_STORE/objects/<verb>/<key>.lock       held by the process that computes it
    $MDH_DATA/runs/<run>/                      a run: config, verb → keys, report files, log

The key is the recipe: sha256 of canonical JSON.  A folder with a manifest is complete.  Two
processes that want one key do the work once: the second waits and finds it.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import filelock
import platformdirs

from modeldiff_harness.artifacts import load_artifact, save_artifact
from modeldiff_harness.artifacts.codec import document_text
from modeldiff_harness.digests import file_digest
from modeldiff_harness.disk import (
    DISK_ERRORS,
    disk_failure,
    existing_folder,
    read_regular,
    sync_folder,
    write_atomically,
)
from modeldiff_harness.errors import RunError, UsageError, first_line
from modeldiff_harness.typed_json import Misfit, from_json

__all__ = [
    "Found",
    "Problem",
    "RunFile",
    "Store",
    "canonical_json",
    "default_data_folder",
    "default_store_folder",
    "digest_of",
    "existing_folder",
    "named_objects",
    "point_to_run",
    "read_run",
    "resolve_run_folder",
    "versions_of",
    "write_atomically",
]

A = TypeVar("A")
log = logging.getLogger(__name__)
_MANIFEST = "manifest.json"
_KEY_LENGTH = 32
_HASH_ON_LOAD_BYTES = 256 * 2**20
"""Files up to this size are checked against their digest whenever they are used."""
_POINTERS = "runs"
"""Folder of a store that says which runs elsewhere use it."""
_MOST_RECORD_BYTES = 64 * 2**20
"""A manifest or a run.json is smaller than this by far."""


def canonical_json(recipe: Any) -> str:
    """Return the one JSON text of `recipe`: sorted keys, no spaces, no NaN.

    Raises TypeError for values that JSON cannot hold: a recipe must be plain.
    """
    return json.dumps(
        recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest_of(recipe: Any) -> str:
    """Return the key of a recipe: the first 32 hex digits of sha256 over its canonical JSON."""
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()[:_KEY_LENGTH]


def default_store_folder() -> Path:
    """Return $MDH_STORE, or the platform's cache folder for this program."""
    given = os.environ.get("MDH_STORE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("modeldiff-harness"))


def default_data_folder() -> Path:
    """Return $MDH_DATA, or `data` in $MDH_STORE, or the platform's data folder.

    Runs, judgments and labels live here: what was paid for or made by people.
    """
    if given := os.environ.get("MDH_DATA"):
        return Path(given)
    if store := os.environ.get("MDH_STORE"):
        return Path(store) / "data"
    return Path(platformdirs.user_data_dir("modeldiff-harness"))


def versions_of(*distributions: str) -> dict[str, str]:
    """Return major.minor of the distributions that touch a result (lm_eval in full)."""
    found = {name: importlib.metadata.version(name) for name in distributions}
    return {
        name: version if name == "lm_eval" else ".".join(version.split(".")[:2])
        for name, version in found.items()
    }


@dataclass(frozen=True)
class _File:
    sha256: str
    bytes: int


@dataclass(frozen=True)
class _Manifest:
    verb: str
    recipe: dict[str, Any]
    seconds: float
    files: dict[str, _File]
    """Path below the object's folder → what it was when the object was finished."""


@dataclass(frozen=True)
class Found:
    """An object with how it came about."""

    verb: str
    key: str
    folder: Path
    reused: bool
    seconds: float
    """Wall time of the computation, also for reused objects (from the manifest)."""


@dataclass(frozen=True)
class Problem:
    """What `verify` found wrong with one object."""

    verb: str
    key: str
    problem: str


class Store:
    """Content-addressed folders below one root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.objects = root / "objects"

    def folder(self, verb: str, key: str) -> Path:
        """Return where the finished object lies or would lie."""
        return self.objects / verb / key

    def has(self, verb: str, recipe: Mapping[str, Any]) -> bool:
        """Say whether the object of this recipe is complete (manifest present and readable)."""
        return self._manifest(self.folder(verb, digest_of(recipe))) is not None

    def compute(
        self,
        verb: str,
        recipe: Mapping[str, Any],
        kind: type[A],
        make: Callable[[Path], A],
        *,
        on_wait: Callable[[], None] = lambda: None,
    ) -> tuple[A, Found]:
        """Return the object of `recipe`, computing it with `make(workdir)` when it is missing.

        `make` may leave checkpoints in `workdir`; after a kill the next call continues there.
        An unreadable or damaged object is removed and computed again.  Raises RunError when
        the disk is full or not writable.
        """
        key = digest_of(recipe)
        folder = self.folder(verb, key)
        ready = self._load(kind, folder)
        if ready is not None:
            return ready, self._found(verb, key, reused=True)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with self._locked(folder, on_wait):
                ready = self._load(kind, folder)
                if ready is not None:
                    return ready, self._found(verb, key, reused=True)
                return self._make(verb, key, recipe, kind, make)
        except OSError as error:
            if error.errno not in DISK_ERRORS:
                raise
            raise disk_failure(error, self.root) from error

    def seconds(self, verb: str, key: str) -> float:
        """Return the wall time that the finished object took, 0 when there is none."""
        return self._found(verb, key, reused=True).seconds

    def load(self, verb: str, key: str, kind: type[A]) -> A:
        """Return the finished object `key`; RunError when it is missing or damaged."""
        ready = self._load(kind, self.folder(verb, key))
        if ready is None:
            raise RunError(
                f"the store has no usable {verb} object {key}.", hint="Run the same command again."
            )
        return ready

    def finished(self) -> Iterator[tuple[str, str]]:
        """Yield (verb, key) of every finished object."""
        for manifest in sorted(self.objects.glob(f"*/*/{_MANIFEST}")):
            if "." not in manifest.parent.name:
                yield manifest.parent.parent.name, manifest.parent.name

    def verify(self) -> list[Problem]:
        """Re-read every finished object's files against the digests in its manifest."""
        problems = []
        for verb, key in self.finished():
            try:
                problems += [Problem(verb, key, text) for text in self._faults(verb, key)]
            except (OSError, ValueError) as error:
                problems.append(Problem(verb, key, f"cannot be read: {first_line(error)}"))
        return problems

    def _faults(self, verb: str, key: str) -> Iterator[str]:
        folder = self.folder(verb, key)
        manifest = self._manifest(folder)
        if manifest is None:
            yield "unreadable manifest"
            return
        if digest_of(manifest.recipe) != key:
            yield "the recipe does not give the key"
        for name, entry in manifest.files.items():
            path = folder / name
            if not _is_below(name):
                yield f"{name} is not in the object"
            elif not path.exists():
                yield f"{name} is missing"
            elif not path.is_file() or file_digest(path) != entry.sha256:
                yield f"{name} has changed"

    def collect_garbage(
        self, keep: Iterable[tuple[str, str]], *, dry_run: bool
    ) -> tuple[list[tuple[str, str]], int]:
        """Remove finished and partial objects that no run names; return them and their bytes.

        What a run names is kept unfinished too, to be continued.  Objects that another process is
        computing (their lock is held) are left alone, and so is whatever is no object: damaged
        ones, which `verify` is for, and what somebody else put there.
        """
        kept = set(keep)
        removed, n_bytes = [], 0
        for folder in sorted(self.objects.glob("*/*")):
            verb, (key, _, rest) = folder.parent.name, folder.name.partition(".")
            if (verb, key) in kept or folder.is_symlink() or not folder.is_dir():
                continue
            if rest != "partial" and (rest or self._manifest(folder) is None):
                continue
            lock = filelock.FileLock(folder.parent / f"{key}.lock")
            try:
                with lock.acquire(timeout=0):
                    size = sum(f.lstat().st_size for f in folder.rglob("*") if f.is_file())
                    if not dry_run:
                        shutil.rmtree(folder)
            except filelock.Timeout:
                continue
            except OSError as error:  # a folder in the place of the lock, for one
                log.warning("%s is left: %s", folder, first_line(error))
                continue
            n_bytes += size
            removed.append((verb, folder.name))
        return removed, n_bytes

    # ── inside ───────────────────────────────────────────────────────────────────────────

    def _make(
        self,
        verb: str,
        key: str,
        recipe: Mapping[str, Any],
        kind: type[A],
        make: Callable[[Path], A],
    ) -> tuple[A, Found]:
        folder = self.folder(verb, key)
        if folder.is_dir():  # damaged: `_load` refused it
            shutil.rmtree(folder)
        elif folder.exists():  # before the work, which could not be put there
            raise FileExistsError(errno.EEXIST, "a file is in the place of an object", str(folder))
        partial = folder.with_name(f"{key}.partial")
        partial.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        artifact = make(partial)
        seconds = time.monotonic() - began
        save_artifact(artifact, partial)
        files = {}
        for path in sorted(p for p in partial.rglob("*") if p.is_file()):
            with open(path, "rb") as stream:
                os.fsync(stream.fileno())
            name = path.relative_to(partial).as_posix()
            files[name] = _File(file_digest(path), path.stat().st_size)
        manifest = _Manifest(verb, dict(recipe), round(seconds, 3), files)
        write_atomically(partial / _MANIFEST, document_text(manifest))
        os.replace(partial, folder)
        sync_folder(folder.parent)
        return load_artifact(kind, folder), self._found(verb, key, reused=False)

    def _load(self, kind: type[A], folder: Path) -> A | None:
        manifest = self._manifest(folder)
        if manifest is None:
            return None
        for name, entry in manifest.files.items():
            path = folder / name
            if not _is_below(name) or not path.is_file() or path.stat().st_size != entry.bytes:
                return None
            if entry.bytes <= _HASH_ON_LOAD_BYTES and file_digest(path) != entry.sha256:
                return None
        try:
            return load_artifact(kind, folder)
        except RunError:
            return None

    def _manifest(self, folder: Path) -> _Manifest | None:
        try:
            text = read_regular(folder / _MANIFEST, most_bytes=_MOST_RECORD_BYTES)
            return from_json(_Manifest, text)
        except (OSError, Misfit):
            return None

    def _found(self, verb: str, key: str, *, reused: bool) -> Found:
        folder = self.folder(verb, key)
        manifest = self._manifest(folder)
        return Found(verb, key, folder, reused, manifest.seconds if manifest else 0.0)

    @contextmanager
    def _locked(self, folder: Path, on_wait: Callable[[], None]) -> Iterator[None]:
        lock = filelock.FileLock(folder.with_name(f"{folder.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            on_wait()
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def _is_below(name: str) -> bool:
    """Say whether a name in a manifest stays inside its object."""
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


# ── runs ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Named:
    """A stage that a run names."""

    verb: str
    key: str


@dataclass(frozen=True)
class RunFile:
    """What other commands read of a run.json; see `pipeline.record` for who writes it."""

    pair: tuple[str, ...]
    state: str
    """running, failed or finished; `running` of a process that was killed stays."""
    stages: tuple[_Named, ...]
    """What was computed or reused so far."""
    started: str = ""
    graph: tuple[_Named, ...] = ()
    """What the run rests on, done or not."""
    artifacts: dict[str, _Named] = field(default_factory=dict)

    @property
    def named(self) -> set[tuple[str, str]]:
        """(verb, key) of everything that the run names."""
        every = (*self.stages, *self.graph, *self.artifacts.values())
        return {(one.verb, one.key) for one in every}


def read_run(file: Path) -> RunFile:
    """Return the record in a run.json; RunError when it cannot be read."""
    try:
        found = from_json(RunFile, read_regular(file, most_bytes=_MOST_RECORD_BYTES))
        if found.state != "finished" and not found.graph:
            raise Misfit(("graph",), "is missing")
        return found
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror or error}.") from error
    except Misfit as error:
        raise RunError(f"{file} is no record of a run: {error}.") from error


def point_to_run(store: Path, run: Path) -> None:
    """Leave word in a store of a run whose record lies elsewhere: `gc` of the store asks it."""
    if not run.absolute().is_relative_to(store.absolute()):
        folder = store / _POINTERS
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / f"{digest_of(str(run.absolute()))}.txt", str(run.absolute()))


def named_objects(data: Path, store: Path | None = None) -> set[tuple[str, str]]:
    """Return (verb, key) of every object that a run below `data`, or one that used `store`, names.

    A run whose folder was removed names nothing.  Raises RunError at the first record that cannot
    be read: what it names is not known.
    """
    folders = {file.parent for file in (data / "runs").glob("*/run.json")}
    for pointer in (store / _POINTERS).glob("*.txt") if store is not None else ():
        try:
            run = Path(read_regular(pointer, most_bytes=2**16).decode("utf-8"))
            folders |= {run} if run.is_dir() else set()
        except (OSError, ValueError) as error:
            raise RunError(f"{pointer} cannot be read: {first_line(error)}.") from error
        if not run.parent.is_dir():
            raise RunError(f"{pointer} names runs that cannot be reached: {run}.")
    named: set[tuple[str, str]] = set()
    for folder in sorted(folders):
        named |= read_run(folder / "run.json").named
    return named


def resolve_run_folder(data: Path, name: str) -> Path:
    """Return the folder of run `name` below `data`, or `name` itself when it is a folder.

    `latest` is the youngest run that has a report.  Raises UsageError when there is none.
    """
    direct = Path(name)
    try:
        if (direct / "report.json").exists() or (direct / "run.json").exists():
            return direct
    except OSError:  # a name that no file can have
        pass
    runs = sorted((data / "runs").glob("*/run.json"), key=lambda p: p.stat().st_mtime)
    if name == "latest" and runs:
        with_report = [run for run in runs if run.with_name("report.json").exists()]
        return (with_report or runs)[-1].parent
    for run in runs:
        if run.parent.name == name:
            return run.parent
    raise UsageError(f"no run {name!r}.", hint="`mdh runs` lists them.")
