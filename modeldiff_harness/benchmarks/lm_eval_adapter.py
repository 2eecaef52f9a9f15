"""The border to lm-eval: nothing else imports it, and its shapes do not leave this file.

Index     `builtin_index`, `scan_folder`, `load_config`: which names exist, without building them
Run       `run_task`: one task, one model; results and sample rows in lm-eval's own layout
Words     `markdown_table`, `aggregation`, `model_names`, `version`

Written against lm-eval 0.4.13; the bridge to plugin entry points steps aside where lm-eval has its
own (`registry.import_plugins`).
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import importlib.metadata
import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Built-in models vanish from the registry when a plugin registers before this import.
import lm_eval.models
import lm_eval.tasks
import numpy as np
from lm_eval.api import registry
from lm_eval.config.group import GroupConfig
from lm_eval.evaluator import evaluate
from lm_eval.tasks._index import Kind, TaskIndex
from lm_eval.tasks._yaml_loader import load_yaml
from lm_eval.utils import handle_non_serializable, make_table, sanitize_list, set_torch_seed

from modeldiff_harness.benchmarks.lm_eval_surroundings import (
    counted_requests,
    hub_switched_off,
    quiet,
    without_bars,
)
from modeldiff_harness.benchmarks.records import BenchModel, BenchSettings, BenchTask
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import MdhError, RunError, UsageError, did_you_mean
from modeldiff_harness.store import default_store_folder, write_atomically

__all__ = [
    "BUILTIN_SOURCE",
    "GROUP_FIELDS",
    "IndexEntry",
    "RawRun",
    "aggregation",
    "builtin_index",
    "load_config",
    "markdown_table",
    "model_names",
    "run_task",
    "scan_folder",
    "version",
]

BUILTIN_SOURCE = "lm_eval"
GROUP_FIELDS = frozenset(GroupConfig.__dataclass_fields__)
"""Keys of a group's YAML that are the group's own; all others override its members."""
_PLUGIN_GROUPS = {
    "lm_eval.models": registry.model_registry,
    "lm_eval.filters": registry.filter_registry,
    "lm_eval.metrics": registry.metric_registry,
    "lm_eval.aggregations": registry.aggregation_registry,
}
_TASKS_FOLDER = Path(lm_eval.tasks.__file__).parent


def version() -> str:
    """Return lm-eval's version."""
    return importlib.metadata.version("lm_eval")


# ── index ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class IndexEntry:
    """A name that a YAML file defines."""

    name: str
    kind: str
    """task, group or tag."""
    path: Path | None
    """The YAML file; None for tags."""
    members: tuple[str, ...] = ()
    """Tasks of a tag."""


def load_config(path: Path, *, resolve_functions: bool = False) -> dict[str, Any]:
    """Read a task or group YAML with its includes; raises UsageError that names the file."""
    try:
        config: dict[str, Any] = load_yaml(path, resolve_func=resolve_functions)
    except Exception as error:  # YAML, include, import: all mean that this file is unusable
        raise UsageError(
            f"task file {path} cannot be read: {_first_line(error)}.", hint="Mend the file."
        ) from error
    return config


def scan_folder(folder: Path) -> dict[str, IndexEntry]:
    """Index an included folder; unlike lm-eval, a broken or duplicate definition is an error.

    Files without `task`, `group` or `class` are fragments for `include:` and are passed over.
    Raises UsageError that names the file.
    """
    if not folder.is_dir():
        raise UsageError(f"task folder {folder} does not exist.", hint="Check --include_path.")
    index: dict[str, Any] = {}
    for path in TaskIndex._iter_yaml_files(folder):
        config = load_config(path)
        if not {"task", "group", "class"} & set(config):
            continue
        name = config["group"] if "group" in config and "class" not in config else None
        name = name or config.get("task")
        if not isinstance(name, str):
            raise UsageError(f"task file {path} does not name its task.", hint="Add `task: NAME`.")
        known = index.get(name)
        if known is not None and known.yaml_path is not None:
            raise UsageError(
                f"task {name!r} is defined twice: in {known.yaml_path} and {path}.",
                hint="Rename one of them.",
            )
        TaskIndex.process_cfg(config, path, index)
    return {name: _entry(entry) for name, entry in index.items()}


