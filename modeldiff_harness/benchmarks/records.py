"""The nouns of the benchmark arm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

__all__ = [
    "DEFAULT_SEEDS",
    "BenchModel",
    "BenchSettings",
    "BenchTask",
    "TaskFolder",
    "TaskRun",
    "plain_overrides",
]

DEFAULT_SEEDS = (0, 1234, 1234, 1234)
"""lm-eval's defaults: python, numpy, torch, few-shot."""


@dataclass(frozen=True)
class TaskFolder:
    """A folder of lm-eval task YAML and the name its tasks are listed under."""

    path: Path
    label: str
    """What reports call it: "modeldiff_harness", a suite's name, or the folder's own name."""
    may_shadow: bool = False
    """A user's folder: say so when one of its tasks has the name of an lm-eval task."""


@dataclass(frozen=True)
class BenchTask:
    """One leaf task: a name, where it comes from, and what a group changes in it."""

    name: str
    source: str
    """Label of the folder it was found in, or "lm_eval"."""
    digest: str
    """Content digest of an included task's files, or lm-eval's version: belongs in store keys."""
    capability: str | None = None
    """A taxonomy key, from the task's metadata or the packaged table."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Fields that the group it was reached through sets; the whole task if it has no file."""
    shadows: str = ""
    """Source of a task of the same name that this one replaces, or empty."""
    config_path: Path = field(default=Path(), compare=False, metadata={"transient": True})

    def recipe(self) -> dict[str, Any]:
        """Return what identifies the task in a store key."""
        return {
            "name": self.name,
            "source": self.source,
            "digest": self.digest,
            "overrides": plain_overrides(self.overrides),
        }


def plain_overrides(overrides: dict[str, Any]) -> dict[str, str]:
    """Return overrides as texts that are the same in every process: functions by name."""
    return {
        key: f"{value.__module__}.{value.__qualname__}" if callable(value) else repr(value)
        for key, value in sorted(overrides.items())
    }


@dataclass(frozen=True)
class BenchSettings:
    """How every task is run; all of it can change results, so all of it enters keys."""

    num_fewshot: int | None = None
    """Overrides the task's own number, except where the task fixes 0 (lm-eval's rule)."""
    limit: float | None = None
    """Items a task, or a fraction below 1: a smoke run, not gateable."""
    apply_chat_template: bool | str = False
    fewshot_as_multiturn: bool = True
    system_instruction: str | None = None
    gen_kwargs: dict[str, Any] = field(default_factory=dict)
    max_length: int | None = None
    """Tokens a sequence; None: the model's own limit."""
    seeds: tuple[int, ...] = DEFAULT_SEEDS
    bootstrap_iters: int = 1000
    """For lm-eval's own standard errors of aggregate metrics; ours do not use it."""
    confirm_run_unsafe_code: bool = False


@dataclass(frozen=True)
class BenchModel:
    """A model to be measured: in memory, or by a backend of lm-eval.

    Either `load` (a call that returns (model, tokenizer), made once a task so that a pool can
    switch adapters) or `backend` with `model_args` (`vllm`, `local-completions`, …).
    """

    name: str
    load: Callable[[], tuple[Any, Any]] | None = None
    backend: str = ""
    model_args: str | dict[str, Any] = ""
    opened: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The backend's handle once it is open; the adapter fills it."""


@dataclass(frozen=True)
class TaskRun:
    """One task under one model; its folder holds `samples.jsonl` in lm-eval's layout."""

    SCHEMA_VERSION: ClassVar[int] = 1

    task: str
    model: str
    """Name it was run under; one checkpoint under two aliases is one run."""
    source: str
    capability: str | None
    version: str
    output_type: str
    num_fewshot: int | None
    limit: float | None
    n_docs: int
    """Items evaluated."""
    n_docs_total: int
    """Items of the split before `limit`."""
    higher_is_better: dict[str, bool | None]
    """Metric → direction; None where the task does not say."""
    aggregations: dict[str, str]
    """Metric → lm-eval's name of the aggregation ("mean", "perplexity", a function's name)."""
    cluster_field: str | None
    """Document field whose equal values make items one cluster, or None."""
    seeds: tuple[int, ...]
    lm_eval_version: str
    chat_template_digest: str | None
    warnings: tuple[str, ...]
    """Distinct warnings that lm-eval logged."""
    lm_eval_results: dict[str, Any]
    """lm-eval's own results of this task, JSON-safe, without samples and machine paths."""
    shadows: str = ""
    batch_size: int | None = None
    """Sequences a batch: a rerun for the noise floor takes another."""
    folder: Path = field(default=Path(), compare=False, metadata={"transient": True})

    @property
    def samples_path(self) -> Path:
        """The sample rows."""
        return self.folder / "samples.jsonl"
