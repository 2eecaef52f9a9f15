"""A stage is a call that carries its own recipe: a function, stages it reads, settings, tools.

    scored = runner.stage("score", score, title=name, gives=ScorePass,
                          inputs={"dictionary": trained},          # other stages: their keys
                          settings={"n_blocks": 20},               # plain data: hashed as it is
                          tools={"stream": reading, "scorers": …}) # objects that state a recipe

What is not passed cannot be read, since the function is one of a module and no closure; what is
passed is hashed.  Only `Runtime` is not.  A run is a graph of stages: it is built without doing any
work, `--plan` reads it, and `value()` computes what is missing, once.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from modeldiff_harness.artifacts.report import StageRecord
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.digests import file_digest
from modeldiff_harness.errors import UsageError
from modeldiff_harness.events import StageEvent
from modeldiff_harness.plugins import ComponentChoice
from modeldiff_harness.source import is_own_module, own_source_name
from modeldiff_harness.store import Found, Store, digest_of, versions_of

__all__ = [
    "Built",
    "Content",
    "Fresh",
    "Gathered",
    "InputFile",
    "Part",
    "Stage",
    "StageRunner",
    "Tool",
    "plain",
]

A = TypeVar("A")


# ── what a stage is given beside settings ────────────────────────────────────────────────────


class Tool(Protocol):
    """An object that does work for a stage and says what of it can change the result."""

    def recipe(self) -> Any:
        """Return plain data that enters the key."""
        ...

    def inputs(self) -> Iterable[Stage[Any]]:
        """Return the stages that it reads; their keys enter the key."""
        ...

    def open(self, runtime: Runtime) -> AbstractContextManager[Any]:
        """Open what the stage's function is given, for as long as it runs."""
        ...


@dataclasses.dataclass(frozen=True)
class Part:
    """One field of a stage's artifact."""

    stage: Stage[Any]
    field: str


@dataclasses.dataclass(frozen=True)
class Gathered:
    """An object made of several inputs: `kind(**parts)`."""

    kind: Callable[..., Any]
    parts: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Content:
    """A large plain value: its digest stands for it in the recipe."""

    value: Any

    def recipe(self) -> str:
        """Return the digest of the value."""
        return digest_of(plain(self.value))

    def inputs(self) -> tuple[()]:
        """Return nothing: no stage is read."""
        return ()

    def open(self, _runtime: Runtime) -> AbstractContextManager[Any]:
        """Open the value itself."""
        return nullcontext(self.value)


@dataclasses.dataclass(frozen=True)
class InputFile:
    """A file: its content speaks, not where it lies."""

    path: Path
    what: str = ""
    """What an error calls it: "the battles "."""

    def recipe(self) -> str:
        """Return the sha256 of the content; UsageError when it cannot be read."""
        try:
            return file_digest(self.path)
        except OSError as error:
            raise UsageError(f"cannot read {self.what}{self.path}: {error.strerror}.") from error

    def inputs(self) -> tuple[()]:
        """Return nothing: no stage is read."""
        return ()

    def open(self, _runtime: Runtime) -> AbstractContextManager[Path]:
        """Open the path."""
        return nullcontext(self.path)


@dataclasses.dataclass(frozen=True)
class Built:
    """A plugin component, built when the stage runs."""

    choice: ComponentChoice

    def recipe(self) -> Any:
        """Return the component's provenance and configuration."""
        return self.choice.recipe()

    def inputs(self) -> tuple[()]:
        """Return nothing: no stage is read."""
        return ()

    def open(self, _runtime: Runtime) -> AbstractContextManager[Any]:
        """Open the built component."""
        return nullcontext(self.choice.build())


@dataclasses.dataclass(frozen=True)
class Fresh(Built):
    """A plugin component of which the stage needs several: a call that builds one."""

    def open(self, _runtime: Runtime) -> AbstractContextManager[Any]:
        """Open the call."""
        return nullcontext(self.choice.build)


# ── the stage ────────────────────────────────────────────────────────────────────────────────


class Stage(Generic[A]):
    """One node of the graph; made by `StageRunner.stage`."""

    def __init__(
        self,
        runner: StageRunner,
        verb: str,
        function: Callable[..., A],
        *,
        title: str,
        gives: type[A],
        inputs: Mapping[str, Any],
        settings: Mapping[str, Any],
        tools: Mapping[str, Any],
        libraries: Sequence[str] = (),
        estimate: str = "",
        refuse: Callable[[], None] | None = None,
    ) -> None:
        self.runner = runner
        self.verb = verb
        self.function = function
        self.title = title
        self.gives = gives
        self.inputs = dict(inputs)
        self.settings = dict(settings)
        self.tools = dict(tools)
        self.libraries = tuple(libraries)
        self.estimate = estimate
        """What `--plan` says of the work: tokens, items, disk."""
        self.refuse = refuse
        """Raises before the work begins, on a full disk for one; cannot change the result."""
        self._parameters = _parameters(function)
        names = [*self.inputs, *self.settings, *self.tools]
        inspect.signature(function).bind(**dict.fromkeys([*names, *self._parameters & {"runtime"}]))

    @cached_property
    def parents(self) -> tuple[Stage[Any], ...]:
        """Return the stages that this one reads, through its inputs and its tools."""
        read = [*_stages_in(self.inputs)]
        for tool in _tools_in(self.tools):
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
            "inputs": _map(self.inputs, _input_recipe),
            "settings": plain(self.settings),
            "tools": _map(self.tools, _tool_recipe),
        }

    def _makers(self) -> set[str]:
        """Return the modules of the function and of the tools; generic tools bring nothing."""
        tools = {type(tool).__module__ for tool in _tools_in(self.tools)}
        return {self.function.__module__, *tools} - {__name__}

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
        given = {**_map(self.inputs, _input_value), **self.settings}
        with ExitStack() as opened:
            given |= _map(self.tools, lambda tool: opened.enter_context(tool.open(runtime)))
            if "runtime" in self._parameters:
                given["runtime"] = runtime
            return self.function(**given)


