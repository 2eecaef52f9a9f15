"""Checks of registration, and of any installed component."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from modeldiff_harness.contracts import Component
from modeldiff_harness.hookspecs import PROJECT
from modeldiff_harness.plugins import Registered, Registry, load_registry
from modeldiff_harness.plugins.registry import import_factory
from modeldiff_harness.testing.checks.rules import CheckFailed, Subject

__all__ = ["CHECKS", "check_component", "check_plugin"]

CHECKS: Mapping[str, str] = {
    "model_aliases": "model_aliases:check_model_aliases",
    "corpus": "corpus:check_corpus",
    "activation_source": "source:check_source",
    "design": "design:check_design",
    "dictionary_learner": "learner:check_learner",
    "latent_scorer": "scorer:check_scorer",
    "labeler": "labeler:check_labeler",
    "judge": "judge:check_judge",
    "feature_set": "feature_set:check_feature_set",
    "result_importer": "result_importer:check_importer",
    "battle_importer": "battle_importer:check_battle_importer",
    "task_suite": "task_suite:check_task_suite",
    "report_section": "section:check_section",
}
"""Kind → its check, "module:function" of this package."""

HEAVY = ("torch", "transformers", "lm_eval", "datasets", "pandas")
"""Libraries that registering a plugin must not import."""


def check_component(
    kind: str,
    name: str,
    *,
    registry: Registry | None = None,
    config: Mapping[str, Any] | None = None,
    refused: Mapping[str, Any] | None = None,
    **needs: Any,
) -> None:
    """Check an installed component: its registration, its options and the contract of its kind.

    `config` is laid over its defaults.  `refused` holds, by option, a value that must be a
    UsageError which names the option.  `needs` go to the check of the kind.  Raises CheckFailed,
    and UsageError when there is no such component.
    """
    registry = registry or load_registry()
    registered = registry.find(kind, name)
    called = f"{name!r} of {registered.distribution}"
    if module := _module(registered):
        check_plugin(module)
    _check_options(registered.component, called)
    choice = registry.choose(kind, name, config)
    subject = Subject(kind, choice.build, called)
    for option, value in (refused or {}).items():
        bad = {**(config or {}), option: value}
        subject.refuses(
            "options",
            f"{option} = {value!r}",
            lambda bad=bad: registry.choose(kind, name, bad).build(),  # type: ignore[misc]
            named=option,
        )
    module_name, _, function = CHECKS[kind].partition(":")
    check = getattr(importlib.import_module(f"{__package__}.{module_name}"), function)
    check(choice.build, name=called, **needs)


def check_plugin(module: str) -> None:
    """Check what the entry point `module` registers, in a process of its own.

    imports: none of torch, transformers, lm_eval, datasets and pandas; hooks: all of them known
    and all components usable; options: each factory takes its component's configuration, with the
    defaults that are registered.  Raises CheckFailed.
    """
    found = _registration(module)
    if "error" in found:
        raise CheckFailed(module, "plugin", "hooks", found["error"])
    if found["heavy"]:
        raise CheckFailed(module, "plugin", "imports", f"imports {', '.join(found['heavy'])}")
    if found["broken"]:
        raise CheckFailed(module, "plugin", "hooks", "; ".join(found["broken"]))
    plugin = _loaded(module)
    for registered in load_registry({module: plugin}, installed=False).registered:
        _check_options(registered.component, f"{registered.component.name!r} of {module}")


def _check_options(component: Component, called: str) -> None:
    def require(rule: str, holds: Any, detail: str) -> None:
        if not holds:
            raise CheckFailed(called, component.kind, rule, detail)

    require("summary", component.summary.strip(), "it has no summary")
    try:
        factory = import_factory(component.factory)
        signature = inspect.signature(factory)
    except (Exception, SystemExit) as error:
        raise CheckFailed(called, component.kind, "build", f"the factory: {error}") from error
    try:
        signature.bind(**component.config)
    except TypeError as error:
        raise CheckFailed(called, component.kind, "options", f"{error}") from error
    for option, default in component.config.items():
        own = signature.parameters.get(option)
        if own is not None and own.default not in (inspect.Parameter.empty, None, default):
            require("options", False, f"{option} is {default!r} here and {own.default!r} there")


def _module(registered: Registered) -> str | None:
    """Return the module of the entry point; None for a plugin of this process."""
    for entry in importlib.metadata.entry_points(group=PROJECT):
        if entry.name == registered.plugin and entry.dist is not None:
            return entry.value
    return None


def _loaded(module: str) -> Any:
    name, _, attribute = module.partition(":")
    plugin = importlib.import_module(name)
    return getattr(plugin, attribute) if attribute else plugin


@cache
def _registration(module: str) -> dict[str, Any]:
    """Register the plugin alone in a fresh process; return what that imported and what broke."""
    code = f"""
import json, sys
sys.path[:] = {sys.path!r}
from {__package__}.plugins import _loaded
from modeldiff_harness.plugins import load_registry
try:
    registry = load_registry({{{module!r}: _loaded({module!r})}}, installed=False)
    heavy = sorted(set({HEAVY!r}) & set(sys.modules))
    found = {{"broken": [b.error for b in registry.broken], "heavy": heavy}}
except BaseException as error:
    found = {{"error": f"{{type(error).__name__}}: {{error}}"}}
print("\\n" + json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return {"error": done.stderr.strip()[-500:] or f"exit code {done.returncode}"}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
