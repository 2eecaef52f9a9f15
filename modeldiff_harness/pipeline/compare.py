"""`compare`: two models' finished results become the benchmark arm of a report.

Imports no torch, no transformers and no lm-eval: the results are read, not made.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from modeldiff_harness import __version__
from modeldiff_harness.artifacts import (
    BenchmarkResults,
    Comparability,
    ComparabilityCheck,
    ImportedResults,
    MeasuredTask,
    ModelIdentity,
    PairReport,
    Provenance,
    Report,
    load_artifact,
    save_artifact,
)
from modeldiff_harness.benchmarks.bounded_files import walk_files
from modeldiff_harness.benchmarks.importers import AUTO, import_results, keep_tasks, require_results
from modeldiff_harness.benchmarks.pairing.group_weights import group_weight_notes
from modeldiff_harness.benchmarks.pairing.measured import pair_measured
from modeldiff_harness.benchmarks.pairing.task import PairingOptions
from modeldiff_harness.clock import timestamp
from modeldiff_harness.contracts import ReportSection
from modeldiff_harness.digests import file_digest
from modeldiff_harness.errors import MdhError, RunError, UsageError
from modeldiff_harness.plugins import Registry, load_registry
from modeldiff_harness.progress import Progress
from modeldiff_harness.report.build.build import build_report
from modeldiff_harness.report.build.inputs import NotMeasured, ReportInputs
from modeldiff_harness.report.render.write import write_report
from modeldiff_harness.store import Store, default_store_folder, read_run

__all__ = [
    "CompareRequest",
    "Comparison",
    "compare",
    "results_of_run",
    "write_comparison",
]

RESULTS_FOLDER = "benchmarks"
"""Below the output folder: the artifact with every item."""
_DEPTH = 4
"""Folders below a result in which its files are looked for."""
_NOT_HERE = "results were imported: only benchmarks are compared"
_UNKNOWN = "not recorded"


@dataclass(frozen=True)
class CompareRequest:
    """What is compared, and how."""

    baseline: Path
    candidate: Path
    reruns: tuple[Path, ...] = ()
    """Reruns of the baseline, for the noise floor."""
    format_in: str = AUTO
    names: tuple[str, str] | None = None
    """What to call the models; None: the names in the results."""
    tasks: tuple[str, ...] = ()
    """Names, groups or patterns; empty: all."""
    metrics: Mapping[str, str] = field(default_factory=dict)
    """Task or group → its primary metric."""
    options: PairingOptions = field(default_factory=PairingOptions)


@dataclass(frozen=True)
class Comparison:
    """A finished comparison."""

    report: Report
    results: BenchmarkResults
    """With every item."""


def compare(
    request: CompareRequest,
    *,
    command: str = "",
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Pair two models' results and report the difference, candidate − baseline.

    Raises UsageError for results that cannot be read, are the same, or have no task in common that
    can be paired.
    """
    began, started = time.monotonic(), timestamp()
    registry = registry or load_registry()
    importers = registry.usable("result_importer", request.format_in)
    read = partial(import_results, importers=importers, format=request.format_in)
    for path in (request.baseline, request.candidate, *request.reruns):
        require_results(path)
    if request.baseline.samefile(request.candidate):
        raise UsageError(
            f"baseline and candidate are the same: {request.baseline}.",
            hint="Give the results of two models.",
        )
    _require_other_reruns(request)
    sides = [read(request.baseline), read(request.candidate)]
    again = [read(path) for path in request.reruns]
    if request.tasks:
        sides = [keep_tasks(side, request.tasks) for side in sides]
    names = request.names or _names(request, sides)
    results = _pair(request, sides, again, names, progress)
    limited = results.limit is not None
    report = build_report(
        ReportInputs(
            pair=PairReport(
                *(_identity(side, name) for side, name in zip(sides, names, strict=True))
            ),
            comparability=Comparability(tuple(_checks(sides, results))),
            benchmarks=results,
            preferences=NotMeasured(_NOT_HERE),
            latents=NotMeasured(_NOT_HERE),
            provenance=Provenance(
                command=command,
                config=_config(request),
                as_passed={},
                versions={"modeldiff-harness": __version__, "python": platform.python_version()},
                machine={"system": platform.system(), "processor": platform.machine()},
                stages=(),
                date=started,
                seconds=time.monotonic() - began,
                smoke=limited,
            ),
        )
    )
    return Comparison(report, results)


