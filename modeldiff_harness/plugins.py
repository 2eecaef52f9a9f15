"""The plugin registry: which components exist, where they come from, and how to get one.

Entry points of group `modeldiff_harness` are loaded through pluggy.  A broken entry point is
kept as a row with its error and is fatal only when something from it is asked for.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pluggy

from modeldiff_harness import hookspecs
from modeldiff_harness.contracts import (
    API_VERSION,
    KINDS,
    Component,
    ReportSection,
    StageEvent,
    TrainStepEvent,
)
from modeldiff_harness.errors import RunError, UsageError, did_you_mean
from modeldiff_harness.source import source_digest

__all__ = [
    "Broken",
    "ComponentChoice",
    "Registered",
    "Registry",
    "load_registry",
]

log = logging.getLogger(__name__)

OWN_DISTRIBUTION = "modeldiff-harness"


@dataclass(frozen=True)
class Registered:
    """A component with its provenance."""

    component: Component
    plugin: str
    """Name of the entry point."""
    distribution: str
    distribution_version: str
    editable: bool
    """Installed in editable mode: the source's digest then enters keys."""

    def recipe(self) -> dict[str, Any]:
        """Return what of this component enters a store key."""
        return {
            "kind": self.component.kind,
            "name": self.component.name,
            "version": self.component.version,
            "distribution": self.distribution,
            "distribution_version": self.distribution_version,
            "source": _source_digest(self) if self.editable else None,
        }


@dataclass(frozen=True)
class Broken:
    """An entry point that could not be loaded."""

    plugin: str
    distribution: str
    error: str


@dataclass(frozen=True)
class ComponentChoice:
    """A component with the configuration it was resolved to; `build` makes it."""

    registered: Registered
    config: Mapping[str, Any]

    def build(self) -> Any:
        """Import the factory and call it with the resolved configuration.

        Raises RunError when the factory cannot be imported or fails.
        """
        component = self.registered.component
        try:
            factory = _import_factory(component.factory)
        except Exception as error:
            raise RunError(
                f"{component.kind} {component.name!r} of {self.registered.distribution} cannot be "
                f"imported: {error}.",
                hint="See `mdh plugins`.",
            ) from error
        return factory(**self.config)

    def recipe(self) -> dict[str, Any]:
        """Return what enters a store key: provenance and resolved configuration."""
        return {**self.registered.recipe(), "config": dict(self.config)}


class Registry:
    """All registered components of a process."""

    def __init__(
        self,
        manager: pluggy.PluginManager,
        registered: Sequence[Registered],
        broken: Sequence[Broken],
    ) -> None:
        self.manager = manager
        self.registered = tuple(registered)
        self.broken = tuple(broken)
        self._failed_observers: set[str] = set()

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of all components of `kind`, sorted."""
        return tuple(sorted(r.component.name for r in self.registered if r.component.kind == kind))

    def all(self, kind: str) -> tuple[Registered, ...]:
        """Return all components of `kind`, sorted by name."""
        found = [r for r in self.registered if r.component.kind == kind]
        return tuple(sorted(found, key=lambda r: r.component.name))

    def find(self, kind: str, name: str) -> Registered:
        """Return the component; UsageError with near names, or with the broken plugins."""
        if kind not in KINDS:
            raise UsageError(f"unknown plugin kind {kind!r}.", hint=did_you_mean(kind, KINDS))
        for registered in self.registered:
            if (registered.component.kind, registered.component.name) == (kind, name):
                return registered
        hint = did_you_mean(name, self.names(kind))
        if self.broken:
            rows = "; ".join(f"{b.plugin} ({b.distribution}): {b.error}" for b in self.broken)
            hint += f" Broken plugins: {rows}."
        raise UsageError(f"no {kind} named {name!r} is installed.", hint=hint)

    def choose(
        self, kind: str, name: str, config: Mapping[str, Any] | None = None
    ) -> ComponentChoice:
        """Resolve `config` over the component's defaults; unknown keys are a UsageError."""
        registered = self.find(kind, name)
        defaults = dict(registered.component.config)
        for key, value in (config or {}).items():
            if key not in defaults:
                raise UsageError(
                    f"{kind} {name!r} has no option {key!r}.", hint=did_you_mean(key, defaults)
                )
            default = defaults[key]
            if isinstance(default, float) and isinstance(value, int) and value is not True:
                value = float(value)
            if default is not None and value is not None and not isinstance(value, type(default)):
                raise UsageError(
                    f"option {key!r} of {kind} {name!r} must be "
                    f"{type(default).__name__}, not {value!r}."
                )
            defaults[key] = value
        return ComponentChoice(registered, defaults)

    def sections(self) -> list[ReportSection]:
        """Build every section of the report, sorted by (order, name)."""
        built = [self.choose("report_section", n).build() for n in self.names("report_section")]
        return sorted(built, key=lambda section: section.order)  # names are sorted already

    def on_stage_event(self, event: StageEvent) -> None:
        """Give a stage event to every observer; one that raises is logged once."""
        self._observe("mdh_stage_event", event)

    def on_train_step(self, event: TrainStepEvent) -> None:
        """Give a training step to every observer; one that raises is logged once."""
        self._observe("mdh_train_step", event)

    def _observe(self, hook_name: str, event: Any) -> None:
        for impl in getattr(self.manager.hook, hook_name).get_hookimpls():
            try:
                impl.function(event=event)
            except Exception as error:
                tag = f"{impl.plugin_name}.{hook_name}"
                if tag not in self._failed_observers:
                    self._failed_observers.add(tag)
                    log.warning("observer %s failed and is skipped: %s", tag, error)


