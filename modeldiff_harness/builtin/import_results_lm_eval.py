"""Results of lm-evaluation-harness: a folder written with --log_samples.

    MODEL/results_<stamp>.json
    MODEL/samples_<task>_<stamp>.jsonl

Of several runs in one folder the newest of each task is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import ImportedResults, MeasuredTask
from modeldiff_harness.benchmarks.bounded_files import read_json, walk_files
from modeldiff_harness.benchmarks.sample_files import safe_file_name
from modeldiff_harness.benchmarks.samples import LM_EVAL_FAULTS, read_samples
from modeldiff_harness.benchmarks.tasks import capability_by_name
from modeldiff_harness.errors import UsageError

__all__ = ["create"]

_STAMP = r"\d{4}-\d\d-\d\dT[\d.:-]+"
_SAMPLES = re.compile(rf"samples_(?P<task>.+?)(_(?P<stamp>{_STAMP}))?\.jsonl")
_RESULTS = re.compile(rf".+?(_(?P<stamp>{_STAMP}))?\.json")
"""`results_<stamp>.json`; with `--output_path x.json` it is `x_<stamp>.json`."""
_DEPTH = 3
_SEEDS = ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed")
_FACTS = {
    "model_source": "source",
    "model_sha": "revision",
    "chat_template_sha": "chat_template_digest",
    "date": "date",
    "git_hash": "lm_eval_commit",
}


class LmEvalResults:
    """Reads the layout of lm-eval's result files."""

    def recognises(self, path: Path) -> bool:
        """Say whether there are sample files, or result files of lm-eval."""
        try:
            if path.is_file():
                return bool(_SAMPLES.fullmatch(path.name)) or _is_results(path)
            return any(
                _SAMPLES.fullmatch(file.name) or _is_results(file)
                for file in walk_files(path, _DEPTH)
            )
        except (OSError, UsageError):
            return False

    def read(self, path: Path) -> ImportedResults:
        """Read the one model at `path`: its folder, a folder above it, or one of its files."""
        if not path.exists():
            raise UsageError(f"there are no results at {path}.")
        if path.is_file() and _SAMPLES.fullmatch(path.name):
            return _read(path.parent, [path])
        folder = path.parent if path.is_file() else _model_folder(path)
        files = [file for file in sorted(folder.iterdir()) if _SAMPLES.fullmatch(file.name)]
        if path.is_file():
            stamp = _stamp(_RESULTS, path.name)
            files = [file for file in files if _stamp(_SAMPLES, file.name) == stamp]
        if not files:
            raise UsageError(
                f"{path} holds results of lm-eval but no samples.",
                hint="Run lm_eval with --log_samples.",
            )
        return _read(folder, files)


create = LmEvalResults


def _is_results(file: Path) -> bool:
    if not _RESULTS.fullmatch(file.name):
        return False
    with file.open("rb") as stream:
        head = stream.read(400_000)
    return any(mark in head for mark in (b'"n-shot"', b'"group_subtasks"', b'"lm_eval_version"'))


def _stamp(pattern: re.Pattern[str], name: str) -> str:
    match = pattern.fullmatch(name)
    return (match["stamp"] or "") if match else ""


def _model_folder(path: Path) -> Path:
    """Return the one folder at or below `path` that holds sample files."""
    found = {file.parent for file in walk_files(path, _DEPTH) if _SAMPLES.fullmatch(file.name)}
    if len(found) > 1:
        names = ", ".join(sorted(str(folder.relative_to(path)) for folder in found)[:8])
        raise UsageError(f"{path} holds the results of several models.", hint=f"Name one: {names}.")
    return found.pop() if found else path


def _read(folder: Path, files: list[Path]) -> ImportedResults:
    documents = _documents(folder)
    newest: dict[str, tuple[str, Path]] = {}
    for file in files:
        match = _SAMPLES.fullmatch(file.name)
        assert match is not None
        stamp = match["stamp"] or ""
        if match["task"] not in newest or stamp > newest[match["task"]][0]:
            newest[match["task"]] = stamp, file
    tasks, groups, notes = [], {}, []
    for name, (stamp, file) in newest.items():
        document = _document_of(name, stamp, documents)
        if not document:
            notes.append(f"{name}: no results file beside its samples; directions are assumed")
        tasks.append(_task(name, file, document))
        for group, leaves in _groups(document).items():
            groups[group] = leaves
    if len(newest) < len(files):
        notes.append(f"{folder.name}: several runs; the newest of each task is read")
    present = {task.task for task in tasks}
    last = documents[max(documents)] if documents else {}
    return ImportedResults(
        model=str(last.get("model_name") or folder.name),
        format="lm-eval",
        tasks=tuple(tasks),
        groups={group: leaves for group, leaves in groups.items() if set(leaves) <= present},
        facts=_model_facts(last),
        notes=tuple(notes),
        raw=last,
    )


