"""Entry points of group `modeldiff_harness` → registry, through pluggy.

Nothing that a plugin does wrong raises here: it becomes a `Broken` row that names plugin,
distribution and cause, and is fatal only to who asks for what it would have offered.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pluggy

from modeldiff_harness import hookspecs
from modeldiff_harness.contracts import API_VERSION, KINDS, Component
from modeldiff_harness.errors import did_you_mean, is_interrupt
from modeldiff_harness.plugins.border import others_code, told_when_slow
from modeldiff_harness.plugins.registry import Broken, Registered, Registry

__all__ = ["load_registry"]

_MOST_COMPONENTS = 1000
"""A plugin that offers more never ends its list."""
_HOOKS = tuple(name for name in dir(hookspecs) if name.startswith("mdh_"))


@dataclass(frozen=True)
class _Origin:
    """Where a plugin comes from."""

    plugin: str
    distribution: str
    version: str
    editable: bool

    def __str__(self) -> str:
        return f"{self.plugin} ({self.distribution})"

    def broken(self, error: str | BaseException) -> Broken:
        if isinstance(error, BaseException):
            error = f"{type(error).__name__}: {error}"
        return Broken(self.plugin, self.distribution, " ".join(error.split()))


def load_registry(
    extra_plugins: Mapping[str, Any] | None = None, *, installed: bool = True
) -> Registry:
    """Load every installed plugin and `extra_plugins` (name → module or object; for tests).

    `installed=False` leaves the installed ones out.  Raises nothing: what cannot be used is in
    `broken`.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    if os.environ.get("MDH_TRACE_PLUGINS") == "1":
        manager.trace.root.setwriter(lambda text: print(text, end=""))
        manager.enable_tracing()
    registered: list[Registered] = []
    broken: list[Broken] = []
    distributions: dict[str, str] = {}

    def add(origin: _Origin, plugin: Any) -> None:
        distributions[origin.plugin] = origin.distribution
        try:
            fault = _register(manager, plugin, origin.plugin)
        except BaseException as error:  # a module's __getattr__ is code, too
            if is_interrupt(error):
                raise
            fault = error
        if fault:
            broken.append(origin.broken(fault))
            return
        for found in _offered(manager, origin):
            (broken if isinstance(found, Broken) else registered).append(found)  # type: ignore[arg-type]

    for entry in _entry_points() if installed else ():
        distribution = entry.dist.name if entry.dist else "unknown"
        version = entry.dist.version if entry.dist else "0"
        name = entry.name if entry.name not in distributions else f"{entry.name}@{distribution}"
        origin = _Origin(name, distribution, version, _is_editable(entry))
        try:
            with others_code(), told_when_slow(f"plugin {origin} has been importing"):
                plugin = entry.load()
        except BaseException as error:  # a module may call sys.exit
            if is_interrupt(error):
                raise
            broken.append(origin.broken(error))
        else:
            add(origin, plugin)
    for name, plugin in (extra_plugins or {}).items():
        add(_Origin(name, "in-process", "0", False), plugin)
    return Registry(manager, registered, [*broken, *_clashes(registered)], distributions)


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    found = importlib.metadata.entry_points(group=hookspecs.PROJECT)
    unique = {(e.name, e.value): e for e in found}
    return [unique[key] for key in sorted(unique)]


def _is_editable(entry: importlib.metadata.EntryPoint) -> bool:
    direct = entry.dist.read_text("direct_url.json") if entry.dist else None
    return bool(direct and json.loads(direct).get("dir_info", {}).get("editable"))


def _register(manager: pluggy.PluginManager, plugin: Any, name: str) -> str | BaseException | None:
    """Register the plugin's hooks; return what is wrong with them, and leave it out then."""
    for attribute in dir(plugin):
        function = getattr(plugin, attribute, None)
        if not attribute.startswith("mdh_") or not inspect.isroutine(function):
            continue
        if attribute not in _HOOKS:
            return f"implements an unknown hook {attribute!r}. {did_you_mean(attribute, _HOOKS)}"
        if not hasattr(function, f"{hookspecs.PROJECT}_impl"):
            return f"{attribute} is not marked with @hookimpl"
    try:
        manager.register(plugin, name=name)
        manager.check_pending()
    except Exception as error:
        if manager.get_plugin(name) is plugin:
            manager.unregister(plugin)
        return error
    return None


def _offered(manager: pluggy.PluginManager, origin: _Origin) -> Iterator[Registered | Broken]:
    """Yield the components of a registered plugin, and what of them cannot be used."""
    plugin = manager.get_plugin(origin.plugin)
    for impl in manager.hook.mdh_components.get_hookimpls():
        if impl.plugin is not plugin:
            continue
        try:
            with others_code(), told_when_slow(f"plugin {origin} has been listing components"):
                offered: Any = impl.function()
                if isinstance(offered, str) or not isinstance(offered, Iterable):
                    raise TypeError(f"returned {offered!r}, not components")
                components = list(islice(offered, _MOST_COMPONENTS + 1))
            if len(components) > _MOST_COMPONENTS:
                raise ValueError(f"offers more than {_MOST_COMPONENTS} components")
        except BaseException as error:
            if is_interrupt(error):
                raise
            yield origin.broken(f"mdh_components: {type(error).__name__}: {error}")
            continue
        for component in components:
            if fault := _fault(component):
                yield origin.broken(fault)
            else:
                yield Registered(
                    component, origin.plugin, origin.distribution, origin.version, origin.editable
                )


def _fault(offered: Any) -> str | None:
    """Say why what a plugin offered cannot be used, if it cannot."""
    if not isinstance(offered, Component):
        return f"mdh_components: offers {offered!r}, which is no Component"
    component: Any = offered  # a stranger's fields may hold anything
    if not isinstance(component.name, str) or not component.name:
        return f"a {component.kind} has the name {component.name!r}"
    what = f"{component.kind} {component.name!r}"
    if component.api_version != API_VERSION:
        return f"{what} was written for API {component.api_version}, this is {API_VERSION}"
    if component.kind not in KINDS:
        return f"{what} is of an unknown kind. {did_you_mean(str(component.kind), KINDS)}"
    if not isinstance(component.config, Mapping):
        return f"{what}: config is {component.config!r}, not options with their defaults"
    named = isinstance(component.factory, str) and ":" in component.factory
    if not named and not callable(component.factory):
        return f'{what}: factory is {component.factory!r}, not callable or "module:name"'
    return None


def _clashes(registered: Iterable[Registered]) -> Iterator[Broken]:
    """Yield a row for every plugin that offers a name which another one offers too."""
    by_name: dict[tuple[str, str], list[Registered]] = {}
    for one in registered:
        by_name.setdefault((one.component.kind, one.component.name), []).append(one)
    for (kind, name), several in by_name.items():
        for one in several if len(several) > 1 else ():
            others = ", ".join(o.distribution for o in several if o is not one)
            yield Broken(
                one.plugin, one.distribution, f"{kind} {name!r} is offered by {others} too"
            )
