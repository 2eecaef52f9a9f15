"""A session: one configuration opened, planned, run, and written down."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import BenchmarkResults, Comparability, Report
from modeldiff_harness.benchmarks.export import export_lm_eval
from modeldiff_harness.config import RunConfig, checked_config, resolve_config
from modeldiff_harness.contracts import ReportSection, Runtime
from modeldiff_harness.disk import writable_folder
from modeldiff_harness.errors import UsageError
from modeldiff_harness.events import TrainStepEvent
from modeldiff_harness.gate.section import with_verdict
from modeldiff_harness.gate.write import verdict_of
from modeldiff_harness.pipeline.arms.arm import Arm, NotAsked
from modeldiff_harness.pipeline.arms.benchmarks import BenchmarkArm
from modeldiff_harness.pipeline.arms.latents.arm import LatentArm
from modeldiff_harness.pipeline.arms.preferences import PreferenceArm
from modeldiff_harness.pipeline.context import RunContext
from modeldiff_harness.pipeline.plan import Plan, ordered_stages, plan_run
from modeldiff_harness.pipeline.preflight import preflight_stage
from modeldiff_harness.pipeline.record import RunRecord
from modeldiff_harness.plugins import Registry, load_registry
from modeldiff_harness.progress import Progress, SilentProgress
from modeldiff_harness.report.build.build import build_report
from modeldiff_harness.report.build.inputs import NotMeasured, ReportInputs
from modeldiff_harness.report.render.write import write_report
from modeldiff_harness.stages import Stage, StageRunner
from modeldiff_harness.store import Store, default_store_folder

__all__ = ["Finished", "Session", "evaluate", "open_session"]


@dataclass(frozen=True)
class Finished:
    """A finished run: its report and the folder it lies in."""

    report: Report
    folder: Path


def evaluate(
    pair: tuple[str, str] | str,
    *,
    preset: str | None = None,
    config: str | Path | None = None,
    store: str | Path | None = None,
    output_path: str | Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Report:
    """Compare a pair of models and return the report; the Python face of `mdh evaluate`.

    `settings` are the nested keys of RunConfig, e.g. `latents={"max_tokens": 50_000}`.  Raises the
    errors of modeldiff_harness.errors.
    """
    names = tuple(pair.split(",")) if isinstance(pair, str) else tuple(pair)
    resolved = resolve_config(
        preset=preset,
        file=Path(config) if config is not None else None,
        overrides={"pair": list(names), **settings},
    )
    session = open_session(
        resolved,
        as_passed={
            "pair": ",".join(names),
            "preset": preset,
            "config": None if config is None else str(config),
            **settings,
        },
        store_folder=Path(store) if store is not None else None,
        progress=progress,
    )
    return session.run(output_path=Path(output_path) if output_path is not None else None).report


def open_session(
    config: RunConfig,
    *,
    as_passed: Mapping[str, Any] | None = None,
    store_folder: Path | None = None,
    progress: Progress | None = None,
    registry: Registry | None = None,
) -> Session:
    """Resolve names and open the store; nothing is loaded and nothing is run.

    Raises UsageError for unknown models, tasks and plugins.
    """
    config = checked_config(config)
    registry = registry or load_registry()
    store = Store(store_folder or default_store_folder())
    device = _device(config.runtime.device)
    if config.runtime.threads is not None:
        import torch

        torch.set_num_threads(config.runtime.threads)
    if config.runtime.offline:
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    display = progress or SilentProgress()

    def on_train_step(event: TrainStepEvent) -> None:
        display.train_step(event)
        registry.on_train_step(event)

    runtime = Runtime(
        device=device,
        batch_tokens=config.runtime.batch_tokens,
        batch_size=config.runtime.batch_size,
        progress=display,
        trust_remote_code=config.runtime.trust_remote_code,
        offline=config.runtime.offline,
        on_train_step=on_train_step,
    )
    runner = StageRunner(store, runtime, registry.on_stage_event)
    context = RunContext(config, registry, store, runner, device)
    return Session(context, dict(as_passed or {}))


class Session:
    """One configuration: `plan()` reads the graph, `run()` computes it and writes the report."""

    def __init__(self, context: RunContext, as_passed: dict[str, Any]) -> None:
        context.check()
        self.context = context
        self.config = context.config
        self.as_passed = as_passed

    @cached_property
    def preflight(self) -> Stage[Comparability]:
        """The questions asked before long work."""
        return preflight_stage(self.context)

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Benchmarks, preferences, latents; UsageError for whatever one of them cannot take."""
        config, context = self.config, self.context
        return (
            BenchmarkArm(context)
            if config.benchmarks.tasks
            else NotAsked("benchmarks", "no tasks were asked for"),
            PreferenceArm(context)
            if config.preferences.enabled
            else NotAsked("preferences", "not asked for"),
            LatentArm(context) if config.latents.enabled else NotAsked("latents", "not asked for"),
        )

    def stages(self) -> list[Stage[Any]]:
        """Return every stage of the run, inputs before what rests on them, once each."""
        return ordered_stages([self.preflight, *(end for arm in self.arms for end in arm.ends())])

    def plan(self) -> Plan:
        """Return what a run would do, without doing any of it; refuses what a run would refuse."""
        for arm in self.arms:
            arm.check(planned=True)
        return plan_run(self.stages(), self.arms, self.context.store.root, self.context.device)

    def run_until(self, verb: str) -> list[Stage[Any]]:
        """Compute every stage of `verb` with what it rests on; UsageError when the run has none."""
        stages = self.stages()
        wanted = [stage for stage in stages if stage.verb == verb]
        if not wanted:
            raise UsageError(f"this run has no stage {verb!r}.", hint="See --plan.")
        record = RunRecord(self.context, self.as_passed, ordered_stages(wanted), verb)
        with self._recorded(record):
            for stage in wanted:
                stage.value()
        return wanted

    def run(self, *, output_path: Path | None = None) -> Finished:
        """Run all arms and write the report; finished stages are taken from the store."""
        stages = self.stages()  # every name and file is looked at before the first stage runs
        if output_path is not None:
            writable_folder(output_path, "--output_path")
        record = RunRecord(self.context, self.as_passed, stages)
        for arm in self.arms:
            arm.check()
        with self._recorded(record):
            comparability = self.preflight.value()
            if reason := comparability.refusal("benchmarks"):
                raise UsageError(f"this pair cannot be compared: {reason}.")
            found = {arm.name: _findings(arm, comparability) for arm in self.arms}
            for arm in self.arms:
                if not isinstance(found[arm.name], NotMeasured):
                    record.found(arm.artifacts())
            report = build_report(
                ReportInputs(
                    pair=self.context.pair_report(),
                    comparability=comparability,
                    provenance=record.provenance(),
                    **found,
                )
            )
            sections = self.context.registry.sections()
            _write(report, record.folder, sections)
            if output_path is not None:
                _export(report, sections, output_path, found["benchmarks"])
        return Finished(report, record.folder)

    @contextmanager
    def _recorded(self, record: RunRecord) -> Iterator[None]:
        """Keep the record of work that ends or breaks off, and free the weights after it.

        The record names the whole graph from the start, so that no end of this process costs what
        it made; only the word for its state may be lost with a full disk.
        """
        record.open()
        try:
            yield
            record.write("finished")
        except BaseException:
            with suppress(OSError):
                record.write("failed")
            raise
        finally:
            self.context.models.close()


