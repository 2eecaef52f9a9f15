"""Names of models: packaged aliases, a user's file and plugins, resolved to a ModelRef."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import ModelRef
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.plugins import Registry
from modeldiff_harness.ranges import check_fields
from modeldiff_harness.store import default_data_folder
from modeldiff_harness.untrusted import read_json, read_yaml

__all__ = ["PACKAGED_ALIASES", "ModelRegistry", "load_model_registry", "read_alias_file"]

PACKAGED_ALIASES: Mapping[str, ModelRef] = {
    ref.name: ref
    for ref in (
        ModelRef("gemma-pt", "google/gemma-2-9b", summary="Gemma 2 9B, pre-trained"),
        ModelRef(
            "gemma-it",
            "google/gemma-2-9b-it",
            base="gemma-pt",
            summary="Gemma 2 9B, instruction-tuned by its makers",
        ),
        ModelRef(
            "gemma-simpo",
            "princeton-nlp/gemma-2-9b-it-SimPO",
            base="gemma-pt",
            summary="gemma-it trained further with SimPO",
        ),
        ModelRef(
            "gemma-dpo",
            "princeton-nlp/gemma-2-9b-it-DPO",
            base="gemma-pt",
            summary="gemma-it trained further with DPO",
        ),
    )
}
"""The aliases that need a Hub; `gemma-pt` is the default base of the others."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")


class ModelRegistry:
    """All known aliases and the rule that turns a name into a ModelRef.

    Later sources win over the packaged aliases only through the user's file; two plugins that offer
    one alias, or a plugin that offers a packaged one, are an error.
    """

    def __init__(
        self,
        plugin_aliases: Mapping[str, Mapping[str, ModelRef]] | None = None,
        alias_file: Path | None = None,
    ) -> None:
        """Collect aliases: `plugin_aliases` is component name → (alias → ModelRef)."""
        self._refs: dict[str, ModelRef] = dict(PACKAGED_ALIASES)
        self._origin: dict[str, str] = dict.fromkeys(PACKAGED_ALIASES, "packaged")
        for component, aliases in (plugin_aliases or {}).items():
            for alias, ref in aliases.items():
                if alias in self._refs:
                    raise UsageError(
                        f"model alias {alias!r} is offered by {self._origin[alias]} and by "
                        f"{component}.",
                        hint="Uninstall one of the two plugins.",
                    )
                self._refs[alias] = ref
                self._origin[alias] = component
        if alias_file is not None:
            for alias, ref in read_alias_file(alias_file, self._refs).items():
                self._refs[alias] = ref
                self._origin[alias] = alias_file.name

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._refs))

    def __contains__(self, alias: object) -> bool:
        return alias in self._refs

    def origin(self, alias: str) -> str:
        """Return where an alias comes from: "packaged", a component or the user's file."""
        return self._origin[alias]

    def aliases(self) -> Mapping[str, ModelRef]:
        """Return every alias with its ModelRef, sorted by alias."""
        return {alias: self._refs[alias] for alias in self}

    def resolve(self, name: str) -> ModelRef:
        """Return what `name` means: an alias, else a local folder or file, else a Hub id.

        `BASE+ADAPTER` puts a PEFT adapter (folder or Hub id) over any of these; a Hub id may carry
        `@REVISION`.  A folder that holds only an adapter brings the base it was trained on.
        Nothing is downloaded.  Raises UsageError, with the nearest aliases, for anything else.
        """
        if name in self._refs:
            return self._refs[name]
        path = Path(name).expanduser()
        if path.exists():
            return _local_ref(name, path)
        if "+" in name:
            base, adapter = name.split("+", 1)
            return self._with_adapter(name, self.resolve(base), adapter)
        if name.startswith("package:"):
            return ModelRef(name, name)
        if _HUB_ID.fullmatch(name):
            hub_id, _, revision = name.partition("@")
            return ModelRef(name, hub_id, revision=revision or None)
        raise UsageError(
            f"unknown model {name!r}: not an alias, a local folder or a Hub id (org/name).",
            hint=did_you_mean(name, self._refs),
        )

    def _with_adapter(self, name: str, base: ModelRef, adapter: str) -> ModelRef:
        if base.adapter is not None:
            raise UsageError(
                f"model {name!r} puts an adapter over {base.name!r}, which is an adapter itself.",
                hint="Name the model below it, or merge the first adapter into a checkpoint.",
            )
        folder = Path(adapter).expanduser()
        if folder.exists():
            if not (folder / "adapter_config.json").is_file():
                raise UsageError(f"adapter folder {adapter!r} holds no adapter_config.json.")
            return dataclasses.replace(
                base, name=name, adapter=str(folder.resolve()), null_twin=None, summary=""
            )
        if not adapter.startswith("package:") and not _HUB_ID.fullmatch(adapter):
            raise UsageError(
                f"adapter {adapter!r} is neither an existing folder nor a Hub id (org/name)."
            )
        hub_id, _, revision = adapter.partition("@")
        return dataclasses.replace(
            base,
            name=name,
            adapter=hub_id,
            adapter_revision=revision or None,
            null_twin=None,
            summary="",
        )


