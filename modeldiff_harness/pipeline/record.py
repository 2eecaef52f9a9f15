"""What a run leaves beside its numbers: run.json, and the provenance that the report shows.

run.json names every stage of the run from the moment its graph is known, so that `mdh gc` never
takes what a running, broken-off or finished run made.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import psutil

from modeldiff_harness.artifacts import Provenance, StageRecord
from modeldiff_harness.clock import timestamp
from modeldiff_harness.disk import disk_failure, write_atomically
from modeldiff_harness.errors import RunError
from modeldiff_harness.pipeline.context import RunContext
from modeldiff_harness.stages import Stage
from modeldiff_harness.store import (
    default_data_folder,
    digest_of,
    point_to_run,
    read_run,
    versions_of,
)
from modeldiff_harness.version import __version__

__all__ = ["RunRecord"]


class RunRecord:
    """The record of one run over `stages`; `as_passed` is what the user gave."""

    def __init__(
        self,
        context: RunContext,
        as_passed: Mapping[str, Any],
        stages: Sequence[Stage[Any]],
        verb: str = "",
    ) -> None:
        """Name the run; `verb`: the stage it ends with, when that is not the report."""
        self.context = context
        self.config = context.config
        self.as_passed = dict(as_passed)
        self.stages = list(stages)
        self.verb = verb
        self._artifacts: dict[str, Stage[Any]] = {}
        self._before: set[tuple[str, str]] = set()
        self._started, self._began = timestamp(), time.monotonic()
        # A path makes a long name: file systems take 255 bytes, the digest keeps runs apart.
        short = [re.sub(r"[^\w.-]+", "_", model)[-60:] for model in self.config.pair]
        names = "--".join(name.encode()[-90:].decode(errors="ignore") for name in short)
        parts = [names, digest_of(self.config.recipe())[:8], verb]
        self.folder = default_data_folder() / "runs" / "-".join(part for part in parts if part)

    def open(self) -> None:
        """Make the run's folder and say there that it is running, and over which stages.

        What an earlier run of this name made stays named until this one is finished.  Raises
        RunError for a folder that cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with suppress(RunError):  # none yet, or not readable
                self._before = read_run(self.folder / "run.json").named
            self.write("running")
            point_to_run(self.context.store.root, self.folder)
        except OSError as error:
            raise disk_failure(error, self.folder) from error

    def found(self, artifacts: Mapping[str, Stage[Any]]) -> None:
        """Remember under which names other commands find computed stages."""
        self._artifacts |= artifacts
        known = {stage.key for stage in self.stages}
        self.stages += [stage for stage in artifacts.values() if stage.key not in known]

    def write(self, state: str) -> None:
        """Write run.json: what was computed or reused, and every key that the run rests on."""
        record = {
            "pair": list(self.config.pair),
            "state": state,
            "verb": self.verb or "evaluate",
            "started": self._started,
            "as_passed": self.as_passed,
            "config": self.config.recipe(),
            "stages": [asdict(record) for record in self._done(state)],
            "graph": [{"verb": verb, "key": key} for verb, key in self._graph(state)],
            "artifacts": {
                name: {"verb": stage.verb, "key": stage.key}
                for name, stage in self._artifacts.items()
            },
        }
        write_atomically(self.folder / "run.json", json.dumps(record, indent=1, ensure_ascii=False))

    def _graph(self, state: str) -> list[tuple[str, str]]:
        own = [(stage.verb, stage.key) for stage in self.stages]
        earlier = () if state == "finished" else sorted(self._before.difference(own))
        return [*own, *earlier]

    def provenance(self) -> Provenance:
        """Return what the report says of its making: command, configuration, stages, machine."""
        config = self.config
        limited = config.benchmarks.limit is not None or config.preferences.max_prompts is not None
        return Provenance(
            command=self._command(),
            config=config.recipe(),
            as_passed=self.as_passed,
            versions={
                "modeldiff-harness": __version__,
                "python": platform.python_version(),
                **versions_of("torch", "transformers", "lm_eval", "peft"),
            },
            machine={
                "system": platform.system(),
                "processor": platform.machine(),
                "cores": str(os.cpu_count()),
                "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
                "device": self.context.device,
            },
            stages=self._done("finished"),
            date=self._started,
            seconds=time.monotonic() - self._began,
            smoke=limited,
            shipped=tuple(self._shipped()),
        )

    def _done(self, state: str) -> tuple[StageRecord, ...]:
        """Return what was done; of a finished run also what no reused stage asked for."""
        done = {record.key: record for record in self.context.runner.records}
        if state == "finished":
            for stage in self.stages:
                if stage.key not in done and (record := self.context.runner.recorded(stage)):
                    done[stage.key] = record
        return tuple(done.values())

    def _shipped(self) -> Iterator[str]:
        """Name what came with an installed package instead of being computed here."""
        for name, ref in self.context.refs.items():
            if ref.adapter is not None and ref.adapter.startswith("package:"):
                yield f"adapter of {name}: {ref.adapter}; recipe and seed in its MODEL_CARD.md"
            used = name in self.config.pair and self.config.latents.enabled
            if ref.answers is not None and used and self.config.latents.own_answers:
                yield f"answers of {name}: {ref.answers}; made by modeldiff_harness.demo.answer"

    def _command(self) -> str:
        """Return what makes the report again: a command, or a call when it began as one."""
        given = {k: v for k, v in self.as_passed.items() if v is not None and k != "store"}
        if any(isinstance(value, Mapping | list | tuple) for value in given.values()):
            arguments = ", ".join(f"{key}={value!r}" for key, value in given.items())
            return f"modeldiff_harness.evaluate({arguments})"
        words = ["mdh", "evaluate"]
        for key, value in given.items():
            words.append(f"--{key}")
            if value is not True:
                words.append(str(value))
        return shlex.join(words)
