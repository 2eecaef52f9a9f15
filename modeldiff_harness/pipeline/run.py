"""A session: one configuration opened, planned, run, and written down."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import psutil

from modeldiff_harness.artifacts import (
    BenchmarkResults,
    Comparability,
    PreferenceDeltas,
    Report,
)
from modeldiff_harness.config import RunConfig, resolve_config
from modeldiff_harness.contracts import ReportSection, Runtime, TrainStepEvent
from modeldiff_harness.errors import RunError, UsageError, did_you_mean
from modeldiff_harness.gate.section import with_verdict
from modeldiff_harness.gate.write import verdict_of
from modeldiff_harness.latents.classify.rules import DEFAULT_RULES
from modeldiff_harness.pipeline.arms.benchmarks import BenchStages, bench_stages
from modeldiff_harness.pipeline.arms.latents.arm import LatentStages, latent_stages
from modeldiff_harness.pipeline.arms.latents.findings import latent_findings
from modeldiff_harness.pipeline.arms.preferences import PreferenceStages, preference_stages
from modeldiff_harness.pipeline.context import PairContext
from modeldiff_harness.pipeline.preflight import preflight_stage
from modeldiff_harness.pipeline.record import RunRecord
from modeldiff_harness.plugins import Registry, load_registry
from modeldiff_harness.progress import Progress, SilentProgress
from modeldiff_harness.report.build.build import build_report
from modeldiff_harness.report.build.inputs import LatentFindings, NotMeasured, ReportInputs
from modeldiff_harness.report.render.write import write_report
from modeldiff_harness.stages import Stage, StageRunner
from modeldiff_harness.store import (
    Store,
    default_store_folder,
)

__all__ = ["Finished", "Plan", "PlanRow", "Session", "evaluate", "open_session"]

A = TypeVar("A")


@dataclass(frozen=True)
class PlanRow:
    """One stage of a plan."""

    verb: str
    title: str
    estimate: str
    state: str
    """in store, to do, or refused."""


@dataclass(frozen=True)
class Plan:
    """What a run would do."""

    rows: tuple[PlanRow, ...]
    lines: tuple[str, ...]
    """Memory, disk, what is refused and why."""


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
    context = PairContext(config, registry, store, runner, device)
    return Session(context, dict(as_passed or {}))


class Session:
    """One configuration: `plan()` reads the graph, `run()` computes it and writes the report."""

    def __init__(self, context: PairContext, as_passed: dict[str, Any]) -> None:
        self.context = context
        self.config = context.config
        self.record = RunRecord(context, as_passed)
        _ = context.refs  # unknown names are refused before anything else

    # ── the graph ────────────────────────────────────────────────────────────────────────

    @cached_property
    def preflight(self) -> Stage[Comparability]:
        """The questions asked before long work."""
        return preflight_stage(self.context)

    @cached_property
    def bench(self) -> BenchStages | NotMeasured:
        """The benchmark arm, or why there is none."""
        if not self.config.benchmarks.tasks:
            return NotMeasured("no tasks were asked for")
        return bench_stages(self.context)

    @cached_property
    def preferences(self) -> PreferenceStages | NotMeasured:
        """The preference arm, or why there is none."""
        if not self.config.preferences.enabled:
            return NotMeasured("not asked for")
        return preference_stages(self.context)

    @cached_property
    def latents(self) -> LatentStages | NotMeasured:
        """The latent arm, or why there is none."""
        if not self.config.latents.enabled:
            return NotMeasured("not asked for")
        rules, rule = [r.name for r in DEFAULT_RULES], self.config.latents.rule
        if rule not in rules:
            raise UsageError(f"unknown rule {rule!r}.", hint=did_you_mean(rule, rules))
        return latent_stages(self.context)

    def stages(self) -> list[Stage[Any]]:
        """Return every stage of the run, inputs before what rests on them, once each."""
        ends: list[Stage[Any]] = [self.preflight]
        if isinstance(self.bench, BenchStages):
            ends.append(self.bench.pair())
        if isinstance(self.preferences, PreferenceStages):
            ends.append(self.preferences.rank)
        if isinstance(self.latents, LatentStages):
            ends.extend(self.latents.ends())
        ordered: dict[str, Stage[Any]] = {}

        def visit(stage: Stage[Any]) -> None:
            for parent in stage.inputs:
                visit(parent)
            ordered.setdefault(stage.key, stage)

        for end in ends:
            visit(end)
        return list(ordered.values())

    def plan(self) -> Plan:
        """Return what a run would do, without doing any of it."""
        rows = tuple(
            PlanRow(s.verb, s.title, s.estimate, "in store" if s.ready() else "to do")
            for s in self.stages()
        )
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(str(_existing(self.context.store.root)))
        lines = [
            f"store: {self.context.store.root} ({disk.free / 2**30:,.0f} GiB free)",
            f"memory: {memory.available / 2**30:,.1f} GiB available; device {self.context.device}",
        ]
        if isinstance(self.latents, LatentStages):
            lines.extend(self.latents.cost_lines())
        for arm, found in (
            ("benchmarks", self.bench),
            ("preferences", self.preferences),
            ("latents", self.latents),
        ):
            if isinstance(found, NotMeasured):
                lines.append(f"{arm}: not measured ({found.reason})")
        return Plan(rows, tuple(lines))

    def run_until(self, verb: str) -> list[Stage[Any]]:
        """Compute every stage of `verb` with what it rests on; UsageError when the run has none."""
        wanted = [stage for stage in self.stages() if stage.verb == verb]
        if not wanted:
            raise UsageError(f"this run has no stage {verb!r}.", hint="See --plan.")
        for stage in wanted:
            stage.value()
        self.context.close()
        return wanted

    # ── running ──────────────────────────────────────────────────────────────────────────

    def run(self, *, output_path: Path | None = None) -> Finished:
        """Run all arms and write the report; finished stages are taken from the store."""
        stages = self.stages()  # every name and file is looked at before the first stage runs
        folder = self.record.open()
        try:
            comparability = self.preflight.value()
            if reason := comparability.refusal("benchmarks"):
                raise UsageError(f"this pair cannot be compared: {reason}.")
            benchmarks = self._arm("benchmarks", comparability, self._run_bench)
            preferences = self._arm("preferences", comparability, self._run_preferences)
            latents = self._arm("latents", comparability, self._run_latents)
        except BaseException:
            self.record.write("failed")
            raise
        finally:
            self.context.close()
        report = build_report(
            ReportInputs(
                pair=self.context.pair_report(),
                comparability=comparability,
                benchmarks=benchmarks,
                preferences=preferences,
                latents=latents,
                provenance=self.record.provenance(stages),
            )
        )
        sections = self.context.registry.sections()
        _write(report, folder, sections)
        if output_path is not None:
            self._export(report, sections, output_path, benchmarks)
        self.record.write("finished", stages)
        return Finished(report, folder)

    def _arm(
        self, arm: str, comparability: Comparability, run: Callable[[], A | NotMeasured]
    ) -> A | NotMeasured:
        reason = comparability.refusal(arm)
        return NotMeasured(reason) if reason else run()

    def _run_bench(self) -> BenchmarkResults | NotMeasured:
        return self.bench if isinstance(self.bench, NotMeasured) else self.bench.value()

    def _run_preferences(self) -> PreferenceDeltas | NotMeasured:
        found = self.preferences
        return found if isinstance(found, NotMeasured) else found.rank.value()

    def _run_latents(self) -> LatentFindings | NotMeasured:
        found = self.latents
        return found if isinstance(found, NotMeasured) else latent_findings(self.context, found)

    # ── writing down ─────────────────────────────────────────────────────────────────────

    def _export(
        self,
        report: Report,
        sections: Sequence[ReportSection],
        output_path: Path,
        benchmarks: BenchmarkResults | NotMeasured,
    ) -> None:
        try:
            output_path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"cannot write to --output_path {output_path}: {error.strerror}."
            ) from error
        _write(report, output_path, sections)
        if isinstance(benchmarks, BenchmarkResults):
            from modeldiff_harness.benchmarks.export import export_lm_eval

            export_lm_eval(benchmarks, output_path / "lm_eval")


def _write(report: Report, folder: Path, sections: Sequence[ReportSection]) -> None:
    """Write the report's files; a verdict in `folder` on this very report stays in front."""
    verdict = verdict_of(report, folder)
    write_report(report, folder, with_verdict(verdict, sections) if verdict else sections)


def _device(asked: str) -> str:
    if asked != "auto":
        return asked
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