def _documents(folder: Path) -> dict[str, dict[str, Any]]:
    """Stamp → results file."""
    found = {}
    for file in sorted(folder.iterdir()):
        match = _RESULTS.fullmatch(file.name)
        if match and (file.name.startswith("results") or _is_results(file)):
            document = read_json(file)
            if not isinstance(document, dict) or not isinstance(document.get("results"), dict):
                raise UsageError(f"{file} is not a results file of lm-eval: it has no results.")
            found[match["stamp"] or ""] = document
    return found


def _document_of(name: str, stamp: str, documents: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The results file of the run a sample file belongs to, else the newest with this task."""
    order = sorted(documents, key=lambda one: (one == stamp, one), reverse=True)
    for one in order:
        if _full_name(name, documents[one]) is not None:
            return documents[one]
    return {}


def _full_name(name: str, document: Mapping[str, Any]) -> str | None:
    """The task's name before it became part of a file's name."""
    return next((t for t in document["results"] if safe_file_name(t) == name or t == name), None)


def _task(name: str, file: Path, document: dict[str, Any]) -> MeasuredTask:
    task = (_full_name(name, document) if document else None) or name
    look = partial(_of_task, document, task)
    config, own = _mapping(look("configs")), _mapping(_own(document).get(task))
    metadata = _mapping(config.get("metadata"))
    run = _mapping(document.get("config"))
    samples = read_samples(file)
    generated = config.get("output_type") == "generate_until" or bool(samples.faults)
    version = look("versions")
    return MeasuredTask(
        task=task,
        samples=samples,
        version="" if version is None else str(version),
        num_fewshot=_whole(look("n-shot")),
        limit=_limit(run.get("limit", own.get("limit")), _mapping(look("n-samples"))),
        n_items=_whole(_mapping(look("n-samples")).get("effective")),
        capability=_text(own.get("capability") or metadata.get("capability"))
        or capability_by_name(task),
        higher_is_better={
            str(metric): up if isinstance(up, bool) else None
            for metric, up in _mapping(look("higher_is_better")).items()
        },
        aggregations=_aggregations(config, own),
        cluster_field=_text(own.get("cluster_field") or metadata.get("cluster_field")),
        seeds=_seeds(run, own),
        harness=f"lm-eval {document.get('lm_eval_version', 'of unknown version')}",
        chat_template_digest=_text(
            own.get("chat_template_digest") or document.get("chat_template_sha")
        ),
        printed=_printed(_mapping(look("results"))),
        faults_recorded=LM_EVAL_FAULTS if generated else (),
        source=_text(own.get("source")) or "lm_eval",
    )


def _of_task(document: Mapping[str, Any], task: str, section: str) -> Any:
    return _mapping(document.get(section)).get(task)


def _own(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `mdh evaluate` adds to the file: how each task was paired."""
    return _mapping(_mapping(document.get("modeldiff_harness")).get("tasks"))


def _aggregations(config: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, str]:
    stated = {str(metric): str(name) for metric, name in _mapping(own.get("aggregations")).items()}
    if stated:
        return stated
    listed = config.get("metric_list")
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("aggregation"), str):
            # A function is written as "<function agg at 0x…>" or as its source: keep its name.
            named = re.search(r"(?:function|def) (\w+)", entry["aggregation"])
            stated[str(entry.get("metric"))] = named[1] if named else entry["aggregation"]
    return stated


def _seeds(run: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[int, ...]:
    listed = own.get("seeds")
    found = listed if isinstance(listed, list) else [run.get(name) for name in _SEEDS]
    whole = [seed for seed in map(_whole, found) if seed is not None]
    return tuple(whole) if len(whole) == len(found) else ()


def _printed(results: Mapping[str, Any]) -> dict[str, float]:
    return {
        str(key): float(value)
        for key, value in results.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and "," in str(key)
    }


def _groups(document: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Group → its leaves, through groups of groups."""
    listed = _mapping(document.get("group_subtasks"))

    def leaves(name: str, trail: tuple[str, ...]) -> list[str]:
        members = listed.get(name)
        if not isinstance(members, list) or not members or name in trail:
            return [name]
        return [leaf for member in members for leaf in leaves(str(member), (*trail, name))]

    return {
        str(group): tuple(dict.fromkeys(leaves(str(group), ())))
        for group, members in listed.items()
        if isinstance(members, list) and members
    }


def _model_facts(document: Mapping[str, Any]) -> dict[str, str]:
    facts = {
        name: str(document[key]) for key, name in _FACTS.items() if document.get(key) is not None
    }
    run = _mapping(document.get("config"))
    for key, name in (("model_dtype", "dtype"), ("model_sha", "revision"), ("model", "backend")):
        if run.get(key) not in (None, ""):
            facts[name] = str(run[key])
    return facts


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _limit(stated: Any, counts: Mapping[str, Any]) -> float | None:
    """The limit as stated, else as the numbers of items before and after betray it."""
    if (limit := _number(stated)) is not None:
        return limit
    effective, original = _number(counts.get("effective")), _number(counts.get("original"))
    limited = effective is not None and original is not None and effective < original
    return effective if limited else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value is not True else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
