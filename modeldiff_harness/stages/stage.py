"""The stage: what it is given, its recipe and its key."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from modeldiff_harness.contracts import Runtime
from modeldiff_harness.source import is_own_module, own_source_name
from modeldiff_harness.stages import tools as generic_tools
from modeldiff_harness.stages.nested import leaves, map_leaves
from modeldiff_harness.stages.plain import plain
from modeldiff_harness.stages.tools import Tool
from modeldiff_harness.store import digest_of, versions_of

if TYPE_CHECKING:
    from modeldiff_harness.stages.runner import StageRunner

__all__ = ["Gathered", "Part", "Stage"]

A = TypeVar("A")


@dataclass(frozen=True)
class Part:
    """One field of a stage's artifact."""

    stage: Stage[Any]
    field: str


@dataclass(frozen=True)
class Gathered:
    """An object made of several inputs: `kind(**parts)`."""

    kind: Callable[..., Any]
    parts: Mapping[str, Any]


@dataclass(eq=False)
class Stage(Generic[A]):
    """One node of the graph: the call `function(**inputs, **settings, **tools, runtime=…)`.

    Raises TypeError for a function that could read what it is not given (a closure, a method) and
    for names that it does not take; `key` raises it for settings that are not plain.
    """

    runner: StageRunner
    verb: str
    function: Callable[..., A]
    title: str
    gives: type[A]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Stages, `Part`s and `Gathered`s, alone, in lists, tuples or mappings; None passes None."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Plain data, dataclasses of plain data, objects with a `recipe()`."""
    tools: Mapping[str, Any] = field(default_factory=dict)
    """`Tool`s, alone, in lists or mappings."""
    libraries: Sequence[str] = ()
    """Distributions whose version touches the result."""
    estimate: str = ""
    """What `--plan` says of the work: tokens, items, disk."""
    refuse: Callable[[], None] | None = None
    """Raises before the work begins, on a full disk for one; cannot change the result."""

    def __post_init__(self) -> None:
        """Look at the function before anything rests on it."""
        self._parameters = _parameters(self.function)
        names = {*self.inputs, *self.settings, *self.tools, *self._parameters & {"runtime"}}
        inspect.signature(self.function).bind(**dict.fromkeys(names))

    @cached_property
    def parents(self) -> tuple[Stage[Any], ...]:
        """Return the stages that this one reads, through its inputs and its tools."""
        read = [*_stages_in(self.inputs)]
        for tool in leaves(self.tools):
            read += tool.inputs()
        return tuple(dict.fromkeys(read))

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """Return everything that can change the result, as plain data."""
        own = sorted(name for name in self._makers() if is_own_module(name))
        return {
            "verb": self.verb,
            "schema": getattr(self.gives, "SCHEMA_VERSION", 1),
            "function": f"{self.function.__module__}:{self.function.__qualname__}",
            "source": own_source_name(tuple(own)),
            "libraries": versions_of(*self.libraries),
            "inputs": map_leaves(self.inputs, _input_recipe),
            "settings": plain(self.settings),
            "tools": map_leaves(self.tools, _tool_recipe),
        }

    def _makers(self) -> set[str]:
        """Return the modules of the function and of the tools; generic tools bring nothing."""
        tools = {type(tool).__module__ for tool in leaves(self.tools)}
        return {self.function.__module__, *tools} - {generic_tools.__name__}

    @cached_property
    def key(self) -> str:
        """Return the store key."""
        return digest_of(self.recipe)

    @cached_property
    def _value(self) -> A:
        return self.runner.run(self)

    def value(self) -> A:
        """Return the artifact, computing this stage and what it rests on where it is missing."""
        return self._value

    def part(self, field: str) -> Part:
        """Return one field of the artifact, as an input of another stage."""
        return Part(self, field)

    def ready(self) -> bool:
        """Say whether the artifact is already in the store."""
        return self.runner.store.has(self.verb, self.recipe)

    def folder(self) -> Path:
        """Return the object's folder in the store."""
        return self.runner.store.folder(self.verb, self.key)

    def make(self, runtime: Runtime) -> A:
        """Call the function with its inputs, settings and opened tools."""
        given = {**map_leaves(self.inputs, _input_value), **self.settings}
        with ExitStack() as opened:
            given |= map_leaves(self.tools, lambda tool: opened.enter_context(tool.open(runtime)))
            if "runtime" in self._parameters:
                given["runtime"] = runtime
            return self.function(**given)


def _parameters(function: Callable[..., Any]) -> set[str]:
    if not inspect.isfunction(function) or function.__closure__ or "." in function.__qualname__:
        raise TypeError(f"{function!r} is no function of a module: it could read what no key holds")
    return set(inspect.signature(function).parameters)


def _input_value(leaf: Any) -> Any:
    if isinstance(leaf, Part):
        return getattr(leaf.stage.value(), leaf.field)
    if isinstance(leaf, Gathered):
        return leaf.kind(**map_leaves(leaf.parts, _input_value))
    return leaf.value()


def _input_recipe(leaf: Any) -> Any:
    if isinstance(leaf, Part):
        return {"key": leaf.stage.key, "part": leaf.field}
    if isinstance(leaf, Gathered):
        return map_leaves(leaf.parts, _input_recipe)
    return leaf.key


def _tool_recipe(tool: Tool) -> Any:
    return {"recipe": tool.recipe(), "inputs": [stage.key for stage in tool.inputs()]}


def _stages_in(inputs: Any) -> Iterator[Stage[Any]]:
    for leaf in leaves(inputs):
        if isinstance(leaf, Gathered):
            yield from _stages_in(leaf.parts)
        else:
            yield leaf.stage if isinstance(leaf, Part) else leaf