def _pair(
    request: CompareRequest,
    sides: Sequence[ImportedResults],
    again: Sequence[ImportedResults],
    names: tuple[str, str],
    progress: Progress | None,
) -> BenchmarkResults:
    left, right = ({task.task: task for task in side.tasks} for side in sides)
    if not left.keys() & right.keys():
        raise UsageError(
            f"the results have no task in common: {_some(left)} and {_some(right)}.",
            hint="Run both models on the same tasks.",
        )
    groups = {
        group: leaves
        for group, leaves in sides[0].groups.items()
        if sides[1].groups.get(group) == leaves and len(leaves) > 1
    }
    reruns: dict[str, list[Callable[[], MeasuredTask]]] = {task: [] for task in left}
    for path, run in zip(request.reruns, again, strict=True):
        if not reruns.keys() & {task.task for task in run.tasks}:
            raise UsageError(
                f"the rerun {path} holds none of the tasks compared, but {_some(_tasks(run))}.",
                hint=f"Compared: {_some(reruns)}.",
            )
        for task in run.tasks:
            if task.task in reruns:
                reruns[task.task].append(partial(_same, task))
    results = pair_measured(
        {task: partial(_same, one) for task, one in left.items()},
        {task: partial(_same, one) for task, one in right.items()},
        progress=progress,
        reruns=reruns,
        groups=groups,
        primary_metrics=request.metrics,
        options=request.options,
    )
    if not results.rows:
        first = results.failures[0]
        more = len(results.failures) - 1
        rest = f" ({more} more tasks likewise)" if more else ""
        said = next((note for side in sides for note in side.notes), "")
        raise UsageError(f"no task can be compared: {first.reason}{rest}", hint=said)
    remarks = [
        f"{name}: {note}" for side, name in zip(sides, names, strict=True) for note in side.notes
    ]
    remarks += group_weight_notes(results.rows, sides, names)
    return replace(
        results,
        notes=tuple(dict.fromkeys([*results.notes, *remarks])),
        task_sources={task.task: task.source for side in sides for task in side.tasks},
        lm_eval_version=_shared(task.harness for task in left.values()),
        seeds=next((task.seeds for task in left.values() if task.seeds), ()),
    )


def _tasks(results: ImportedResults) -> list[str]:
    return [task.task for task in results.tasks]


def _require_other_reruns(request: CompareRequest) -> None:
    """Raise UsageError for a rerun that is one of the results again: it would show no noise.

    A rerun that answers word for word alike is one: only its files must not be copies.
    """
    given = {"the baseline": request.baseline, "the candidate": request.candidate}
    for path in request.reruns:
        for name, other in given.items():
            if path.exists() and other.exists() and _is_copy(path, other):
                raise UsageError(
                    f"the rerun {path} is {name} itself, or a copy: it says nothing about noise.",
                    hint="Run the baseline again and give that folder to --rerun.",
                )
        given[f"the rerun {path}"] = path


def _is_copy(one: Path, other: Path) -> bool:
    """Say whether both are the same place, hold the same files, or one log of a run in common.

    Samples of two runs may be equal; what a run writes about itself has its date and times.
    """
    if one.samefile(other):
        return True
    first, second = (_files(path) for path in (one, other))
    digests = [{file_digest(file) for file in files} for files in (first, second)]
    logs = [{file_digest(file) for file in files if _is_log(file)} for files in (first, second)]
    return (bool(first) and digests[0] == digests[1]) or bool(logs[0] & logs[1])


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else list(walk_files(path, _DEPTH))


def _is_log(file: Path) -> bool:
    return file.suffix == ".eval" or (file.suffix == ".json" and file.name.startswith("results"))


def _same(task: MeasuredTask) -> MeasuredTask:
    return task


def _some(tasks: Iterable[str]) -> str:
    names = sorted(tasks)
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _shared(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(value for value in values if value))


def _names(request: CompareRequest, sides: Sequence[ImportedResults]) -> tuple[str, str]:
    """The models' own names; the folders' where both results give the same."""
    first, second = (side.model for side in sides)
    if first != second:
        return first, second
    folders = request.baseline.resolve().name, request.candidate.resolve().name
    if folders[0] != folders[1]:
        return folders
    return f"{first} (baseline)", f"{second} (candidate)"


