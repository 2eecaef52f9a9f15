"""The namespace of `--tasks`: lm-eval's names, ours, and the words of the other two arms."""

from __future__ import annotations

import fnmatch
import hashlib
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeldiff_harness.benchmarks.records import BenchTask, TaskFolder, plain_overrides
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.plugins import Registry, load_registry
from modeldiff_harness.taxonomy import load_taxonomy

if TYPE_CHECKING:
    from modeldiff_harness.benchmarks.lm_eval_adapter import IndexEntry

__all__ = [
    "LATENTS_WORD",
    "OWN_SOURCE",
    "PREFERENCES_WORD",
    "ResolvedTasks",
    "TaskCatalog",
    "TaskRow",
    "TaskSelection",
    "capability_by_name",
    "list_tasks",
    "open_catalog",
    "own_tasks_folder",
    "parse_tasks",
    "stated_metrics",
]

LATENTS_WORD = "model_diff"
"""In `--tasks`: run the latent arm."""
PREFERENCES_WORD = "style_preference"
"""In `--tasks`: run the preference arm."""
OWN_SOURCE = "modeldiff_harness"

_CAPABILITY_BY_PATTERN = (
    ("mmlu*math*", "math_reasoning"),
    ("mmlu_*algebra*", "math_reasoning"),
    ("mmlu_*physics*", "science_technical"),
    ("mmlu_*chemistry*", "science_technical"),
    ("mmlu_*biology*", "science_technical"),
    ("mmlu_*computer*", "science_technical"),
    ("mmlu*", "factual_verification"),
    ("arc_*", "science_technical"),
    ("sciq*", "science_technical"),
    ("gpqa*", "science_technical"),
    ("piqa*", "logical_reasoning"),
    ("csqa*", "logical_reasoning"),
    ("commonsense_qa*", "logical_reasoning"),
    ("hellaswag*", "logical_reasoning"),
    ("winogrande*", "logical_reasoning"),
    ("openbookqa*", "logical_reasoning"),
    ("copa*", "logical_reasoning"),
    ("bbh*", "logical_reasoning"),
    ("gsm8k*", "math_reasoning"),
    ("minerva_math*", "math_reasoning"),
    ("hendrycks_math*", "math_reasoning"),
    ("mgsm*", "multilingual"),
    ("belebele*", "multilingual"),
    ("xnli*", "multilingual"),
    ("wmt*", "translation"),
    ("ifeval*", "instruction_following"),
    ("humaneval*", "code_generation"),
    ("mbpp*", "code_generation"),
    ("truthfulqa*", "hallucination_detection"),
    ("toxigen*", "content_moderation"),
    ("bbq*", "fairness"),
    ("crows_pairs*", "fairness"),
    ("xsum*", "summarization"),
    ("cnn_dailymail*", "summarization"),
    ("squad*", "information_extraction"),
    ("drop*", "information_extraction"),
)
"""Capability of tasks whose YAML does not name one; the first pattern that fits."""


@dataclass(frozen=True)
class TaskSelection:
    """What `--tasks` asks for, arm by arm."""

    benchmarks: tuple[str, ...]
    """Names, groups, tags or globs, as written and without repetitions."""
    latents: bool
    preferences: bool


