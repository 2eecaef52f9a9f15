"""The check of `result_importer`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from modeldiff_harness.artifacts import ImportedResults, MeasuredTask, TaskSample
from modeldiff_harness.contracts import ResultImporter
from modeldiff_harness.testing.checks.files import check_recognition, left_as_it_was
from modeldiff_harness.testing.checks.rules import Subject

__all__ = ["check_importer"]


def check_importer(
    factory: Callable[[], ResultImporter],
    *,
    path: Path,
    others: Sequence[Path] = (),
    name: str | None = None,
) -> None:
    """Check an importer of results on `path`, a file or folder of its format.

    recognises: `path`, not `others`, nor what is missing, empty, binary or broken, and it never
    raises; refusals: of those, `read` says UsageError; results: a model, tasks with samples, each
    identified once, all values numbers; reading: files are left as they were; determinism.
    Raises CheckFailed.
    """
    subject = Subject("result_importer", factory, name)
    importer = subject.make()
    with left_as_it_was(subject, path):
        check_recognition(subject, importer.recognises, importer.read, path, others)
        with subject.rule("results"):
            results = importer.read(path)
        with subject.rule("determinism"):
            again = subject.make().read(path)
    subject.require("results", isinstance(results, ImportedResults), f"{results!r:.80}")
    subject.require("results", results.model and results.format, "no model or no format")
    subject.require("results", results.tasks, "no task")
    for task in results.tasks:
        _check_task(subject, task)
    names = [task.task for task in results.tasks]
    subject.require("results", len(names) == len(set(names)), f"tasks repeat: {names}")
    # NaN stays NaN and is not equal to itself: compare what is written
    subject.require("determinism", repr(_plain(results)) == repr(_plain(again)), "two reads differ")


def _check_task(subject: Subject, task: MeasuredTask) -> None:
    where = f"task {getattr(task, 'task', task)!r}"
    subject.require("results", isinstance(task, MeasuredTask), f"{where} is no MeasuredTask")
    samples = list(task.samples)
    subject.require("results", samples, f"{where} has no sample")
    keys = set()
    for sample in samples:
        right = isinstance(sample, TaskSample)
        subject.require("results", right, f"{where}: {sample!r:.80} is no TaskSample")
        numbers = all(isinstance(v, int | float) for v in sample.values.values())
        subject.require("results", numbers, f"{where}: values of {sample.doc_id} are no numbers")
        keys.add((sample.key, sample.filter, sample.repeat))
    subject.require("results", len(keys) == len(samples), f"{where}: an item stands there twice")
    measured = any(sample.values or sample.parts for sample in samples)
    subject.require("results", measured, f"{where} has no metric")


def _plain(results: ImportedResults) -> list[object]:
    return [
        (task.task, sample.key, sample.filter, sample.repeat, sorted(sample.values.items()))
        for task in results.tasks
        for sample in task.samples
    ]
