"""Results of lm-evaluation-harness: a folder written with --log_samples.

    MODEL/results_<stamp>.json
    MODEL/samples_<task>_<stamp>.jsonl

Of several runs in one folder the newest of each task is taken.  Also read are `.json` and `.gz`
names, `<stamp>_samples_<task>`, and what versions 0.4.0 to 0.4.2 wrote: `results.json` and a list
`<model arguments>_<task>.jsonl` a task.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import ImportedResults, MeasuredTask
from modeldiff_harness.benchmarks.bounded_files import read_head, read_json, walk_files
from modeldiff_harness.benchmarks.directions import stated_directions
from modeldiff_harness.benchmarks.sample_files import safe_file_name
from modeldiff_harness.benchmarks.samples import LM_EVAL_FAULTS, RowLayout, read_samples
from modeldiff_harness.benchmarks.tasks import capability_by_name
from modeldiff_harness.clean_text import clean_text, clean_texts
from modeldiff_harness.errors import UsageError

__all__ = ["create"]

_STAMP = r"\d{4}-\d\d-\d\dT[\d.:-]+"
_SAMPLES = re.compile(
    rf"((?P<first>{_STAMP})_)?samples_(?P<task>.+?)(_(?P<stamp>{_STAMP}))?\.jsonl?(\.gz)?"
)
_RESULTS = re.compile(rf"((?P<first>{_STAMP})_)?.+?(_(?P<stamp>{_STAMP}))?\.json(\.gz)?")
"""`results_<stamp>.json`; with `--output_path x.json` it is `x_<stamp>.json`."""
_LIST_OF_SAMPLES = re.compile(rb'\s*\[\s*\{\s*"doc_id"')
"""How the sample files of 0.4.0 to 0.4.2 begin, which no pattern of a name tells."""
_DEPTH = 3
_SEEDS = ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed")
_FACTS = {
    "model_source": "source",
    "model_sha": "revision",
    "chat_template_sha": "chat_template_digest",
    "date": "date",
    "git_hash": "lm_eval_commit",
}
_MOST = 1e300
_MODEL_ARGUMENTS = ("peft", "delta", "revision", "subfolder", "gguf_file")
"""What makes another model of one name."""


class LmEvalResults:
    """Reads the layout of lm-eval's result files."""

    def recognises(self, path: Path) -> bool:
        """Say whether there are sample files, or result files of lm-eval."""
        try:
            if path.is_file():
                return _is_samples(path) or _is_results(path)
            return any(_is_samples(file) or _is_results(file) for file in walk_files(path, _DEPTH))
        except (OSError, UsageError):
            return False

    def read(self, path: Path) -> ImportedResults:
        """Read the one model at `path`: its folder, a folder above it, or one of its files."""
        if not path.exists():
            raise UsageError(f"there are no results at {path}.")
        if path.is_file() and _is_samples(path):
            return _read(path.parent, [path], one_run=True)
        folder = path.parent if path.is_file() else _model_folder(path)
        files = [file for file in walk_files(folder, 0) if _is_samples(file)]
        if path.is_file():
            stamp = _stamp(_RESULTS, path.name)
            files = [file for file in files if _stamp(_SAMPLES, file.name) == stamp]
        if not files:
            raise UsageError(
                f"{path} holds results of lm-eval but no samples.",
                hint="Run lm_eval with --log_samples.",
            )
        return _read(folder, files, one_run=path.is_file())


create = LmEvalResults


def _is_samples(file: Path) -> bool:
    if _SAMPLES.fullmatch(file.name):
        return True
    return _is_list(file)


def _is_list(file: Path) -> bool:
    """Whether it is a list of samples that its name does not tell."""
    named = file.name.endswith((".jsonl", ".json"))
    return named and _LIST_OF_SAMPLES.match(read_head(file, 4096)) is not None


def _is_results(file: Path) -> bool:
    if not _RESULTS.fullmatch(file.name) or _SAMPLES.fullmatch(file.name):
        return False
    head = read_head(file, 400_000)
    return any(mark in head for mark in (b'"n-shot"', b'"group_subtasks"', b'"lm_eval_version"'))