def builtin_index() -> dict[str, IndexEntry]:
    """Index lm-eval's own tasks; kept on disk, since reading them takes 10 seconds."""
    return _builtin_index(default_store_folder() / "lm_eval")


@functools.cache
def _builtin_index(cache: Path) -> dict[str, IndexEntry]:
    path = cache / f"index-{_installation_digest()}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return {
            name: IndexEntry(name, kind, _TASKS_FOLDER / file if file else None, tuple(members))
            for name, (kind, file, members) in json.loads(path.read_text("utf-8")).items()
        }
    with quiet():
        index = {k: _entry(e) for k, e in TaskIndex.build([_TASKS_FOLDER]).items()}
    plain = {
        name: (e.kind, e.path.relative_to(_TASKS_FOLDER).as_posix() if e.path else "", e.members)
        for name, e in index.items()
    }
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
        cache.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(plain))
    return index


def _installation_digest() -> str:
    """Digest of lm-eval's installed file list, or of its task files in an editable install."""
    distribution = importlib.metadata.distribution("lm_eval")
    record = distribution.read_text("RECORD") or ""
    editable = '"editable": true' in (distribution.read_text("direct_url.json") or "")
    if editable or not record:
        stats = ((p, p.stat()) for p in sorted(_TASKS_FOLDER.rglob("*.yaml")))
        record = "\n".join(f"{p} {s.st_mtime_ns} {s.st_size}" for p, s in stats)
    return hashlib.sha256(f"{version()}\n{record}".encode()).hexdigest()[:16]


def _entry(entry: Any) -> IndexEntry:
    kinds = {Kind.GROUP: "group", Kind.TAG: "tag"}
    kind = kinds.get(entry.kind, "task")
    members = tuple(sorted(entry.tags)) if kind == "tag" else ()
    return IndexEntry(entry.name, kind, entry.yaml_path, members)


# ── plugins and words ────────────────────────────────────────────────────────────────────────


@functools.cache
def _register_plugins() -> None:
    """Register entry points of lm-eval's plugin groups, which 0.4.13 does not look for."""
    if hasattr(registry, "import_plugins"):
        return
    for group, target in _PLUGIN_GROUPS.items():
        for point in importlib.metadata.entry_points(group=group):
            if point.name not in target:
                # The string, not the EntryPoint: a decorated plugin registers itself on import.
                target.register(point.name, target=point.value)


def model_names() -> tuple[str, ...]:
    """Names that `--model` takes, plugins included."""
    _register_plugins()
    return tuple(sorted(registry.model_registry))


def aggregation(name: str) -> Callable[[list[Any]], float] | None:
    """Return lm-eval's aggregation of that name, or None when it has none."""
    _register_plugins()
    found: Callable[[list[Any]], float] | None = registry.get_aggregation(name)
    return found


def markdown_table(results: Mapping[str, Any]) -> str:
    """Render results with lm-eval's own nine-column table."""
    return str(make_table(results))


# ── run ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class RawRun:
    """What lm-eval gave for one task and one model, in its own layout but JSON-safe."""

    results: dict[str, Any]
    """Without samples, times and machine paths."""
    samples: tuple[dict[str, Any], ...]
    """Rows as lm-eval writes them to `samples_*.jsonl`."""
    output_type: str
    aggregations: dict[str, str]
    cluster_field: str | None
    chat_template_digest: str | None
    warnings: tuple[str, ...]


def run_task(
    task: BenchTask, model: BenchModel, settings: BenchSettings, runtime: Runtime
) -> RawRun:
    """Run one task with one model exactly as lm-eval's `simple_evaluate` would.

    The loop is ours because `simple_evaluate` spends seconds a call on describing the machine.
    Raises UsageError for an unknown backend or a target outside the choices, and RunError when the
    data cannot be had or the model fails.
    """
    _register_plugins()
    with quiet() as warnings, hub_switched_off(runtime.offline):
        built = _build_task(task)
        _apply_settings(built, settings)
        _check_targets(task.name, built, settings.limit)
        lm = _open_model(model, settings, runtime)
        title = f"bench {task.name} · {model.name}"
        with without_bars(), counted_requests(lm, title, runtime):
            results, template = _evaluate(task, built, lm, settings)
    samples = results.pop("samples")[built.task_name]
    return RawRun(
        results=_plain(results),
        samples=tuple(_sample_row(sample) for sample in samples),
        output_type=str(built.OUTPUT_TYPE),
        aggregations=_aggregation_names(built),
        cluster_field=_metadata(built).get("cluster_field"),
        chat_template_digest=hashlib.sha256(template.encode()).hexdigest() if template else None,
        warnings=warnings(),
    )


