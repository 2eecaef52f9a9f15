"""The trained dictionaries in a store, and finding those that a person names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import TrainedDictionary, load_artifact
from modeldiff_harness.errors import MdhError, UsageError
from modeldiff_harness.store import Store, read_run, resolve_run_folder

__all__ = ["named_dictionaries", "stored_dictionaries"]

_SHORTEST_KEY = 6


def stored_dictionaries(store: Store) -> Iterator[dict[str, Any]]:
    """Yield key, id, views, learner and k of every trained dictionary; damaged ones are skipped.

    The weights are not read.
    """
    for key in _keys(store):
        try:
            text = (store.folder("train", key) / "artifact.json").read_text(encoding="utf-8")
            fields = json.loads(text)["fields"]
            yield {
                "key": key,
                "dictionary_id": fields["dictionary_id"],
                "views": [f"{v['model']} at {v['site']}" for v in fields["views"]],
                "learner": fields["learner"],
                "k": fields["k"],
            }
        except (OSError, ValueError, KeyError, TypeError):
            continue  # `mdh verify` is for damaged objects


def named_dictionaries(name: str, store: Store, data: Path) -> list[TrainedDictionary]:
    """Return the dictionary of a folder or of a key's beginning, or all of a run.

    Raises UsageError when `name` is none of these, or the beginning of several keys.
    """
    folder = Path(name)
    if (folder / "artifact.json").is_file():
        return [load_artifact(TrainedDictionary, folder)]
    if len(name) >= _SHORTEST_KEY:
        keys = [key for key in _keys(store) if key.startswith(name)]
        if len(keys) > 1:
            raise UsageError(f"{len(keys)} dictionaries have keys that begin with {name}.")
        if keys:
            return [store.load("train", keys[0], TrainedDictionary)]
    try:
        run = resolve_run_folder(data, name)
    except MdhError:
        raise UsageError(
            f"no dictionary, folder or run {name!r}.",
            hint="`mdh dictionaries list` and `mdh runs` list them.",
        ) from None
    keys = [stage.key for stage in read_run(run / "run.json").stages if stage.verb == "train"]
    if not keys:
        raise UsageError(f"run {name!r} trained no dictionary.")
    return [store.load("train", key, TrainedDictionary) for key in keys]


def _keys(store: Store) -> Iterator[str]:
    return (key for verb, key in store.finished() if verb == "train")
