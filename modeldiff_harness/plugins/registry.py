"""Components with their provenance: finding, configuring and building them."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pluggy

from modeldiff_harness.contracts import (
    KINDS,
    Component,
    RenderedSection,
    ReportSection,
    StageEvent,
    TrainStepEvent,
)
from modeldiff_harness.errors import MdhError, UsageError, did_you_mean, is_interrupt
from modeldiff_harness.plugins.border import others_code
from modeldiff_harness.plugins.products import accept, named_failures
from modeldiff_harness.source import source_digest

__all__ = ["OWN_DISTRIBUTION", "Broken", "ComponentChoice", "Registered", "Registry"]

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
    """A plugin, or one component of it, that cannot be used."""

    plugin: str
    distribution: str
    error: str

    def __str__(self) -> str:
        return f"{self.plugin} ({self.distribution}): {self.error}"


@dataclass(frozen=True)
class ComponentChoice:
    """A component with the configuration it was resolved to; `build` makes it."""

    registered: Registered
    config: Mapping[str, Any]

    def build(self) -> Any:
        """Import the factory and call it with the resolved configuration.

        Raises RunError when the factory cannot be imported, fails, or makes what is none of its
        kind; what the harness's own errors say of the configuration passes as it is.
        """
        component = self.registered.component
        what = f"{component.kind} {component.name!r} of {self.registered.distribution}"
        with named_failures(what, "cannot be imported"):
            factory = import_factory(component.factory)
        with named_failures(what, "cannot be made"):
            product = factory(**self.config)
        return accept(component.kind, product, what)

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
        distributions: Mapping[str, str],
    ) -> None:
        self.manager = manager
        self.registered = tuple(registered)
        self.broken = tuple(broken)
        self.distributions = distributions
        """Plugin → the distribution it comes from."""
        self._failed_observers: set[str] = set()

    def all(self, kind: str) -> tuple[Registered, ...]:
        """Return all components of `kind`, sorted by name; two of one name are both there."""
        found = [r for r in self.registered if r.component.kind == kind]
        return tuple(sorted(found, key=lambda r: (r.component.name, r.distribution, r.plugin)))

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of all components of `kind`, sorted."""
        return tuple(dict.fromkeys(r.component.name for r in self.all(kind)))

    def find(self, kind: str, name: str) -> Registered:
        """Return the component.

        Raises UsageError with near names or the broken plugins when there is none, and with both
        distributions when two plugins offer one of this name.
        """
        if kind not in KINDS:
            raise UsageError(f"unknown plugin kind {kind!r}.", hint=did_you_mean(kind, KINDS))
        found = [r for r in self.all(kind) if r.component.name == name]
        if len(found) == 1:
            return found[0]
        if found:
            origins = " and ".join(r.distribution for r in found)
            raise UsageError(
                f"{len(found)} plugins offer {kind} {name!r}: {origins}.",
                hint="Uninstall all but one of them.",
            )
        hint = did_you_mean(name, self.names(kind))
        if self.broken:
            hint += f" Broken plugins: {'; '.join(map(str, self.broken))}."
        raise UsageError(f"no {kind} named {name!r} is installed.", hint=hint)

    def sections(self) -> tuple[ReportSection, ...]:
        """Build every report section, sorted by (order, name).

        A section that cannot be built stands at the end and raises when it is rendered, so that it
        is shown as failed: no finished run is lost to somebody's section.
        """
        found: list[tuple[float, str, ReportSection]] = []
        for name in self.names("report_section"):
            try:
                section: ReportSection = self.choose("report_section", name).build()
                found.append((float(section.order), name, section))
            except Exception as error:
                found.append((_Unbuilt.order, name, _Unbuilt(name, error)))
        return tuple(section for _, _, section in sorted(found, key=lambda f: f[:2]))

    def usable(
        self, kind: str, wanted: str = "", config: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Build every component of `kind`, or only the one that is `wanted`: name → product.

        `config` is that of the one wanted.  One that was not asked for and cannot be built, or
        shares its name with another, is left out with a warning that names its plugin.
        """
        names = self.names(kind)
        if wanted in names:
            return {wanted: self.choose(kind, wanted, config).build()}
        built = {}
        for name in names:
            try:
                built[name] = self.choose(kind, name).build()
            except MdhError as error:
                log.warning("left out: %s", error)
        return built

    def choose(
        self, kind: str, name: str, config: Mapping[str, Any] | None = None
    ) -> ComponentChoice:
        """Resolve `config` over the component's defaults.

        Raises UsageError for an unknown option and for a value of another type than its default;
        an option whose default is None takes anything and is checked by its factory.
        """
        registered = self.find(kind, name)
        resolved = dict(registered.component.config)
        for key, value in (config or {}).items():
            if key not in resolved:
                raise UsageError(
                    f"{kind} {name!r} has no option {key!r}.", hint=did_you_mean(key, resolved)
                )
            resolved[key] = _of_type(value, resolved[key], f"option {key!r} of {kind} {name!r}")
        return ComponentChoice(registered, resolved)

    def on_stage_event(self, event: StageEvent) -> None:
        """Give a stage event to every observer; one that raises is logged once."""
        self._observe("mdh_stage_event", event)

    def on_train_step(self, event: TrainStepEvent) -> None:
        """Give a training step to every observer; one that raises is logged once."""
        self._observe("mdh_train_step", event)

    def _observe(self, hook_name: str, event: Any) -> None:
        for impl in getattr(self.manager.hook, hook_name).get_hookimpls():
            try:
                with others_code():
                    impl.function(event=event)
            except BaseException as error:  # sys.exit, too, would end the run
                if is_interrupt(error):
                    raise
                tag = f"{impl.plugin_name}.{hook_name}"
                if tag not in self._failed_observers:
                    self._failed_observers.add(tag)
                    log.warning("observer %s failed and is skipped: %s", tag, error)


def _source_digest(registered: Registered) -> str:
    """Return a digest of what the factory can bring in, or of its package for strangers."""
    factory = registered.component.factory
    name = factory.partition(":")[0] if isinstance(factory, str) else factory.__module__
    if registered.distribution == OWN_DISTRIBUTION:
        return source_digest((name,))
    return _module_digest(name.split(".")[0])


@dataclass(frozen=True)
class _Unbuilt:
    """Stands for a report section whose factory failed."""

    name: str
    error: Exception
    order = 1_000_000

    def render(self, report: Any) -> RenderedSection | None:
        raise self.error


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


def _of_type(value: Any, default: Any, what: str) -> Any:
    """Return `value` if it is of the type of `default`; an int is a float where one is asked."""
    if default is None or type(value) is type(default):
        return value
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if isinstance(value, type(default)) and not isinstance(value, bool):
        return value
    raise UsageError(f"{what} must be {type(default).__name__}, not {value!r}.")


def import_factory(factory: str | Callable[..., Any]) -> Callable[..., Any]:
    """Return the callable that "package.module:name" names."""
    if callable(factory):
        return factory
    module, _, name = factory.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