@dataclass(frozen=True)
class ResolvedTasks:
    """Leaf tasks in the order asked for, and the groups they were reached through."""

    tasks: tuple[BenchTask, ...]
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Group as asked for → names of its leaves."""


@dataclass(frozen=True)
class TaskRow:
    """One line of `mdh tasks`."""

    name: str
    source: str
    kind: str
    """task, group, tag or arm."""
    capability: str | None


def parse_tasks(items: Iterable[str], default: Sequence[str] = ()) -> TaskSelection:
    """Split `--tasks` by comma or space into benchmarks and the words of the other arms.

    Nothing named: all three arms, with `default` as benchmarks.  Something named: only that.
    """
    names = list(dict.fromkeys(n for item in items for n in item.replace(",", " ").split()))
    if not names:
        chosen = parse_tasks(default).benchmarks if default else ()
        return TaskSelection(chosen, latents=True, preferences=True)
    words = {LATENTS_WORD, PREFERENCES_WORD}
    return TaskSelection(
        tuple(name for name in names if name not in words),
        latents=LATENTS_WORD in names,
        preferences=PREFERENCES_WORD in names,
    )


def own_tasks_folder() -> Path:
    """Return the folder of our own tasks: inside the wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "tasks", package.parent / "tasks"):
        if folder.is_dir():
            return folder
    raise UsageError(
        "the tasks folder of modeldiff-harness is missing.", hint="Reinstall modeldiff-harness."
    )


def open_catalog(
    include_path: Iterable[str | Path] = (), *, registry: Registry | None = None
) -> TaskCatalog:
    """Return the catalog of our tasks, the installed suites and the user's folders.

    A `task_suite` whose factory returns None is not installed; its summary says how to get it.
    Raises UsageError for a folder that does not exist or holds a broken file.
    """
    folders = [TaskFolder(own_tasks_folder(), OWN_SOURCE)]
    missing = {}
    registry = registry or load_registry()
    for name, folder in registry.usable("task_suite").items():
        if folder is None:
            missing[name] = registry.find("task_suite", name).component.summary
        else:
            folders.append(TaskFolder(Path(folder), name))
    for path in map(Path, include_path):
        folders.append(TaskFolder(path, path.resolve().name, may_shadow=True))
    return TaskCatalog(folders, missing_suites=missing)


def list_tasks(
    include_path: Iterable[str | Path] = (), *, registry: Registry | None = None
) -> list[TaskRow]:
    """Return the lines of `mdh tasks`."""
    return open_catalog(include_path, registry=registry).rows()


