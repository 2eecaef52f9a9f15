"""What the benchmark arm makes."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from modeldiff_harness.artifacts.estimates import Interval, IntervalMethod
from modeldiff_harness.errors import UsageError

__all__ = [
    "AnswerFaults",
    "BenchmarkItem",
    "BenchmarkResults",
    "BenchmarkRow",
    "EffectSize",
    "ItemAlignment",
    "ItemClusters",
    "PairedCounts",
    "RerunNoise",
    "TaskFailure",
    "UnpairedErrors",
]


@dataclass(frozen=True)
class PairedCounts:
    """Items of a right-or-wrong metric by which model got them right."""

    both_right: int
    both_wrong: int
    fixed: int
    """Wrong by the baseline, right by the candidate."""
    broken: int
    """Right by the baseline, wrong by the candidate."""

    def __post_init__(self) -> None:
        """Refuse negative counts."""
        if min(self.fixed, self.broken, self.both_right, self.both_wrong) < 0:
            raise UsageError("counts of paired outcomes cannot be negative")

    @property
    def n(self) -> int:
        """All items."""
        return self.fixed + self.broken + self.both_right + self.both_wrong

    @property
    def n_discordant(self) -> int:
        """Items on which the models differ."""
        return self.fixed + self.broken


@dataclass(frozen=True)
class ItemClusters:
    """Items that belong together: questions on one passage, one question in many languages."""

    n: int
    """Clusters."""
    key: str | None
    """The document field or expression whose equal values make a cluster; None: no single one."""


@dataclass(frozen=True)
class EffectSize:
    """A size without a unit, candidate − baseline."""

    size: float
    name: str
    """"log odds ratio" (ln of gained/lost pairs, half a pair added) or "Cohen's dz"."""


@dataclass(frozen=True)
class UnpairedErrors:
    """Standard errors that take the two models' items for different ones."""

    baseline: float | None = None
    """As lm-eval prints it."""
    candidate: float | None = None
    """As lm-eval prints it."""
    difference: float | None = None
    """What the standard error would be had the models answered different items."""


@dataclass(frozen=True)
class RerunNoise:
    """What reruns of one model on the same items say: the noise floor."""

    n_reruns: int
    """Runs beside the first."""
    flip_rate: float | None
    """Share of items whose value differs between two runs, over all pairs of runs; None for metrics
    that are no value an item."""
    se: float
    """Standard error of a difference of two runs of one model, √(2·max(Σ s_i²/n², s_r²)): s_i² the
    variance of item i over the runs, s_r² that of the runs' results (3 runs or more).  With one
    rerun of a binary metric it is √(flip_rate/n).  The gate adds it in quadrature."""


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
    """Minimum detectable effect at 80 % power, two-sided 5 %; by t where the row has `df`."""
    method: str
    """How interval and p were made, in words."""
    n_unmatched: int
    """Items that only one model answered, changed ones included."""
    version: str
    num_fewshot: int | None
    df: float | None = None
    """Degrees of freedom of the t behind interval or p; None where the normal holds."""
    interval_method: IntervalMethod = ""
    p_exact: float | None = None
    """Exact McNemar p beside the mid-p; binary metrics whose items stand alone."""
    prompts_differ: bool = False
    samples_per_item: float = 1.0
    """Answers a model gave to one item, averaged; above 1 the item's mean is compared."""
    counts: PairedCounts | None = None
    """Binary metrics only; where lower is better, `fixed` is still what got better."""
    clusters: ItemClusters | None = None
    """None: every item stands alone."""
    simultaneous: Interval | None = None
    """95 % interval that holds for all primary rows together (Bonferroni); None elsewhere."""
    effect: EffectSize | None = None
    noise: RerunNoise | None = None
    """Of the baseline; None without reruns."""
    unpaired: UnpairedErrors = UnpairedErrors()
    guarded: Interval | None = None
    """The 95 % interval that a gate may decide by: moved out to what rare losses that no item shows
    may still do.  None: the row's own may."""
    not_gateable: str = ""
    """Why no interval of these items may decide a gate, in one clause; empty where one may."""
    n_missing: int = 0
    """Items of the task that enter no difference: without a partner, not scored for a model, or
    counted by the results and not among the samples."""
    item_range: float | None = None
    """How far apart two values of one item can lie: 1 between 0 and 1; None: not known."""
    not_comparable: tuple[str, ...] = ()
    """Why the two sides may not be one measurement, a clause each; every one holds a gate."""

    @property
    def is_bounded(self) -> bool:
        """Whether an item's value lies between 0 and 1, so that missing items can be bounded."""
        return self.counts is not None or self.item_range == 1.0

    def columns(self) -> dict[str, Any]:
        """Return the row as one line of a table: what belongs together gets a column each."""
        counts, noise, effect = self.counts, self.noise, self.effect
        clusters, simultaneous, guarded = self.clusters, self.simultaneous, self.guarded
        grouped = ("counts", "clusters", "simultaneous", "effect", "noise", "unpaired", "guarded",
                   "not_comparable")  # fmt: skip
        return {
            **{f.name: getattr(self, f.name) for f in fields(self) if f.name not in grouped},
            "not_comparable": "; ".join(self.not_comparable),
            "fixed": counts and counts.fixed,
            "broken": counts and counts.broken,
            "both_right": counts and counts.both_right,
            "both_wrong": counts and counts.both_wrong,
            "cluster": clusters and clusters.key,
            "n_clusters": clusters and clusters.n,
            "simultaneous_lower": simultaneous and simultaneous.lower,
            "simultaneous_upper": simultaneous and simultaneous.upper,
            "guarded_lower": guarded and guarded.lower,
            "guarded_upper": guarded and guarded.upper,
            "effect": effect and effect.size,
            "effect_name": effect.name if effect else "",
            "n_reruns": noise.n_reruns if noise else 0,
            "noise_flip_rate": noise and noise.flip_rate,
            "noise_se": noise and noise.se,
            "unpaired_se": self.unpaired.difference,
            "baseline_se_unpaired": self.unpaired.baseline,
            "candidate_se_unpaired": self.unpaired.candidate,
        }


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
    capability: str | None = None
    """Of the task: what a criterion on the capability then lacks."""


@dataclass(frozen=True)
class BenchmarkResults:
    """All rows of a pair, the items behind them, and lm-eval's own results beside."""

    SCHEMA_VERSION: ClassVar[int] = 2

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
