"""What lm-eval calls things: its version, models, aggregations and result table."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable, Mapping
from typing import Any

# Built-in models vanish from the registry when a plugin registers before this import.
import lm_eval.models  # noqa: F401
from lm_eval.api import registry
from lm_eval.utils import make_table

__all__ = [
    "aggregation",
    "markdown_table",
    "model_names",
    "name_of_aggregation",
    "register_plugins",
    "version",
]

_PLUGIN_GROUPS = {
    "lm_eval.models": registry.model_registry,
    "lm_eval.filters": registry.filter_registry,
    "lm_eval.metrics": registry.metric_registry,
    "lm_eval.aggregations": registry.aggregation_registry,
}


def version() -> str:
    """Return lm-eval's version."""
    return importlib.metadata.version("lm_eval")


@functools.cache
def register_plugins() -> None:
    """Register entry points of lm-eval's plugin groups, which 0.4.13 does not look for."""
    if hasattr(registry, "import_plugins"):
        return
    for group, target in _PLUGIN_GROUPS.items():
        for point in importlib.metadata.entry_points(group=group):
            if point.name not in target:
                # The string, not the EntryPoint: a decorated plugin registers itself on import.
                target.register(point.name, target=point.value)


def model_names() -> tuple[str, ...]:
    """Names that `--model` takes, plugins included."""
    register_plugins()
    return tuple(sorted(registry.model_registry))


def aggregation(name: str) -> Callable[[list[Any]], float] | None:
    """Return lm-eval's aggregation of that name, or None when it has none."""
    register_plugins()
    found: Callable[[list[Any]], float] | None = registry.get_aggregation(name)
    return found


def name_of_aggregation(function: Callable[..., Any]) -> str:
    """Return the name lm-eval knows an aggregation by, else the function's own."""
    for name, known in registry.aggregation_registry.items():
        if known is function:
            return str(name)
    return getattr(function, "__name__", "unknown")


def markdown_table(results: Mapping[str, Any]) -> str:
    """Render results with lm-eval's own nine-column table."""
    return str(make_table(results))