class TaskCatalog:
    """All task names that can be asked for.

    `folders`: included folders, later ones win; lm-eval's own tasks come first.
    `missing_suites`: suites whose data are not installed → what to do, for the error about an
    unknown name.  lm-eval's own index is read only when a name is not found in the folders, or a
    user's folder could shadow one of its tasks.  Raises UsageError that names a broken file.
    """

    def __init__(
        self, folders: Sequence[TaskFolder], *, missing_suites: Mapping[str, str] | None = None
    ) -> None:
        from modeldiff_harness.benchmarks import lm_eval_adapter

        self._adapter = lm_eval_adapter
        self._included: dict[str, tuple[IndexEntry, str]] = {}
        self._shadowed: dict[str, str] = {}
        self._missing_suites = dict(missing_suites or {})
        for folder in folders:
            for name, entry in lm_eval_adapter.scan_folder(
                folder.path, untrusted=folder.may_shadow
            ).items():
                self._include(name, entry, folder)

    def _include(self, name: str, entry: IndexEntry, folder: TaskFolder) -> None:
        known = self._included.get(name)
        if known is not None:
            self._shadowed[name] = known[1]
        elif folder.may_shadow and name in self._adapter.builtin_index():
            self._shadowed[name] = self._adapter.BUILTIN_SOURCE
        self._included[name] = (entry, folder.label)

    def _find(self, name: str) -> tuple[IndexEntry, str] | None:
        if name in self._included:
            return self._included[name]
        entry = self._adapter.builtin_index().get(name)
        return (entry, self._adapter.BUILTIN_SOURCE) if entry else None

    def names(self) -> list[str]:
        """Return every name, sorted: tasks, groups, tags and the words of the other arms."""
        known = {*self._adapter.builtin_index(), *self._included}
        return sorted(known | {LATENTS_WORD, PREFERENCES_WORD})

    def rows(self) -> list[TaskRow]:
        """Return the lines of `mdh tasks`: the other arms, ours, included folders, lm-eval."""
        rows = [
            TaskRow(LATENTS_WORD, OWN_SOURCE, "arm", None),
            TaskRow(PREFERENCES_WORD, OWN_SOURCE, "arm", None),
        ]
        for name, (entry, label) in sorted(self._included.items()):
            rows.append(TaskRow(name, label, entry.kind, self._capability_of(name, entry)))
        for name, entry in sorted(self._adapter.builtin_index().items()):
            if name not in self._included:
                capability = capability_by_name(name) if entry.kind == "task" else None
                rows.append(TaskRow(name, self._adapter.BUILTIN_SOURCE, entry.kind, capability))
        return rows

    def _capability_of(self, name: str, entry: IndexEntry) -> str | None:
        if entry.kind != "task" or entry.path is None:
            return None
        return _capability(name, self._adapter.load_config(entry.path), entry.path)

    def resolve(self, names: Iterable[str]) -> ResolvedTasks:
        """Expand names, globs, groups and tags into leaf tasks, in order and once each.

        Raises UsageError with suggestions for an unknown name, and when two groups want the same
        task with different settings.
        """
        leaves: dict[str, BenchTask] = {}
        groups: dict[str, tuple[str, ...]] = {}
        for asked in names:
            for name in self._matching(asked):
                found = list(self._expand(name, {}, ()))
                if (hit := self._find(name)) is not None and hit[0].kind != "task":
                    groups[name] = tuple(leaf.name for leaf in found)
                for leaf in found:
                    known = leaves.setdefault(leaf.name, leaf)
                    if known.overrides != leaf.overrides:
                        raise UsageError(
                            f"task {leaf.name!r} is asked for with different settings by two"
                            " groups.",
                            hint="Run the groups one after the other.",
                        )
        return ResolvedTasks(tuple(leaves.values()), groups)

    def _matching(self, asked: str) -> list[str]:
        if not any(mark in asked for mark in "*?["):
            return [asked]
        words = (LATENTS_WORD, PREFERENCES_WORD)
        matches = [name for name in fnmatch.filter(self.names(), asked) if name not in words]
        if not matches:
            raise UsageError(f"no task matches {asked!r}.", hint="See `mdh tasks`.")
        return matches

    def _expand(
        self, name: str, overrides: dict[str, Any], trail: tuple[str, ...]
    ) -> Iterator[BenchTask]:
        hit = self._find(name)
        if hit is None:
            where = f" (in group {trail[-1]!r})" if trail else ""
            hints = [did_you_mean(name, self.names())]
            hints += [f"Suite {k!r} is missing: {v}." for k, v in self._missing_suites.items()]
            raise UsageError(f"unknown task {name!r}{where}.", hint=" ".join(hints))
        entry, label = hit
        if name in trail:
            raise UsageError(f"group {name!r} contains itself.", hint="Mend the group's YAML.")
        if entry.kind == "tag":
            for member in entry.members:
                yield from self._expand(member, overrides, (*trail, name))
        elif entry.kind == "group":
            assert entry.path is not None
            config = self._adapter.load_config(entry.path, resolve_functions=True)
            yield from self._expand_group(name, config, overrides, trail, label)
        else:
            yield self._leaf(name, entry, label, overrides)

    def _expand_group(
        self,
        name: str,
        config: dict[str, Any],
        overrides: dict[str, Any],
        trail: tuple[str, ...],
        label: str,
    ) -> Iterator[BenchTask]:
        """As lm-eval: a group's other fields override its members, the caller overrides those."""
        own = {k: v for k, v in config.items() if k not in self._adapter.GROUP_FIELDS}
        merged = {**own, **overrides}
        members = config.get("task")
        if not isinstance(members, list):
            raise UsageError(f"group {name!r} lists no tasks.", hint="Add `task: [NAME, …]`.")
        for member in members:
            if isinstance(member, str):
                yield from self._expand(member, merged, (*trail, name))
                continue
            key = "group" if "group" in member else "task"
            if key not in member:
                raise UsageError(
                    f"group {name!r} has a member without a name: {str(member)[:60]}.",
                    hint="Give it `task: NAME` or `group: NAME`.",
                )
            inline = f"{name}::{member[key]}"
            if self._find(member[key]) is not None:
                rest = {k: v for k, v in member.items() if k != key}
                yield from self._expand(member[key], {**merged, **rest}, (*trail, name))
            elif key == "group":
                yield from self._expand_group(inline, member, merged, (*trail, name), label)
            elif {"dataset_path", "custom_dataset"} & {*merged, *member}:
                yield self._inline_leaf(inline, {**merged, **member, "task": inline}, label)
            else:
                yield from self._expand(member[key], {}, (*trail, name))  # unknown: says so

    def _inline_leaf(self, name: str, config: dict[str, Any], label: str) -> BenchTask:
        """A task that exists only inside its group's file."""
        digest = hashlib.sha256(repr(sorted(plain_overrides(config).items())).encode())
        return BenchTask(
            name=name,
            source=label,
            digest=digest.hexdigest(),
            capability=_capability(name, config, Path(name)),
            overrides=config,
        )

    def _leaf(
        self, name: str, entry: IndexEntry, label: str, overrides: dict[str, Any]
    ) -> BenchTask:
        if entry.path is None:
            raise UsageError(f"task {name!r} has no YAML file.")
        builtin = label == self._adapter.BUILTIN_SOURCE
        config = self._adapter.load_config(entry.path)
        return BenchTask(
            name=name,
            source=label,
            digest=f"lm_eval {self._adapter.version()}" if builtin else _digest(entry.path, config),
            capability=_capability(name, {**config, **overrides}, entry.path),
            overrides=overrides,
            shadows=self._shadowed.get(name, ""),
            config_path=entry.path,
        )


