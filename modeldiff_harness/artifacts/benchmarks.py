"""What the benchmark arm makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

__all__ = [
    "AnswerFaults",
    "BenchmarkItem",
    "BenchmarkResults",
    "BenchmarkRow",
    "ItemAlignment",
    "TaskFailure",
]


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
    p_exact: float | None = None
    """Exact McNemar p beside the mid-p; binary metrics whose items stand alone."""
    both_right: int | None = None
    """Items right by both models (binary metrics)."""
    both_wrong: int | None = None
    cluster: str | None = None
    """What makes items one cluster: a document field or an expression; None: every item alone."""
    n_clusters: int | None = None
    df: float | None = None
    """Degrees of freedom of the interval's t; None where the normal holds."""
    unpaired_se: float | None = None
    """What the standard error would be had the models answered different items."""
    simultaneous_lower: float | None = None
    """95 % interval that holds for all primary rows together (Bonferroni); None elsewhere."""
    simultaneous_upper: float | None = None
    effect: float | None = None
    """Size without a unit, candidate − baseline; `effect_name` says which."""
    effect_name: str = ""
    """"log odds ratio" (ln of gained/lost pairs, half a pair added) or "Cohen's dz"."""
    samples_per_item: float = 1.0
    """Answers a model gave to one item, averaged; above 1 the item's mean is compared."""
    n_replicates: int = 0
    """Reruns of the baseline behind the noise floor."""
    noise_flip_rate: float | None = None
    """Share of items whose value changes between two runs of the baseline; None without reruns or
    for metrics that are no value an item."""
    noise_se: float | None = None
    """Standard error of a difference of two runs of one model, √(2·max(Σ s_i²/n², s_r²)): s_i² the
    variance of item i over the runs, s_r² that of the runs' results (3 runs or more).  With one
    rerun of a binary metric it is √(noise_flip_rate/n).  The gate adds it in quadrature."""


@dataclass(frozen=True)
class BenchmarkItem:
    """One item of one task's primary metric under both models."""

    task: str
    metric: str
    filter: str
    doc_id: int | str
    doc_hash: str
    target: str
    baseline: float
    candidate: float
    baseline_response: str
    candidate_response: str
    prompt: str
    baseline_generation: str = ""
    """The generated text before the answer was taken out of it, shortened; empty where it is the
    response itself."""
    candidate_generation: str = ""


@dataclass(frozen=True)
class ItemAlignment:
    """How the two models' items of one task and filter found each other."""

    task: str
    filter: str
    n_paired: int
    n_only_baseline: int
    """Items without a partner among the candidate's."""
    n_only_candidate: int
    n_changed: int
    """Items with the same number but another document or target: counted as without a partner."""
    n_duplicates: int
    """Repeated rows that said the same and were dropped, both models together."""
    n_not_numbers: int
    """Items left out because a model has no number for the primary metric."""
    n_prompts_differ: int
    named: tuple[str, ...] = ()
    """The first of them by item number, with what is the matter."""


@dataclass(frozen=True)
class AnswerFaults:
    """Answers of one model to one task that say little about it, counted; None: not recorded."""

    task: str
    filter: str
    model: str
    """baseline or candidate."""
    n: int
    """Answers, repetitions included."""
    n_not_extracted: int | None = None
    """The filter found no answer in the text."""
    n_empty: int | None = None
    n_truncated: int | None = None
    """Stopped by a length limit."""
    n_refused: int | None = None
    """Opened with a refusal, by wording or by the provider's own mark."""
    n_errors: int | None = None
    """The model or the scorer failed."""


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
    alignments: tuple[ItemAlignment, ...] = ()
    answer_faults: tuple[AnswerFaults, ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Group → its leaf tasks."""
    folder: Path = field(default=Path(), compare=False, metadata={"transient": True})
    """Holds samples_<task>_<model>.jsonl in lm-eval's layout."""
