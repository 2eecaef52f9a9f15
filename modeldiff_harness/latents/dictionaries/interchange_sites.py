"""Where a published dictionary reads: the residual stream after a block, or nowhere we can.

A dictionary of another hook (an MLP's output, an attention head, the stream in the middle of a
block) has the same shapes as one of the residual stream and says nothing of it.  So whatever the
settings beside it name is either understood as a residual stream or refused, whatever the user
says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modeldiff_harness.errors import UsageError

__all__ = ["site_named"]

_HOOKS = {
    "hook_point", "hook_points", "hook_name", "hook_names", "hookpoint", "hookpoints", "hook",
    "submodule_name", "submodule_names", "submodule", "submodules", "site", "sites",
    "activation_name", "activation_site", "act_name", "layer_type", "module", "module_name",
}  # fmt: skip
"""Settings of several trainers that name what a dictionary reads."""
_DEEPEST = 4

_AFTER = re.compile(
    r"blocks\.(\d+)\.hook_resid_post"  # TransformerLens
    r"|(?:[a-z_]+\.)*(?:layers|h|blocks)\.(\d+)(?:\.output)?"  # a block's own module
    r"|resid(?:ual)?(?:_stream)?(?:_post|_out)?(?:_layer)?[._]?(\d+)"
    r"|layer[._]?(\d+)(?:_out|_output)?"
)
_BEFORE = re.compile(r"blocks\.(\d+)\.hook_resid_pre|resid(?:ual)?_(?:pre|in)(?:_layer)?[._]?(\d+)")
_AFTER_SOME = {"resid_post", "resid_out", "resid", "residual", "residual_stream", "hook_resid_post"}
_BEFORE_SOME = {"resid_pre", "resid_in", "hook_resid_pre"}
"""Names without a block: the setting `layer` says which."""


def site_named(config: Mapping[str, Any], file: Path) -> str | None:
    """Return `resid_post.i` as the settings of `file` name it, or None when they name nothing.

    The residual stream before block i is the one after block i − 1.  Raises UsageError for a hook
    that is not a residual stream after a block, and for settings that contradict each other.
    """
    layer = _layer(config)
    enters = any(str(given).lower() == "in" for given in _settings(config, {"io"}))
    blocks: dict[int, str] = {}
    for hook in _settings(config, _HOOKS):
        for name in hook if isinstance(hook, list) else [hook]:
            block = _block_of(str(name).strip().lower(), layer)
            if block is None or block - enters < 0:
                raise UsageError(
                    f"{file.name} was trained on {str(name)[:80]!r}"
                    f"{' (input)' if enters else ''}, which is not the residual stream after a "
                    "block: it cannot be used at one.",
                    hint="Only dictionaries of resid_post.i can be imported.",
                )
            blocks.setdefault(block - enters, str(name))
    if not blocks and layer is not None:
        if enters:
            raise UsageError(
                f"{file.name} was trained on what enters a module of layer {layer}, and does not "
                "say which.",
                hint="Only dictionaries of resid_post.i can be imported.",
            )
        return f"resid_post.{layer}"
    if len(blocks) > 1:
        raise UsageError(
            f"{file.name} names several hooks ({', '.join(sorted(blocks.values()))[:120]}): "
            "a dictionary over one site a model is needed."
        )
    return f"resid_post.{next(iter(blocks))}" if blocks else None


def _block_of(name: str, layer: int | None) -> int | None:
    """Return i when `name` is the residual stream after block i, else None (−1: before all)."""
    if found := _BEFORE.fullmatch(name):
        return next(int(group) for group in found.groups() if group is not None) - 1
    if found := _AFTER.fullmatch(name):
        return next(int(group) for group in found.groups() if group is not None)
    if name in _AFTER_SOME:
        return layer
    if name in _BEFORE_SOME:
        return None if layer is None else layer - 1
    return None


def _layer(config: Mapping[str, Any]) -> int | None:
    layers = [n for n in _settings(config, {"layer", "hook_layer"}) if type(n) is int and n >= 0]
    return layers[0] if layers else None


def _settings(config: Mapping[str, Any], names: set[str], depth: int = 0) -> Iterator[Any]:
    """Yield what the settings of these names hold, at any depth, unless it is empty."""
    for key, found in config.items():
        if str(key).lower() in names:
            if found not in (None, "", []) and not isinstance(found, Mapping):
                yield found
        elif isinstance(found, Mapping) and depth < _DEEPEST:
            yield from _settings(found, names, depth + 1)