def _build_task(task: BenchTask) -> Any:
    spec: str | dict[str, Any] = str(task.config_path)
    manager = lm_eval.tasks.TaskManager(include_defaults=False)
    try:
        if task.overrides:
            inline = task.config_path == Path()
            own = {} if inline else load_config(task.config_path, resolve_functions=True)
            spec = {**own, **task.overrides}
        loaded = manager.load([spec])["tasks"]
    except MdhError:
        raise
    except Exception as error:  # anything: YAML functions, data sets, the network
        raise _build_failure(task.name, error) from error
    (built,) = loaded.values()
    return built


def _build_failure(name: str, error: Exception) -> RunError:
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)  # type: ignore[arg-type]
    kinds = {type(one).__name__ for one in chain}
    network = {
        "OfflineModeIsEnabled", "ConnectionError", "ConnectError", "LocalEntryNotFoundError",
        "HfHubHTTPError", "DatasetNotFoundError", "SocketBlockedError", "SocketConnectBlockedError",
        "ConnectTimeout", "ReadTimeout", "MaxRetryError", "ProxyError", "gaierror",
    }  # fmt: skip
    if kinds & network:
        return RunError(
            f"task {name!r} needs a data set from the Hugging Face Hub, which cannot be reached"
            f" ({type(error).__name__}).",
            hint="Go online, download it first, or choose an offline task (`mdh tasks`).",
        )
    return RunError(f"task {name!r} cannot be built: {type(error).__name__}: {_first_line(error)}.")


def _apply_settings(built: Any, settings: BenchSettings) -> None:
    """As `simple_evaluate` does: a task that fixes zero shots keeps them."""
    if settings.gen_kwargs and built.get_config("output_type") == "generate_until":
        built.set_config(key="generation_kwargs", value=dict(settings.gen_kwargs), update=True)
    fixed = built.get_config("num_fewshot")
    if settings.num_fewshot is not None and fixed != 0:
        built.set_config(key="num_fewshot", value=settings.num_fewshot)
    elif fixed is None:
        built.set_config(key="num_fewshot", value=0)
    built.set_fewshot_seed(seed=settings.seeds[3])


def _check_targets(name: str, built: Any, limit: float | None) -> None:
    """Refuse an item whose target is not among its choices: lm-eval scores it 0 in silence."""
    if built.OUTPUT_TYPE != "multiple_choice" or getattr(built, "multiple_input", 0):
        return
    docs = built.eval_docs
    n_docs = len(docs) if limit is None else _n_limited(len(docs), limit)
    for number, doc in built.doc_iterator(rank=0, limit=n_docs, world_size=1):
        choices = built.doc_to_choice(doc)
        target = built.doc_to_target(doc)
        for one in target if isinstance(target, list) else [target]:
            if isinstance(one, (int, np.integer)):
                fits = 0 <= int(one) < len(choices)
            else:
                fits = one in choices
            if not fits:
                raise UsageError(
                    f"task {name!r}: the target {str(one)[:40]!r} of item {number} is not among its"
                    f" {len(choices)} choices; it would score 0.",
                    hint="Check doc_to_target against the data's field names.",
                )


def _n_limited(n_docs: int, limit: float) -> int:
    return math.ceil(n_docs * limit) if limit < 1.0 else int(limit)


def _open_model(model: BenchModel, settings: BenchSettings, runtime: Runtime) -> Any:
    if model.load is not None:
        from lm_eval.models.huggingface import HFLM

        loaded, tokenizer = model.load()
        return HFLM(
            pretrained=loaded,
            tokenizer=copy.deepcopy(tokenizer),  # HFLM sets a pad token on what it is given
            backend="causal",
            batch_size=runtime.batch_size,
            max_length=settings.max_length,
            trust_remote_code=runtime.trust_remote_code,
        )
    if "lm" not in model.opened:
        if model.backend not in registry.model_registry:
            raise UsageError(
                f"unknown model type {model.backend!r}.",
                hint=did_you_mean(model.backend, model_names()),
            )
        model.opened["lm"] = _open_backend(model, settings, runtime)
    return model.opened["lm"]


