"""What a run leaves beside its numbers: run.json, and the provenance that the report shows."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from modeldiff_harness import __version__
from modeldiff_harness.artifacts import Provenance, StageRecord
from modeldiff_harness.errors import RunError
from modeldiff_harness.pipeline.context import PairContext
from modeldiff_harness.stages import Stage
from modeldiff_harness.store import default_data_folder, digest_of, write_atomically

__all__ = ["RunRecord"]

_FLAGS = {"config_file": "config", "null_run": "null"}
"""Options whose flag has another name."""


class RunRecord:
    """The record of one run; `as_passed` is what the user gave."""

    def __init__(self, context: PairContext, as_passed: dict[str, Any]) -> None:
        self.context = context
        self.config = context.config
        self.as_passed = as_passed
        self._folder = Path()
        self._started, self._began = _now(), time.monotonic()

    def open(self) -> Path:
        """Make the run's folder, say there that it is running, and return it.

        Raises RunError for a folder that cannot be written.
        """
        self._started, self._began = _now(), time.monotonic()
        name = "--".join(re.sub(r"[^\w.-]+", "_", model) for model in self.config.pair)
        folder = default_data_folder() / "runs" / f"{name}-{digest_of(self.config.recipe())[:8]}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"cannot write to {folder} ({error.strerror}).", hint="Set MDH_DATA or MDH_STORE."
            ) from error
        self._folder = folder
        self.write("running")
        return folder

    def write(self, state: str, stages: Sequence[Stage[Any]] = ()) -> None:
        """Write run.json; `stages`: all of a finished run, since `mdh gc` keeps what is named."""
        record = {
            "pair": list(self.config.pair),
            "state": state,
            "started": self._started,
            "as_passed": self.as_passed,
            "config": self.config.recipe(),
            "stages": [asdict(record) for record in self._stage_records(stages)],
        }
        write_atomically(
            self._folder / "run.json", json.dumps(record, indent=1, ensure_ascii=False)
        )

    def provenance(self, stages: Sequence[Stage[Any]]) -> Provenance:
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
                **self.context.versions("torch", "transformers", "lm_eval", "peft"),
            },
            machine={
                "system": platform.system(),
                "processor": platform.machine(),
                "cores": str(os.cpu_count()),
                "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
                "device": self.context.device,
            },
            stages=self._stage_records(stages),
            date=self._started,
            seconds=time.monotonic() - self._began,
            smoke=limited,
            shipped=tuple(self._shipped()),
        )

    def _stage_records(self, stages: Sequence[Stage[Any]]) -> tuple[StageRecord, ...]:
        """Return what was finished, with those of `stages` that no reused stage asked for."""
        done = {record.key: record for record in self.context.runner.records}
        for stage in stages:
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
            words.append(f"--{_FLAGS.get(key, key)}")
            if value is not True:
                words.append(str(value))
        return shlex.join(words)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