def load_registry(extra_plugins: Mapping[str, Any] | None = None) -> Registry:
    """Load every installed plugin and `extra_plugins` (name → module or object; for tests).

    Raises UsageError for a misspelt hook, and when two components share kind and name; both
    distributions are named.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    if os.environ.get("MDH_TRACE_PLUGINS") == "1":
        manager.trace.root.setwriter(lambda text: print(text, end=""))
        manager.enable_tracing()
    broken: list[Broken] = []
    origin: dict[str, tuple[str, str, bool]] = {}
    for entry in _entry_points():
        distribution = entry.dist.name if entry.dist else "unknown"
        version = entry.dist.version if entry.dist else "0"
        try:
            plugin = entry.load()
        except Exception as error:
            broken.append(Broken(entry.name, distribution, f"{type(error).__name__}: {error}"))
            continue
        _register(manager, plugin, entry.name, distribution)
        origin[entry.name] = (distribution, version, _is_editable(entry))
    for name, plugin in (extra_plugins or {}).items():
        _register(manager, plugin, name, "in-process")
        origin[name] = ("in-process", "0", False)
    registered = _collect(manager, origin, broken)
    return Registry(manager, registered, broken)


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    found = importlib.metadata.entry_points(group=hookspecs.PROJECT)
    unique = {(e.name, e.value): e for e in found}
    return [unique[key] for key in sorted(unique)]


def _register(manager: pluggy.PluginManager, plugin: Any, name: str, distribution: str) -> None:
    for attribute in dir(plugin):
        if attribute.startswith("mdh_") and not hasattr(hookspecs, attribute):
            known = [n for n in dir(hookspecs) if n.startswith("mdh_")]
            raise UsageError(
                f"plugin {name!r} of {distribution} implements an unknown hook {attribute!r}.",
                hint=did_you_mean(attribute, known),
            )
    try:
        manager.register(plugin, name=name)
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        first = str(error).strip().splitlines()
        raise UsageError(f"plugin {name!r} of {distribution}: {' '.join(first)}") from error


def _collect(
    manager: pluggy.PluginManager,
    origin: Mapping[str, tuple[str, str, bool]],
    broken: list[Broken],
) -> list[Registered]:
    registered: dict[tuple[str, str], Registered] = {}
    for impl in manager.hook.mdh_components.get_hookimpls():
        distribution, version, editable = origin[impl.plugin_name]
        try:
            components: list[Component] = list(typing.cast(Iterable[Component], impl.function()))
        except Exception as error:
            broken.append(Broken(impl.plugin_name, distribution, f"mdh_components: {error}"))
            continue
        for component in components:
            if component.kind not in KINDS:
                raise UsageError(
                    f"plugin {impl.plugin_name!r} of {distribution} offers unknown kind "
                    f"{component.kind!r}.",
                    hint=did_you_mean(component.kind, KINDS),
                )
            if component.api_version != API_VERSION:
                broken.append(
                    Broken(
                        impl.plugin_name,
                        distribution,
                        f"{component.kind} {component.name!r} was written for API "
                        f"{component.api_version}, this is {API_VERSION}",
                    )
                )
                continue
            key = (component.kind, component.name)
            if key in registered:
                raise UsageError(
                    f"two plugins offer {component.kind} {component.name!r}: "
                    f"{registered[key].distribution} and {distribution}.",
                    hint="Uninstall one of them.",
                )
            registered[key] = Registered(
                component, impl.plugin_name, distribution, version, editable
            )
    return list(registered.values())


def _is_editable(entry: importlib.metadata.EntryPoint) -> bool:
    direct = entry.dist.read_text("direct_url.json") if entry.dist else None
    return bool(direct and json.loads(direct).get("dir_info", {}).get("editable"))


def _source_digest(registered: Registered) -> str:
    """Return a digest of what the factory can bring in, or of its package for strangers."""
    factory = registered.component.factory
    name = factory.partition(":")[0] if isinstance(factory, str) else factory.__module__
    if registered.distribution == OWN_DISTRIBUTION:
        return source_digest((name,))
    return _module_digest(name.split(".")[0])


@cache
def _module_digest(name: str) -> str:
    """Return a digest of a module's source, as it was when this process first asked."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return "unknown"
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _import_factory(factory: str | Callable[..., Any]) -> Callable[..., Any]:
    if callable(factory):
        return factory
    module, _, name = factory.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