def _stamp(pattern: re.Pattern[str], name: str) -> str:
    match = pattern.fullmatch(name)
    return (match["stamp"] or match["first"] or "") if match else ""


def _model_folder(path: Path) -> Path:
    """Return the one folder at or below `path` that holds sample files."""
    found = {file.parent for file in walk_files(path, _DEPTH) if _is_samples(file)}
    if len(found) > 1:
        names = ", ".join(sorted(str(folder.relative_to(path)) for folder in found)[:8])
        raise UsageError(f"{path} holds the results of several models.", hint=f"Name one: {names}.")
    return found.pop() if found else path


@dataclass(frozen=True)
class _SampleFile:
    """One task's samples of one run."""

    path: Path
    task: str
    """As the file's name has it."""
    stamp: str
    model: str = ""
    """What 0.4.0 to 0.4.2 put before the task."""


def _read(folder: Path, files: Sequence[Path], *, one_run: bool) -> ImportedResults:
    documents = _documents(folder)
    stamps = {_stamp(_SAMPLES, file.name) for file in files}
    if one_run and stamps & documents.keys():
        documents = {stamp: one for stamp, one in documents.items() if stamp in stamps}
    found = [_sample_file(file, documents) for file in files]
    _require_one_model(folder, found, documents)
    newest: dict[str, _SampleFile] = {}
    for one in found:
        known = newest.get(one.task)
        if known is not None and one.stamp == known.stamp:
            raise UsageError(
                f"{folder} holds two sample files of one run of {one.task!r}:"
                f" {known.path.name} and {one.path.name}.",
                hint="Keep one.",
            )
        if known is None or one.stamp > known.stamp:
            newest[one.task] = one
    tasks, groups, printed, notes = [], {}, {}, []
    for one in newest.values():
        document = _document_of(one, documents)
        if not document:
            notes.append(f"{one.task}: no results file beside its samples; directions are assumed")
        tasks.append(_task(one, document))
        for group, leaves in _groups(document).items():
            groups[group] = leaves
            printed[group] = _printed(_mapping(_of_task(document, group, "results")))
    if len(newest) < len(files):
        notes.append(f"{folder.name}: several runs; the newest of each task is read")
    present = {task.task for task in tasks}
    groups = {group: leaves for group, leaves in groups.items() if set(leaves) <= present}
    last = documents[max(documents)] if documents else {}
    return ImportedResults(
        model=str(last.get("model_name") or _model(last) or folder.name),
        format="lm-eval",
        tasks=tuple(tasks),
        groups=groups,
        printed_groups={group: printed[group] for group in groups},
        facts=_model_facts(last),
        notes=tuple(notes),
        raw=last,
    )


def _documents(folder: Path) -> dict[str, dict[str, Any]]:
    """Stamp → results file."""
    found: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}
    for file in walk_files(folder, 0):
        match = _RESULTS.fullmatch(file.name)
        if not match or _is_samples(file):
            continue
        if not (file.name.startswith("results") or _is_results(file)):
            continue
        document = read_json(file)
        if not isinstance(document, dict) or not isinstance(document.get("results"), dict):
            raise UsageError(f"{file} is not a results file of lm-eval: it has no results.")
        stamp = match["stamp"] or match["first"] or ""
        if stamp in found:
            raise UsageError(
                f"{folder} holds two results files of one run: {names[stamp]} and {file.name}.",
                hint="Keep one, or give each run a folder.",
            )
        names[stamp] = file.name
        try:
            found[stamp] = clean_texts(document)
        except ValueError as error:
            raise UsageError(f"{file} is not a results file of lm-eval: {error}.") from error
    return found


def _sample_file(file: Path, documents: Mapping[str, dict[str, Any]]) -> _SampleFile:
    match = _SAMPLES.fullmatch(file.name)
    if match is not None:
        stamp = match["stamp"] or match["first"] or ""
        return _SampleFile(file, clean_text(match["task"]), stamp)
    stem = file.name.rpartition(".")[0]
    tasks = {task for document in documents.values() for task in document["results"]}
    fitting = [t for t in tasks if stem == safe_file_name(t) or stem.endswith(f"_{t}")]
    if not fitting:
        raise UsageError(
            f"{file} is a list of samples as lm-eval 0.4.0 to 0.4.2 wrote it, and no results file"
            " beside it names its task.",
            hint="Put the run's results.json beside it.",
        )
    task = max(fitting, key=len)
    return _SampleFile(file, task, "", stem.removesuffix(task).removesuffix("_"))


