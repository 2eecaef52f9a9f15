"""Key-value caches whose rows can be chosen, dropped and repeated."""

from __future__ import annotations

from typing import Any

__all__ = ["fresh_cache"]


def fresh_cache(model: Any) -> Any:
    """Return an empty cache that takes `batch_select_indices`, or None for models without one.

    Sliding windows, state spaces and fixed buffers keep more than a row of keys per token.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    if not getattr(model, "_supports_default_dynamic_cache", lambda: False)():
        return None
    cache = DynamicCache(config=model.config)
    plain = all(type(layer) is DynamicLayer for layer in cache.layers)
    return cache if plain else None
