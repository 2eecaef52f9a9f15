"""lm-eval's index of tasks: which names exist, without building them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lm_eval.tasks
import yaml
from lm_eval.config.group import GroupConfig
from lm_eval.tasks._index import Kind, TaskIndex
from lm_eval.tasks._yaml_loader import load_yaml

from modeldiff_harness.benchmarks.lm_eval_adapter.names import version
from modeldiff_harness.benchmarks.lm_eval_adapter.surroundings import quiet
from modeldiff_harness.errors import UsageError, first_line
from modeldiff_harness.store import default_store_folder, write_atomically
from modeldiff_harness.untrusted import read_text, yaml_tree

__all__ = [
    "BUILTIN_SOURCE",
    "GROUP_FIELDS",
    "IndexEntry",
    "builtin_index",
    "load_config",
    "scan_folder",
]

BUILTIN_SOURCE = "lm_eval"
GROUP_FIELDS = frozenset(GroupConfig.__dataclass_fields__)
"""Keys of a group's YAML that are the group's own; all others override its members."""
_TASKS_FOLDER = Path(lm_eval.tasks.__file__).parent


@dataclass(frozen=True)
class IndexEntry:
    """A name that a YAML file defines."""

    name: str
    kind: str
    """task, group or tag."""
    path: Path | None
    """The YAML file; None for tags."""
    members: tuple[str, ...] = ()
    """Tasks of a tag."""


def load_config(path: Path, *, resolve_functions: bool = False) -> dict[str, Any]:
    """Read a task or group YAML with its includes; raises UsageError that names the file."""
    try:
        config: dict[str, Any] = load_yaml(path, resolve_func=resolve_functions)
    except Exception as error:  # YAML, include, import: all mean that this file is unusable
        raise UsageError(
            f"task file {path} cannot be read: {first_line(error)}.", hint="Mend the file."
        ) from error
    return config


def scan_folder(folder: Path, *, untrusted: bool = False) -> dict[str, IndexEntry]:
    """Index an included folder; unlike lm-eval, a broken or duplicate definition is an error.

    Files without `task`, `group` or `class` are fragments for `include:` and are passed over.
    `untrusted` bounds what is read before lm-eval reads it.  Raises UsageError that names the file.
    """
    if not folder.is_dir():
        raise UsageError(f"task folder {folder} does not exist.", hint="Check --include_path.")
    index: dict[str, Any] = {}
    for path in TaskIndex._iter_yaml_files(folder):
        if untrusted:
            _check_file(path, set())
        config = load_config(path)
        if not {"task", "group", "class"} & set(config):
            continue
        name = config["group"] if "group" in config and "class" not in config else None
        name = name or config.get("task")
        if not isinstance(name, str):
            raise UsageError(f"task file {path} does not name its task.", hint="Add `task: NAME`.")
        known = index.get(name)
        if known is not None and known.yaml_path is not None:
            raise UsageError(
                f"task {name!r} is defined twice: in {known.yaml_path} and {path}.",
                hint="Rename one of them.",
            )
        TaskIndex.process_cfg(config, path, index)
    return {name: _entry(entry) for name, entry in index.items()}


def _check_file(path: Path, seen: set[Path]) -> None:
    """Refuse a YAML file, or one that it includes, that is no bounded text of plain values."""
    path = path.expanduser().resolve()
    if path in seen:
        return  # a circle, which lm-eval names
    seen.add(path)
    source = f"the task file {path}"
    tree = yaml_tree(read_text(path, "the task file"), source, scalar_tags=frozenset({"!function"}))
    for key, value in tree.value if isinstance(tree, yaml.MappingNode) else ():
        if key.value == "include":
            names = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for name in names:
                _check_file(path.parent / str(name.value), seen)


def builtin_index() -> dict[str, IndexEntry]:
    """Index lm-eval's own tasks; kept on disk, since reading them takes 10 seconds."""
    return _builtin_index(default_store_folder() / "lm_eval")


@functools.cache
def _builtin_index(cache: Path) -> dict[str, IndexEntry]:
    path = cache / f"index-{_installation_digest()}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return {
            name: IndexEntry(name, kind, _below(file) if file else None, tuple(members))
            for name, (kind, file, members) in json.loads(path.read_text("utf-8")).items()
        }
    with quiet():
        index = {k: _entry(e) for k, e in TaskIndex.build([_TASKS_FOLDER]).items()}
    plain = {
        name: (e.kind, e.path.relative_to(_TASKS_FOLDER).as_posix() if e.path else "", e.members)
        for name, e in index.items()
    }
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
        cache.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(plain))
    return index


def _below(file: str) -> Path:
    """Return a file of lm-eval's; ValueError for a path that leads elsewhere: it would be run."""
    path = _TASKS_FOLDER / file
    if not path.resolve().is_relative_to(_TASKS_FOLDER.resolve()):
        raise ValueError(f"{file} is not below lm-eval's tasks")
    return path


def _installation_digest() -> str:
    """Digest of lm-eval's installed file list, or of its task files in an editable install."""
    distribution = importlib.metadata.distribution("lm_eval")
    record = distribution.read_text("RECORD") or ""
    editable = '"editable": true' in (distribution.read_text("direct_url.json") or "")
    if editable or not record:
        stats = ((p, p.stat()) for p in sorted(_TASKS_FOLDER.rglob("*.yaml")))
        record = "\n".join(f"{p} {s.st_mtime_ns} {s.st_size}" for p, s in stats)
    return hashlib.sha256(f"{version()}\n{record}".encode()).hexdigest()[:16]


def _entry(entry: Any) -> IndexEntry:
    kinds = {Kind.GROUP: "group", Kind.TAG: "tag"}
    kind = kinds.get(entry.kind, "task")
    members = tuple(sorted(entry.tags)) if kind == "tag" else ()
    return IndexEntry(entry.name, kind, entry.yaml_path, members)