def _require_one_model(
    folder: Path, files: Iterable[_SampleFile], documents: Mapping[str, dict[str, Any]]
) -> None:
    told = [name for name in map(_model, documents.values()) if name]
    revisions = [str(one["model_sha"]) for one in documents.values() if one.get("model_sha")]
    for names in (told, revisions, [file.model for file in files if file.model]):
        distinct = list(dict.fromkeys(names))
        if len(distinct) > 1:
            raise UsageError(
                f"{folder} holds the results of several models: {', '.join(distinct[:8])}.",
                hint="Give each model a folder, or name the results file of one run.",
            )


def _model(document: Mapping[str, Any]) -> str:
    """The model with what makes another one of it, empty where the file does not say."""
    arguments = _model_arguments(_mapping(document.get("config")).get("model_args"))
    name = document.get("model_name") or arguments.get("pretrained") or arguments.get("model") or ""
    told = [f"{key}={arguments[key]}" for key in _MODEL_ARGUMENTS if arguments.get(key)]
    told = [one for one in told if one not in ("revision=main", f"peft={name}", f"delta={name}")]
    return f"{name} ({', '.join(told)})" if told else str(name)


def _model_arguments(value: Any) -> Mapping[str, Any]:
    """A mapping, or the text "pretrained=…,revision=…" as a mapping."""
    if not isinstance(value, str):
        return _mapping(value)
    pairs = (part.partition("=") for part in value.split(","))
    return {key.strip(): text.strip() for key, _, text in pairs}


def _document_of(file: _SampleFile, documents: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The results file of the run a sample file belongs to, else the newest with this task."""
    order = sorted(documents, key=lambda one: (one == file.stamp, one), reverse=True)
    for one in order:
        if _full_name(file.task, documents[one]) is not None:
            return documents[one]
    return {}


def _full_name(name: str, document: Mapping[str, Any]) -> str | None:
    """The task's name before it became part of a file's name."""
    for task in document["results"]:
        if name in (task, safe_file_name(task), safe_file_name(task, shorten=False)):
            return str(task)
    return None


def _task(file: _SampleFile, document: dict[str, Any]) -> MeasuredTask:
    task = (_full_name(file.task, document) if document else None) or file.task
    look = partial(_of_task, document, task)
    config, own = _mapping(look("configs")), _mapping(_own(document).get(task))
    metadata = _mapping(config.get("metadata"))
    run = _mapping(document.get("config"))
    printed = _printed(_mapping(look("results")))
    samples = read_samples(file.path, _layout(printed, document))
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
        higher_is_better=stated_directions(_mapping(look("higher_is_better")), task),
        aggregations=_aggregations(config, own),
        cluster_field=_text(own.get("cluster_field") or metadata.get("cluster_field")),
        seeds=_seeds(run, own),
        harness=f"lm-eval {document.get('lm_eval_version', 'of unknown version')}",
        chat_template_digest=_text(
            own.get("chat_template_digest") or document.get("chat_template_sha")
        ),
        printed=printed,
        faults_recorded=LM_EVAL_FAULTS if generated else (),
        source=_text(own.get("source")) or "lm_eval",
    )


def _layout(printed: Mapping[str, float], document: Mapping[str, Any]) -> RowLayout:
    """What the results file knows of rows that do not name their filter and metrics."""
    metrics: dict[str, tuple[str, ...]] = {}
    for key in printed:
        metric, _, name = key.rpartition(",")
        if not metric.endswith("_stderr"):
            metrics[name] = (*metrics.get(name, ()), metric)
    version = str(document.get("lm_eval_version") or "before 0.4.7")[:20]
    return RowLayout(tuple(metrics), metrics, version) if metrics else RowLayout(version=version)


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
    found = {str(key): _number(value) for key, value in results.items() if "," in str(key)}
    return {key: value for key, value in found.items() if value is not None}


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
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > _MOST:
        return None
    return float(value)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
