"""The baseline once more: another batch size, and another seed for what is sampled."""

from __future__ import annotations

import dataclasses

from modeldiff_harness.benchmarks.bench import bench_task
from modeldiff_harness.benchmarks.records import BenchModel, BenchSettings, BenchTask, TaskRun
from modeldiff_harness.contracts import Runtime

__all__ = ["bench_again", "rerun_batch_size"]


def bench_again(
    first: TaskRun,
    task: BenchTask,
    model: BenchModel,
    settings: BenchSettings,
    *,
    number: int,
    runtime: Runtime,
) -> TaskRun:
    """Run `task` again as rerun `number` ≥ 1 of the run `first`; raises as `bench_task`.

    The few-shot seed stays, so that every prompt is the same.
    """
    python, numpy, torch, fewshot = settings.seeds
    again = dataclasses.replace(settings, seeds=(python, numpy, torch + number, fewshot))
    size = rerun_batch_size(first.batch_size or runtime.batch_size, number)
    return bench_task(task, model, again, runtime=dataclasses.replace(runtime, batch_size=size))


def rerun_batch_size(batch_size: int, number: int) -> int:
    """Return the batch size of rerun `number` ≥ 1: another one each time, smaller ones first."""
    halves = [batch_size >> shift for shift in range(1, batch_size.bit_length())]
    others = [size for size in range(batch_size - 1, 0, -1) if size not in halves]
    smaller = [*halves, *others]
    return smaller[number - 1] if number <= len(smaller) else number + 1
