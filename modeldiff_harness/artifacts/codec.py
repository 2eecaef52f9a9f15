"""Artifact ↔ folder: JSON for what people read, safetensors for arrays; nothing is pickled.

`save_artifact` writes `artifact.json`, and `arrays.safetensors` when the artifact holds arrays; an
array's place in the JSON is {"$array": "path.to.field"}.  Fields marked `transient` in their
metadata are not written; a transient `folder: Path` field is filled with the folder on loading.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from safetensors.numpy import load_file, save_file

from modeldiff_harness.artifacts.arrays import PLACE
from modeldiff_harness.errors import MdhError, RunError, UsageError
from modeldiff_harness.typed_json import Misfit, from_json
from modeldiff_harness.untrusted import (
    MOST_MADE_BYTES,
    Missing,
    Unreadable,
    json_value,
    read_bytes,
)

__all__ = ["document_text", "load_artifact", "read_document", "save_artifact", "to_plain"]

A = TypeVar("A")
_JSON = "artifact.json"
_ARRAYS = "arrays.safetensors"


@dataclass(frozen=True)
class _Head:
    type: str
    schema_version: int


@dataclass(frozen=True)
class _Whole(Generic[A]):
    fields: A


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
        text = (folder / _JSON).read_bytes()
        arrays = load_file(folder / _ARRAYS) if (folder / _ARRAYS).exists() else {}
        head = from_json(_Head, text)
    except Exception as error:  # any reader error means one thing: the object is unusable
        raise RunError(f"unreadable {kind.__name__} in the store: {error}.") from error
    version = getattr(kind, "SCHEMA_VERSION", 1)
    if (head.type, head.schema_version) != (kind.__name__, version):
        raise RunError(
            f"stored object is {head.type} v{head.schema_version}, expected {kind.__name__} "
            f"v{version}."
        )
    try:
        value = from_json(_Whole[kind], text, context=arrays).fields  # type: ignore[valid-type]
    except Misfit as error:
        raise RunError(f"damaged {kind.__name__} in the store: {error}.") from error
    if any(f.name == "folder" and f.metadata.get("transient") for f in dataclasses.fields(value)):
        value = dataclasses.replace(value, folder=folder)
    return typing.cast(A, value)


def document_text(value: Any) -> str:
    """Return a dataclass as the text of a JSON file for people: in order, UTF-8, no NaN."""
    return json.dumps(to_plain(value), indent=1, ensure_ascii=False, allow_nan=False)


def read_document(kind: type[A], path: Path, noun: str, *, missing: str, old: str) -> A:
    """Read what `document_text` wrote of `kind`, which has a `schema_version`.

    Raises UsageError with the hint `missing` when there is no such file, RunError when it is
    damaged or of another schema version; `old` says what to do then.
    """
    try:
        text = read_bytes(path, f"the {noun}", most_bytes=MOST_MADE_BYTES)
        plain = json_value(text, f"the {noun} {path}")
    except Missing:
        raise UsageError(f"there is no {noun} at {path}.", hint=missing) from None
    except Unreadable as error:
        raise RunError(f"unreadable: {error.message}", hint=error.hint) from error
    known = vars(kind)["SCHEMA_VERSION"]
    version = plain.get("schema_version") if isinstance(plain, dict) else None
    if version != known:
        raise RunError(
            f"the {noun} {path} has schema version {version}, this program reads {known}.",
            hint=old,
        )
    try:
        return from_json(kind, text)
    except (Misfit, MdhError) as error:  # a type's own refusal is no fault of the command line
        raise RunError(f"the {noun} {path} is damaged: {error}.") from error


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
        return {PLACE: path}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(k): to_plain(v, arrays, f"{path}.{k}") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(v, arrays, f"{path}.{i}") for i, v in enumerate(value)]
    return value