def _findings(arm: Arm, comparability: Comparability) -> Any:
    reason = comparability.refusal(arm.name)
    return NotMeasured(reason) if reason else arm.findings()


def _export(
    report: Report, sections: Sequence[ReportSection], output_path: Path, benchmarks: Any
) -> None:
    _write(report, output_path, sections)
    if isinstance(benchmarks, BenchmarkResults):
        export_lm_eval(benchmarks, output_path / "lm_eval")


def _write(report: Report, folder: Path, sections: Sequence[ReportSection]) -> None:
    """Write the report's files; a verdict in `folder` on this very report stays in front."""
    verdict = verdict_of(report, folder)
    write_report(report, folder, with_verdict(verdict, sections) if verdict else sections)


def _device(asked: str) -> str:
    """Return the device that is meant; UsageError for one that this machine lacks."""
    if asked == "cpu":
        return asked
    import torch

    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto":
        return "cuda" if n_cuda else "cpu"
    known = ["cpu", *["cuda"][:n_cuda], *(f"cuda:{number}" for number in range(n_cuda))]
    if torch.backends.mps.is_available():
        known.append("mps")
    if asked not in known:
        raise UsageError(
            f"--device: runtime.device is {asked!r}; this machine has {', '.join(known)}.",
            hint="See `mdh doctor`." if asked.startswith("cuda") else "",
        )
    return asked
