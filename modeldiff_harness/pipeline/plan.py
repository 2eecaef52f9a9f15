"""What a run would do: read from the graph of stages, without doing any of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from modeldiff_harness.pipeline.arms.arm import Arm
from modeldiff_harness.stages import Stage
from modeldiff_harness.store import existing_folder

__all__ = ["Plan", "PlanRow", "ordered_stages", "plan_run"]


@dataclass(frozen=True)
class PlanRow:
    """One stage of a plan."""

    verb: str
    title: str
    estimate: str
    state: str
    """in store or to do."""


@dataclass(frozen=True)
class Plan:
    """What a run would do."""

    rows: tuple[PlanRow, ...]
    lines: tuple[str, ...]
    """Memory, disk, what is left out and why."""


def plan_run(stages: Sequence[Stage[Any]], arms: Iterable[Arm], store: Path, device: str) -> Plan:
    """Return the plan of a run over these stages and arms."""
    memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(existing_folder(store)))
    lines = [
        f"store: {store} ({disk.free / 2**30:,.0f} GiB free)",
        f"memory: {memory.available / 2**30:,.1f} GiB available; device {device}",
    ]
    for arm in arms:
        lines += arm.plan_lines()
    rows = (
        PlanRow(s.verb, s.title, s.estimate, "in store" if s.ready() else "to do") for s in stages
    )
    return Plan(tuple(rows), tuple(lines))


def ordered_stages(ends: Iterable[Stage[Any]]) -> list[Stage[Any]]:
    """Return every stage that `ends` rest on, what is read before what reads it, once each."""
    ordered: dict[str, Stage[Any]] = {}

    def visit(stage: Stage[Any]) -> None:
        for parent in stage.parents:
            visit(parent)
        ordered.setdefault(stage.key, stage)

    for end in ends:
        visit(end)
    return list(ordered.values())