def load_model_registry(registry: Registry) -> ModelRegistry:
    """Return all aliases: packaged, of plugins, and of the user's `aliases.yaml`."""
    aliases = registry.usable("model_aliases")
    given = os.environ.get("MDH_ALIASES")
    file = Path(given) if given else default_data_folder() / "aliases.yaml"
    return ModelRegistry(aliases, file if given or file.exists() else None)


def _local_ref(name: str, path: Path) -> ModelRef:
    path = path.resolve()
    if path.is_file():
        if path.suffix != ".gguf":
            raise UsageError(
                f"model {name!r} is a file that is not GGUF.",
                hint="Name the folder that holds config.json and the safetensors.",
            )
        return ModelRef(name, str(path.parent), gguf_file=path.name)
    if (path / "config.json").is_file():
        return ModelRef(name, str(path))
    if (path / "adapter_config.json").is_file():
        adapter = read_json(path / "adapter_config.json", "the adapter's configuration")
        named = adapter.get("base_model_name_or_path") if isinstance(adapter, dict) else None
        base = str(named or "")
        if not base or not (Path(base).exists() or _HUB_ID.fullmatch(base)):
            raise UsageError(
                f"adapter {name!r} does not say which reachable model it was trained on "
                f"(base_model_name_or_path is {base!r}).",
                hint=f"Name it: BASE+{name}.",
            )
        return ModelRef(name, base, adapter=str(path))
    ggufs = sorted(p.name for p in path.glob("*.gguf"))
    if len(ggufs) == 1:
        return ModelRef(name, str(path), gguf_file=ggufs[0])
    raise UsageError(
        f"folder {name!r} holds no model: "
        + (f"{len(ggufs)} GGUF files." if ggufs else "no config.json, adapter or GGUF file."),
        hint="Name one of the GGUF files." if ggufs else "Name the folder with config.json.",
    )


def read_alias_file(path: Path, known: Mapping[str, ModelRef]) -> dict[str, ModelRef]:
    """Read a user's aliases (YAML or JSON): alias → path, or alias → fields of ModelRef.

    `path` may be an alias, of the same file or a known one: then its location is taken over.  An
    alias that names itself means the known one of that name.  Relative folders start at the file.
    Raises UsageError for a missing or malformed file, unknown fields and aliases in a circle.
    """
    content = read_yaml(path, "the alias file")
    if isinstance(content, dict) and set(content) == {"aliases"}:
        content = content["aliases"]
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"alias file {path} is not a mapping of alias to model.")
    found: dict[str, ModelRef] = {}

    def read(alias: str, trail: tuple[str, ...]) -> ModelRef:
        if alias in trail:
            circle = " → ".join((*trail, alias))
            raise UsageError(
                f"the aliases {circle} in {path} go in a circle.", hint="Give one of them a path."
            )
        if alias not in found:
            entry = content[alias]
            target = entry.get("path") if isinstance(entry, dict) else entry
            reach = dict(known)
            if isinstance(target, str) and target in content and target != alias:
                reach[target] = read(target, (*trail, alias))
            found[alias] = _entry(alias, entry, path, reach)
        return found[alias]

    return {alias: read(alias, ()) for alias in content}


def _entry(alias: str, entry: Any, path: Path, known: Mapping[str, ModelRef]) -> ModelRef:
    fields: dict[str, Any] = {"path": entry} if isinstance(entry, str) else entry
    where = f"alias {alias!r} in {path}"
    if not isinstance(fields, dict) or not isinstance(fields.get("path"), str):
        raise UsageError(f"{where} has no path.", hint="Write a Hub id, a folder or an alias.")
    allowed = {f.name for f in dataclasses.fields(ModelRef)} - {"name"}
    for key in fields:
        if key not in allowed:
            raise UsageError(
                f"{where} has an unknown field {key!r}.", hint=did_you_mean(str(key), allowed)
            )
    if fields["path"] in known:
        start = dataclasses.asdict(known[fields["path"]]) | {"null_twin": None, "summary": ""}
        fields = start | {k: v for k, v in fields.items() if k != "path"}
    for key in ("path", "adapter"):
        value = fields.get(key)
        if isinstance(value, str) and (path.parent / Path(value).expanduser()).exists():
            fields[key] = str((path.parent / Path(value).expanduser()).resolve())
    try:
        fields["adapter_scale"] = float(fields.get("adapter_scale", 1.0))
    except (TypeError, ValueError):
        raise UsageError(f"{where}: adapter_scale is not a number.") from None
    ref = ModelRef(**{**fields, "name": alias})
    check_fields(ref, where)
    return ref
