"""What the benchmark arm makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

__all__ = ["BenchmarkItem", "BenchmarkResults", "BenchmarkRow", "TaskFailure"]


@dataclass(frozen=True)
class BenchmarkRow:
    """One task × metric × filter, candidate − baseline, paired by item."""

    task: str
    capability: str | None
    metric: str
    filter: str
    higher_is_better: bool
    primary: bool
    """The one metric of the task that summaries and the multiplicity correction use."""
    n: int
    baseline: float
    candidate: float
    delta: float
    se: float | None
    lower: float
    upper: float
    p: float | None
    """Mid-p McNemar for binary metrics, else as `method` says."""
    q: float | None
    """Benjamini–Hochberg over primary rows."""
    mde: float | None
    """Minimum detectable effect at 80 % power, two-sided 5 %."""
    fixed: int | None
    """Items wrong before and right now (binary metrics)."""
    broken: int | None
    method: str
    n_unmatched: int
    version: str
    num_fewshot: int | None
    baseline_se_unpaired: float | None = None
    candidate_se_unpaired: float | None = None
    """As lm-eval prints them."""
    prompts_differ: bool = False
    cluster: str | None = None


@dataclass(frozen=True)
class BenchmarkItem:
    """One item of one task's primary metric under both models."""

    task: str
    metric: str
    filter: str
    doc_id: int
    doc_hash: str
    target: str
    baseline: float
    candidate: float
    baseline_response: str
    candidate_response: str
    prompt: str


@dataclass(frozen=True)
class TaskFailure:
    """A task that could not be run or paired; the others went on."""

    task: str
    reason: str


@dataclass(frozen=True)
class BenchmarkResults:
    """All rows of a pair, the items behind them, and lm-eval's own results beside."""

    SCHEMA_VERSION: ClassVar[int] = 1

    rows: tuple[BenchmarkRow, ...]
    items: tuple[BenchmarkItem, ...]
    failures: tuple[TaskFailure, ...]
    limit: float | None
    """As passed; not None means "smoke, not gateable"."""
    task_sources: dict[str, str]
    """Task → "lm_eval", "modeldiff_harness" or the included folder's name."""
    lm_eval_version: str
    seeds: tuple[int, ...]
    notes: tuple[str, ...]
    lm_eval_results: dict[str, Any]
    """Model name → lm-eval's own results dictionary (without samples), JSON-safe."""
    folder: Path = field(default=Path(), compare=False, metadata={"transient": True})
    """Holds samples_<task>_<model>.jsonl in lm-eval's layout."""
