"""The check of `task_suite`."""

from __future__ import annotations

from pathlib import Path

from modeldiff_harness.contracts import TaskSuite
from modeldiff_harness.testing.checks.rules import Subject

__all__ = ["check_task_suite"]


def check_task_suite(factory: TaskSuite, *, name: str | None = None) -> None:
    """Check a suite of tasks; where its data are not installed, only that it says so twice.

    types: a folder or None; tasks: lm-eval's own index finds at least one task, no name twice;
    determinism: the same folder each time.  Raises CheckFailed.
    """
    subject = Subject("task_suite", factory, name)
    folder = subject.make()
    subject.require("determinism", subject.make() == folder, "two calls give two folders")
    if folder is None:
        return
    subject.require("types", isinstance(folder, Path), f"{folder!r} is no Path, nor None")
    subject.require("types", folder.is_dir(), f"{folder} is no folder")
    from modeldiff_harness.benchmarks.lm_eval_adapter import scan_folder

    with subject.rule("tasks"):
        tasks = scan_folder(folder)
    subject.require("tasks", tasks, f"{folder} holds no task")