def _identity(side: ImportedResults, name: str) -> ModelIdentity:
    """What the results say of the model; a digest is only what they state."""
    facts = side.facts
    template = next((t.chat_template_digest for t in side.tasks if t.chat_template_digest), None)
    return ModelIdentity(
        name=name,
        weights_digest=facts.get("revision", _UNKNOWN),
        adapter_digest=None,
        adapter_scale=1.0,
        dtype=facts.get("dtype", _UNKNOWN),
        architecture=_UNKNOWN,
        n_blocks=0,
        width=0,
        vocab_size=0,
        tokenizer_digest=_UNKNOWN,
        chat_template_digest=template or facts.get("chat_template_digest"),
        source=f"{side.format} results of {side.model}",
    )


def _checks(
    sides: Sequence[ImportedResults], results: BenchmarkResults
) -> Iterable[ComparabilityCheck]:
    """What the results themselves say about whether they can be compared."""
    harness = [_shared(task.harness for task in side.tasks) for side in sides]
    yield _compared("harness", harness[0], harness[1])
    for fact, check in (("dtype", "dtype"), ("backend", "backend")):
        found = [side.facts.get(fact, "") for side in sides]
        if any(found):
            yield _compared(check, found[0], found[1])
    templates = [
        _shared((task.chat_template_digest or "")[:12] for task in side.tasks) for side in sides
    ]
    if any(templates):
        yield _compared("chat_template", templates[0] or "none", templates[1] or "none")
    differ = sum(one.n_prompts_differ for one in results.alignments)
    total = sum(one.n_paired for one in results.alignments)
    if differ:
        detail = f"{differ:,} of {total:,} prompts differ between the models"
        yield ComparabilityCheck("prompts", "warning", detail)
    else:
        yield ComparabilityCheck("prompts", "ok", f"all {total:,} prompts are equal")
    same = all(item.baseline_response == item.candidate_response for item in results.items)
    if results.items and same:
        detail = "every answer is the same: are these two runs of one model?"
        yield ComparabilityCheck("identical_pair", "warning", detail)


def _compared(check: str, left: str, right: str) -> ComparabilityCheck:
    if not left or not right:
        return ComparabilityCheck(check, "skipped", "not recorded for both models")
    if left == right:
        return ComparabilityCheck(check, "ok", left)
    return ComparabilityCheck(
        check, "warning", f"{left} for the baseline, {right} for the candidate"
    )


def _config(request: CompareRequest) -> dict[str, Any]:
    """The request without machine paths."""
    plain = {key: value for key, value in asdict(request).items() if value not in ((), {}, None)}
    plain["baseline"], plain["candidate"] = request.baseline.name, request.candidate.name
    plain["reruns"] = [path.name for path in request.reruns]
    cleaned: dict[str, Any] = json.loads(json.dumps(plain, default=str))
    return cleaned


def write_comparison(
    comparison: Comparison, folder: Path, sections: Sequence[ReportSection]
) -> None:
    """Write the report and, for `mdh flips`, every item into `folder`.

    Raises RunError when it cannot be written.
    """
    try:
        items = folder / RESULTS_FOLDER
        items.mkdir(parents=True, exist_ok=True)
        save_artifact(comparison.results, items)
        write_report(comparison.report, folder, sections)
    except OSError as error:
        raise RunError(
            f"cannot write to --output_path {folder}: {error.strerror}.",
            hint="Give a folder that can be written.",
        ) from error


def results_of_run(folder: Path, store_folder: Path | None = None) -> BenchmarkResults:
    """Return every benchmark item of a finished run or of a written comparison.

    Raises UsageError when the run has no benchmarks, or its items are no longer in the store.
    """
    beside = folder / RESULTS_FOLDER
    if (beside / "artifact.json").is_file():
        return load_artifact(BenchmarkResults, beside)
    try:
        found = read_run(folder / "run.json").artifacts.get("benchmarks")
    except RunError as error:
        raise UsageError(
            f"{folder} holds no items of a finished run: {error.message}",
            hint="Name a run of `mdh runs`, a folder written by `mdh compare`, or two results.",
        ) from None
    if not found:
        raise UsageError(
            f"the run {folder.name} has no finished benchmarks.", hint="See `mdh runs`."
        )
    place = Store(store_folder or default_store_folder()).folder(found.verb, found.key)
    try:
        return load_artifact(BenchmarkResults, place)
    except MdhError as error:
        raise UsageError(
            f"the items of run {folder.name} are not in the store: {error.message}",
            hint="Run the comparison again; finished work is reused.",
        ) from error
