"""Artifact ↔ folder: JSON for what people read, safetensors for arrays; nothing is pickled.

`save_artifact` writes `artifact.json`, and `arrays.safetensors` when the artifact holds arrays; an
array's place in the JSON is {"$array": "path.to.field"}.  Fields marked `transient` in their
metadata are not written; a transient `folder: Path` field is filled with the folder on loading.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors.numpy import load_file, save_file

from modeldiff_harness.errors import RunError

__all__ = ["from_plain", "load_artifact", "save_artifact", "to_plain"]

A = TypeVar("A")
_JSON = "artifact.json"
_ARRAYS = "arrays.safetensors"


def save_artifact(artifact: Any, folder: Path) -> None:
    """Write the dataclass `artifact` into `folder` (not atomic: the store renames around it)."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    plain = to_plain(artifact, arrays)
    document = {
        "type": type(artifact).__name__,
        "schema_version": getattr(type(artifact), "SCHEMA_VERSION", 1),
        "fields": plain,
    }
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    (folder / _JSON).write_text(text, encoding="utf-8")
    if arrays:
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / _ARRAYS)


def load_artifact(kind: type[A], folder: Path) -> A:
    """Read an artifact of type `kind` from `folder`.

    Raises RunError when the files are missing, of another type or schema version, or unreadable.
    """
    try:
        document = json.loads((folder / _JSON).read_text(encoding="utf-8"))
        arrays = load_file(folder / _ARRAYS) if (folder / _ARRAYS).exists() else {}
    except Exception as error:  # any reader error means one thing: the object is unusable
        raise RunError(f"unreadable {kind.__name__} in the store: {error}.") from error
    wanted = (kind.__name__, getattr(kind, "SCHEMA_VERSION", 1))
    found = (document.get("type"), document.get("schema_version"))
    if found != wanted:
        raise RunError(
            f"stored object is {found[0]} v{found[1]}, expected {wanted[0]} v{wanted[1]}."
        )
    value = from_plain(kind, document["fields"], arrays)
    if any(f.name == "folder" and f.metadata.get("transient") for f in dataclasses.fields(value)):
        value = dataclasses.replace(value, folder=folder)
    return typing.cast(A, value)


def to_plain(
    value: Any, arrays: dict[str, np.ndarray[Any, Any]] | None = None, path: str = ""
) -> Any:
    """Turn dataclasses, tuples and arrays into JSON-safe values; arrays go to `arrays` by path.

    Without `arrays` (report.json) arrays become lists.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: to_plain(getattr(value, f.name), arrays, f"{path}.{f.name}".lstrip("."))
            for f in dataclasses.fields(value)
            if not f.metadata.get("transient")
        }
    if isinstance(value, np.ndarray):
        if arrays is None:
            return value.tolist()
        arrays[path] = value
        return {"$array": path}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(k): to_plain(v, arrays, f"{path}.{k}") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(v, arrays, f"{path}.{i}") for i, v in enumerate(value)]
    return value


def from_plain(kind: Any, plain: Any, arrays: dict[str, np.ndarray[Any, Any]] | None = None) -> Any:
    """Rebuild a value of annotated type `kind` from what `to_plain` gave."""
    arrays = arrays or {}
    if isinstance(plain, dict) and set(plain) == {"$array"}:
        return arrays[plain["$array"]]
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if plain is None:
            return None
        inner = [a for a in args if a is not type(None)]
        return from_plain(inner[0], plain, arrays) if len(inner) == 1 else plain
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        known = {f.name for f in dataclasses.fields(kind)}
        return kind(**{k: from_plain(hints[k], v, arrays) for k, v in plain.items() if k in known})
    if origin is tuple:
        inner_kinds = [args[0]] * len(plain) if args[-1:] == (Ellipsis,) else list(args)
        return tuple(from_plain(a, v, arrays) for a, v in zip(inner_kinds, plain, strict=True))
    if origin is list:
        return [from_plain(args[0], v, arrays) for v in plain]
    if origin is dict:
        return {k: from_plain(args[1], v, arrays) for k, v in plain.items()}
    if kind is float and isinstance(plain, int):
        return float(plain)
    return plain
