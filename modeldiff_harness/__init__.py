"""modeldiff-harness: what changed between two language models, and why the score moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldiff_harness.version import __version__

__all__ = ["Registry", "RunConfig", "Store", "__version__", "evaluate", "load_registry"]

if TYPE_CHECKING:
    from modeldiff_harness.config import RunConfig
    from modeldiff_harness.pipeline import evaluate
    from modeldiff_harness.plugins import Registry, load_registry
    from modeldiff_harness.store import Store

_HOMES = {
    "RunConfig": "modeldiff_harness.config",
    "evaluate": "modeldiff_harness.pipeline",
    "Registry": "modeldiff_harness.plugins",
    "load_registry": "modeldiff_harness.plugins",
    "Store": "modeldiff_harness.store",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that `import` costs nothing."""
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'modeldiff_harness' has no attribute {name!r}")
