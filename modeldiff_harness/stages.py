"""A stage: a recipe, the stages it rests on, and how to make its artifact.

A run is a graph of stages.  The graph is built without doing any work, because every key follows
from recipes alone; `--plan` reads it, and `value()` computes what is missing, once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from modeldiff_harness.artifacts.report import StageRecord
from modeldiff_harness.contracts import Runtime, StageEvent
from modeldiff_harness.store import Found, Store, digest_of

__all__ = ["Stage", "StageRunner", "source_digest"]

A = TypeVar("A")
log = logging.getLogger(__name__)


class StageRunner:
    """Computes stages in a store, tells observers, and keeps the record of a run."""

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

    def run(self, stage: Stage[A]) -> A:
        """Return the stage's artifact from the store, or compute it there."""
        verb, key = stage.verb, stage.key
        progress = self.runtime.progress
        if not stage.ready():  # what it rests on comes first: its own time is then its own
            for parent in stage.inputs:
                parent.value()

        def make(workdir: Path) -> A:
            self.on_event(StageEvent(verb, key, "started", detail=stage.title))
            progress.log(f"{verb:<9} {stage.title}")
            return stage.make(dataclasses.replace(self.runtime, workdir=workdir))

        def waiting() -> None:
            progress.log(f"{verb:<9} {stage.title}: another process is at it, waiting")

        try:
            artifact, found = self.store.compute(
                verb, stage.full_recipe, stage.kind, make, on_wait=waiting
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


class Stage(Generic[A]):
    """One node of the graph.

    `recipe` holds every setting that can change the result; `inputs` are other stages, whose keys
    enter this one's; `modules` are the harness's own modules whose source enters the key when the
    harness is installed in editable mode.
    """

    def __init__(
        self,
        runner: StageRunner,
        verb: str,
        title: str,
        kind: type[A],
        make: Callable[[Runtime], A],
        *,
        recipe: Mapping[str, Any],
        inputs: Sequence[Stage[Any]] = (),
        modules: Sequence[str] = (),
        estimate: str = "",
    ) -> None:
        self.runner = runner
        self.verb = verb
        self.title = title
        self.kind = kind
        self.make = make
        self.recipe = recipe
        self.inputs = tuple(inputs)
        self.modules = tuple(modules)
        self.estimate = estimate
        """What `--plan` says of the work: tokens, items, disk."""

    @cached_property
    def full_recipe(self) -> dict[str, Any]:
        """Return the recipe with verb, schema version, source digest and input keys."""
        return {
            "verb": self.verb,
            "schema": getattr(self.kind, "SCHEMA_VERSION", 1),
            "source": source_digest(self.modules),
            "inputs": [stage.key for stage in self.inputs],
            **self.recipe,
        }

    @cached_property
    def key(self) -> str:
        """Return the store key."""
        return digest_of(self.full_recipe)

    @cached_property
    def _value(self) -> A:
        return self.runner.run(self)

    def value(self) -> A:
        """Return the artifact, computing this stage and what it rests on where it is missing."""
        return self._value

    def ready(self) -> bool:
        """Say whether the artifact is already in the store."""
        return self.runner.store.has(self.verb, self.full_recipe)

    def folder(self) -> Path:
        """Return the object's folder in the store."""
        return self.runner.store.folder(self.verb, self.key)


@cache
def source_digest(modules: tuple[str, ...]) -> str | None:
    """Return a digest over the source of the harness's `modules`; None for a released install.

    A released version's code is named by its version; in an editable install the source itself
    must speak, as it was when this process first asked.  A package name stands for all modules
    below it.
    """
    from modeldiff_harness.plugins import own_source_is_editable
    from modeldiff_harness.version import __version__

    if not own_source_is_editable():
        return __version__
    digest = hashlib.sha256()
    for name in sorted(modules):
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            continue
        if spec is None or spec.origin is None:
            continue
        origin = Path(spec.origin)
        files = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
        for file in files:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