def _capability(name: str, config: dict[str, Any], path: Path) -> str | None:
    metadata = config.get("metadata")
    named = metadata.get("capability") if isinstance(metadata, dict) else None
    if named is None:
        return capability_by_name(name)
    taxonomy = load_taxonomy()
    if named not in taxonomy:
        raise UsageError(
            f"task file {path} names an unknown capability {named!r}.",
            hint=did_you_mean(str(named), taxonomy.keys),
        )
    return str(named)


def stated_metrics(task: BenchTask) -> tuple[str, ...]:
    """Return the metrics that a task's YAML lists; none when it leaves them to lm-eval."""
    from modeldiff_harness.benchmarks import lm_eval_adapter

    inline = task.config_path == Path()
    own = {} if inline else lm_eval_adapter.load_config(task.config_path)
    listed = {**own, **task.overrides}.get("metric_list") or ()
    return tuple(str(m["metric"]) for m in listed if isinstance(m, dict) and "metric" in m)


def capability_by_name(name: str) -> str | None:
    """Return the capability of a well-known task, or None."""
    for pattern, capability in _CAPABILITY_BY_PATTERN:
        if fnmatch.fnmatchcase(name, pattern):
            return capability
    return None


def _digest(path: Path, config: dict[str, Any]) -> str:
    """Digest an included task: its resolved configuration and the other files of its folder.

    Installed packages' folders are cut out of texts, so that one task has one digest everywhere.
    """
    packages = sysconfig.get_paths()["purelib"]
    folder = str(path.parent)
    digest = hashlib.sha256()
    digest.update(repr(_sorted(config)).replace(packages, "").replace(folder, "").encode())
    for file in sorted(path.parent.rglob("*")):
        if file.suffix in {".py", ".jsonl", ".json", ".csv", ".txt", ".parquet"} and file.is_file():
            digest.update(file.relative_to(path.parent).as_posix().encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return [(key, _sorted(value[key])) for key in sorted(value, key=str)]
    if isinstance(value, list):
        return [_sorted(one) for one in value]
    return value
