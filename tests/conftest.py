"""Shared by tests/cli and tests/pipeline: one tiny comparison, and `mdh` called in process."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import pytest

from modeldiff_harness.contracts import StageEvent, TrainStepEvent
from modeldiff_harness.hookspecs import hookimpl
from modeldiff_harness.plugins import load_registry
from modeldiff_harness.testing.workspaces import TinyWorkspace, make_tiny_workspace

os.environ.setdefault("TQDM_DISABLE", "1")  # read once, when tqdm is imported


@dataclass(frozen=True)
class Said:
    """What a command did."""

    code: int
    out: str
    err: str

    def error_line(self) -> str:
        """The one line of the error; asserts that it is one, and no traceback."""
        lines = [line for line in self.err.splitlines() if "mdh: error:" in line]
        assert len(lines) == 1, self.err
        assert self.err.splitlines()[-1] == lines[0], self.err
        assert "Traceback" not in self.err + self.out
        return lines[0]


class Mdh(Protocol):
    def __call__(
        self, *arguments: object, environment: Mapping[str, str] | None = None
    ) -> Said: ...


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyWorkspace:
    return make_tiny_workspace(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def mdh(tiny: TinyWorkspace) -> Mdh:
    """Call `mdh` in this process, in the tiny workspace unless `environment` says otherwise."""

    def run(*arguments: object, environment: Mapping[str, str] | None = None) -> Said:
        from modeldiff_harness.cli import main

        out, err, code = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch:
            for name in ("MDH_DATA", "COLUMNS", "MDH_DEBUG"):
                patch.delenv(name, raising=False)
            for name, setting in {**tiny.environment, **(environment or {})}.items():
                patch.setenv(name, setting)
            with redirect_stdout(out), redirect_stderr(err):
                try:
                    main([str(argument) for argument in arguments])
                except SystemExit as stop:
                    code = int(stop.code or 0)
        return Said(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def flags(tiny: TinyWorkspace) -> tuple[str, ...]:
    """The flags of the tiny comparison."""
    return ("--pair", "tiny-sft,tiny-simpo", "--config", str(tiny.config))


@dataclass(frozen=True)
class FinishedRun:
    said: Said
    output: Path
    runs: Path
    """The folder of all runs of the workspace; other tests add theirs."""

    @property
    def name(self) -> str:
        """The run's name in `mdh runs`."""
        config = self.report["provenance"]["config"]
        (found,) = (
            folder.name
            for folder in self.runs.iterdir()
            if (folder / "report.json").exists()
            and json.loads((folder / "report.json").read_text("utf-8"))["provenance"]["config"]
            == config
        )
        return found

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.output / "report.json").read_text("utf-8"))


@pytest.fixture(scope="session")
def finished(tiny: TinyWorkspace, mdh: Mdh, flags: tuple[str, ...]) -> FinishedRun:
    """All three arms of the tiny pair, measured once."""
    output = tiny.folder / "out"
    said = mdh("evaluate", *flags, "--output_path", output)
    assert said.code == 0, said.err
    return FinishedRun(said, output, tiny.store / "data" / "runs")


@pytest.fixture
def copy(tiny: TinyWorkspace, finished: FinishedRun, tmp_path: Path) -> Iterator[TinyWorkspace]:
    """The finished workspace with a store of its own, to be damaged."""
    store = tmp_path / "store"
    shutil.copytree(tiny.store, store)
    yield replace(tiny, store=store)
    assert os.path.isdir(tiny.store), "the shared store is not to be touched"


@dataclass
class Observed:
    """What the observers of a run were told."""

    stages: list[StageEvent] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> Observed:
    """Watch every run of the test through both observer hooks."""
    seen = Observed()

    @hookimpl
    def mdh_stage_event(event: StageEvent) -> None:
        seen.stages.append(event)

    @hookimpl
    def mdh_train_step(event: TrainStepEvent) -> None:
        seen.steps.append(event.step)

    observer = SimpleNamespace(mdh_stage_event=mdh_stage_event, mdh_train_step=mdh_train_step)
    monkeypatch.setattr(
        "modeldiff_harness.pipeline.run.load_registry",
        lambda: load_registry({"watch": observer}),
    )
    return seen