class StageRunner:
    """Makes stages, computes them in a store, tells observers, and keeps the record of a run."""

    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        on_event: Callable[[StageEvent], None] = lambda _event: None,
    ) -> None:
        self.store = store
        self.runtime = runtime
        self.on_event = on_event
        self.records: list[StageRecord] = []

    def stage(
        self,
        verb: str,
        function: Callable[..., Any],
        *,
        title: str,
        gives: type[A],
        inputs: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        tools: Mapping[str, Any] | None = None,
        libraries: Sequence[str] = (),
        estimate: str = "",
        refuse: Callable[[], None] | None = None,
    ) -> Stage[A]:
        """Return the stage that calls `function(**inputs, **settings, **tools, runtime=…)`.

        `inputs`: stages, `Part`s and `Gathered`s, alone, in lists, tuples or mappings; None passes
        None.  `settings`: plain data and dataclasses of plain data.  `tools`: `Tool`s, alone, in
        lists or mappings.  `libraries`: distributions whose version touches the result.

        Raises TypeError for a function that could read what it is not given (a closure, a
        method), that does not take these names, and for settings that are not plain.
        """
        return Stage(
            self,
            verb,
            function,
            title=title,
            gives=gives,
            inputs=inputs or {},
            settings=settings or {},
            tools=tools or {},
            libraries=libraries,
            estimate=estimate,
            refuse=refuse,
        )

    def run(self, stage: Stage[A]) -> A:
        """Return the stage's artifact from the store, or compute it there."""
        verb, key = stage.verb, stage.key
        progress = self.runtime.progress
        if not stage.ready():  # what it rests on comes first: its own time is then its own
            for parent in stage.parents:
                parent.value()
            if stage.refuse is not None:
                stage.refuse()

        def make(workdir: Path) -> A:
            self.on_event(StageEvent(verb, key, "started", detail=stage.title))
            progress.log(f"{verb:<9} {stage.title}")
            return stage.make(dataclasses.replace(self.runtime, workdir=workdir))

        def waiting() -> None:
            progress.log(f"{verb:<9} {stage.title}: another process is at it, waiting")

        try:
            artifact, found = self.store.compute(
                verb, stage.recipe, stage.gives, make, on_wait=waiting
            )
        except BaseException as error:
            self.on_event(StageEvent(verb, key, "failed", detail=str(error)))
            raise
        self._record(stage, found)
        return artifact

    def recorded(self, stage: Stage[Any]) -> StageRecord | None:
        """Return the record of a stage that is in the store though this run did not read it."""
        if not stage.ready():
            return None
        seconds = self.store.seconds(stage.verb, stage.key)
        return StageRecord(stage.verb, stage.title, stage.key, "reused", seconds)

    def _record(self, stage: Stage[Any], found: Found) -> None:
        state = "reused" if found.reused else "finished"
        self.on_event(StageEvent(found.verb, found.key, state, found.seconds, stage.title))
        word = "reused" if found.reused else "computed"
        self.records.append(StageRecord(found.verb, stage.title, found.key, word, found.seconds))


# ── recipes ──────────────────────────────────────────────────────────────────────────────────


def plain(value: Any) -> Any:
    """Return `value` as JSON holds it: dataclasses as mappings with their type's name.

    An object with `recipe()` speaks for itself.  Raises TypeError for anything that is not plain,
    a path above all: where a file lies is no recipe.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "recipe") and not isinstance(value, type):
        return value.recipe()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} is not plain: {value!r} cannot enter a recipe")


def _parameters(function: Callable[..., Any]) -> set[str]:
    if not inspect.isfunction(function) or function.__closure__ or "." in function.__qualname__:
        raise TypeError(f"{function!r} is no function of a module: it could read what no key holds")
    return set(inspect.signature(function).parameters)


def _map(value: Any, apply: Callable[[Any], Any]) -> Any:
    """Apply a function to the leaves of nested mappings, lists and tuples; None stays None."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {key: _map(item, apply) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_map(item, apply) for item in value]
    return apply(value)


def _input_value(leaf: Any) -> Any:
    if isinstance(leaf, Part):
        return getattr(leaf.stage.value(), leaf.field)
    if isinstance(leaf, Gathered):
        return leaf.kind(**_map(leaf.parts, _input_value))
    return leaf.value()


def _input_recipe(leaf: Any) -> Any:
    if isinstance(leaf, Part):
        return {"key": leaf.stage.key, "part": leaf.field}
    if isinstance(leaf, Gathered):
        return _map(leaf.parts, _input_recipe)
    return leaf.key


def _tool_recipe(tool: Tool) -> Any:
    return {"recipe": tool.recipe(), "inputs": [stage.key for stage in tool.inputs()]}


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield value


def _stages_in(inputs: Any) -> Iterator[Stage[Any]]:
    for leaf in _leaves(inputs):
        if isinstance(leaf, Gathered):
            yield from _stages_in(leaf.parts)
        else:
            yield leaf.stage if isinstance(leaf, Part) else leaf


def _tools_in(tools: Any) -> Iterator[Tool]:
    yield from _leaves(tools)
