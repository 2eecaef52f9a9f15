"""One task with one model, run exactly as lm-eval's `simple_evaluate` would."""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lm_eval.tasks
import numpy as np
from lm_eval.evaluator import evaluate
from lm_eval.utils import set_torch_seed

from modeldiff_harness.benchmarks.directions import stated_directions
from modeldiff_harness.benchmarks.lm_eval_adapter.model import open_model
from modeldiff_harness.benchmarks.lm_eval_adapter.names import name_of_aggregation, register_plugins
from modeldiff_harness.benchmarks.lm_eval_adapter.plain_values import plain, sample_row
from modeldiff_harness.benchmarks.lm_eval_adapter.surroundings import (
    counted_requests,
    hub_switched_off,
    quiet,
    without_bars,
)
from modeldiff_harness.benchmarks.lm_eval_adapter.task_index import load_config
from modeldiff_harness.benchmarks.records import BenchModel, BenchSettings, BenchTask
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import MdhError, RunError, UsageError, first_line

__all__ = ["RawRun", "build_task", "run_task"]


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
    register_plugins()
    with quiet() as warnings, hub_switched_off(runtime.offline):
        built = build_task(task)
        _apply_settings(built, settings)
        stated_directions(built.higher_is_better() or {}, task.name)
        _check_targets(task.name, built, settings.limit)
        lm = open_model(model, settings, runtime)
        title = f"bench {task.name} · {model.name}"
        with without_bars(), counted_requests(lm, title, runtime):
            results, template = _evaluate(task, built, lm, settings)
    samples = results.pop("samples")[built.task_name]
    return RawRun(
        results=plain(results),
        samples=tuple(sample_row(sample) for sample in samples),
        output_type=str(built.OUTPUT_TYPE),
        aggregations={
            metric: name_of_aggregation(function)
            for metric, function in built.aggregation().items()
        },
        cluster_field=_metadata(built).get("cluster_field"),
        chat_template_digest=hashlib.sha256(template.encode()).hexdigest() if template else None,
        warnings=warnings(),
    )


def build_task(task: BenchTask) -> Any:
    """Return lm-eval's task object; RunError when the task or its data cannot be had."""
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
    return RunError(f"task {name!r} cannot be built: {type(error).__name__}: {first_line(error)}.")


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
            f"task {task.name!r} failed: {type(error).__name__}: {first_line(error)}."
        ) from error
    if results is None:
        raise RunError(f"task {task.name!r} gave no results on this rank.")
    return dict(results), template


def _metadata(built: Any) -> dict[str, Any]:
    metadata = built.get_config("metadata")
    return metadata if isinstance(metadata, dict) else {}
