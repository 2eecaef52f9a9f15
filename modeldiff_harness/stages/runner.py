"""Computing stages in a store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from modeldiff_harness.artifacts.report import StageRecord
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.events import StageEvent
from modeldiff_harness.store import Found, Store

if TYPE_CHECKING:
    from modeldiff_harness.stages.stage import Stage

__all__ = ["StageRunner"]

A = TypeVar("A")


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
