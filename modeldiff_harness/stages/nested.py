"""Inputs and tools of a stage may stand in lists, tuples and mappings; these are their leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["leaves", "map_leaves"]


def map_leaves(value: Any, apply: Callable[[Any], Any]) -> Any:
    """Apply a function to the leaves of nested mappings, lists and tuples; None stays None."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {key: map_leaves(item, apply) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [map_leaves(item, apply) for item in value]
    return apply(value)


def leaves(value: Any) -> Iterator[Any]:
    """Yield the leaves of nested mappings, lists and tuples, without None."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    elif value is not None:
        yield value