def _open_backend(model: BenchModel, settings: BenchSettings, runtime: Runtime) -> Any:
    extra: dict[str, Any] = {"batch_size": runtime.batch_size, "device": runtime.device}
    if settings.max_length is not None:
        extra["max_length"] = settings.max_length
    try:
        kind = registry.get_model(model.backend)
        if isinstance(model.model_args, dict):
            return kind.create_from_arg_obj(model.model_args, extra)
        return kind.create_from_arg_string(model.model_args, extra)
    except Exception as error:  # whatever a backend raises, the next move is the same
        raise RunError(
            f"model {model.name!r} cannot be opened with lm-eval's {model.backend!r}: "
            f"{type(error).__name__}: {_first_line(error)}.",
            hint="Check --model_args.",
        ) from error


def _evaluate(
    task: BenchTask, built: Any, lm: Any, settings: BenchSettings
) -> tuple[dict[str, Any], str | None]:
    python_seed, numpy_seed, torch_seed, _ = settings.seeds
    random.seed(python_seed)
    np.random.seed(numpy_seed)
    set_torch_seed(torch_seed)
    try:
        chat = settings.apply_chat_template
        template = lm.chat_template(chat) if chat else None
        results = evaluate(
            lm=lm,
            task_dict={"tasks": {built.task_name: built}},
            limit=settings.limit,
            bootstrap_iters=settings.bootstrap_iters,
            log_samples=True,
            system_instruction=settings.system_instruction,
            apply_chat_template=chat,
            fewshot_as_multiturn=settings.fewshot_as_multiturn,
            confirm_run_unsafe_code=settings.confirm_run_unsafe_code,
        )
    except MdhError:
        raise
    except Exception as error:  # model, memory, metric: this task is lost, the others are not
        raise RunError(
            f"task {task.name!r} failed: {type(error).__name__}: {_first_line(error)}."
        ) from error
    if results is None:
        raise RunError(f"task {task.name!r} gave no results on this rank.")
    return dict(results), template


# ── lm-eval's values as plain ones ───────────────────────────────────────────────────────────


def _sample_row(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Convert one row as lm-eval's tracker does, but into a new dictionary."""
    row = dict(sample)
    row["arguments"] = {
        f"gen_args_{i}": {f"arg_{j}": value for j, value in enumerate(arguments)}
        for i, arguments in enumerate(sample["arguments"])
    }
    row["resps"] = sanitize_list(sample["resps"])
    row["filtered_resps"] = sanitize_list(sample["filtered_resps"])
    row["target"] = str(sample["target"])
    text = json.dumps(row, default=handle_non_serializable, ensure_ascii=False)
    plain: dict[str, Any] = json.loads(text)
    return plain


def _plain(value: Any) -> Any:
    """Make results JSON-safe: no NaN, no objects, no machine paths."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(one) for one in value]
    if isinstance(value, (bool, int)) or value is None:
        return value
    if isinstance(value, (float, np.generic)):
        number = value.item() if isinstance(value, np.generic) else value
        return "N/A" if isinstance(number, float) and not math.isfinite(number) else number
    text = str(value)
    return _without_folder(text) if "/" in text or "\\" in text else text


def _without_folder(text: str) -> str:
    """Cut an absolute path down to its last two parts; other text stays."""
    if "\n" in text or not Path(text).is_absolute():
        return text
    return "/".join(Path(text).parts[-2:])


def _metadata(built: Any) -> dict[str, Any]:
    metadata = built.get_config("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _aggregation_names(built: Any) -> dict[str, str]:
    names = {id(function): name for name, function in registry.aggregation_registry.items()}
    return {
        metric: names.get(id(function), getattr(function, "__name__", "unknown"))
        for metric, function in built.aggregation().items()
    }


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return lines[0].rstrip(".")[:300]
