"""Values as a recipe holds them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """Return `value` as JSON holds it: dataclasses as mappings with their type's name.

    An object with `recipe()` speaks for itself.  Raises TypeError for anything that is not plain,
    a path above all: where a file lies is no recipe.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "recipe") and not isinstance(value, type):
        return value.recipe()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} is not plain: {value!r} cannot enter a recipe")
