"""The report of a pair: what report.json holds, in the order a reviewer reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from modeldiff_harness.artifacts.benchmarks import (
    AnswerFaults,
    BenchmarkItem,
    BenchmarkRow,
    ItemAlignment,
    TaskFailure,
)
from modeldiff_harness.artifacts.difference import DifferenceEnergy, SimpleControl
from modeldiff_harness.artifacts.estimates import Estimate
from modeldiff_harness.artifacts.meaning import CapabilityProfile, TokenWindow
from modeldiff_harness.artifacts.models import ComparabilityCheck, ModelIdentity
from modeldiff_harness.artifacts.preferences import PreferenceDeltas
from modeldiff_harness.artifacts.scores import DictionaryQuality

if TYPE_CHECKING:
    import pandas

__all__ = [
    "BenchmarksReport",
    "CapabilityRow",
    "DictionaryReport",
    "LatentReport",
    "LatentsReport",
    "Lens",
    "PairReport",
    "PreferencesReport",
    "Provenance",
    "Report",
    "StageRecord",
]

ArmStatus = Literal["measured", "not measured"]


@dataclass(frozen=True)
class PairReport:
    """The two models, their ancestor and their null twin."""

    baseline: ModelIdentity
    candidate: ModelIdentity
    base: ModelIdentity | None = None
    null_twin: ModelIdentity | None = None


@dataclass(frozen=True)
class BenchmarksReport:
    """The benchmark arm."""

    status: ArmStatus
    reason: str = ""
    """Why it was not measured, or empty."""
    rows: tuple[BenchmarkRow, ...] = ()
    failures: tuple[TaskFailure, ...] = ()
    gateable: bool = False
    limit: float | None = None
    flipped: tuple[BenchmarkItem, ...] = ()
    """Items of primary metrics that were fixed or broken, a few a task."""
    notes: tuple[str, ...] = ()
    alignments: tuple[ItemAlignment, ...] = ()
    answer_faults: tuple[AnswerFaults, ...] = ()


@dataclass(frozen=True)
class PreferencesReport:
    """The preference arm; all Elo numbers are candidate − baseline."""

    status: ArmStatus
    reason: str = ""
    """Why it was not measured, or empty."""
    deltas: PreferenceDeltas | None = None
    """What was found; null exactly when it was not measured."""

    def __post_init__(self) -> None:
        if (self.deltas is not None) != (self.status == "measured"):
            raise ValueError("preferences hold deltas exactly when their status is 'measured'")


@dataclass(frozen=True)
class DictionaryReport:
    """One trained dictionary with its quality and what each rule found."""

    dictionary_id: str
    design: str
    learner: str
    replicate: int
    models: tuple[str, ...]
    sites: tuple[str, ...]
    n_latents: int
    k: int
    n_train_tokens: int
    fve: dict[str, float]
    fve_delta: dict[str, float]
    l0: float
    dead_fraction: float
    quality: DictionaryQuality
    counts: dict[str, dict[str, int]]
    """Rule → owner → number of latents."""
    rules_skipped: dict[str, str]
    """Rule → why it could not be applied."""
    thresholds: dict[str, dict[str, float]]
    """Rule → its thresholds."""
    null_counts: dict[str, dict[str, int]] | None = None
    """The same counts in the null run; None when there was none."""
    null_categories: dict[str, dict[str, int]] = field(default_factory=dict)
    """Rule → capability → latents of the null run that are given to a model and labelled so: what
    labels look like when nothing meaningful changed."""
    null_adapter_scale: float | None = None
    """Factor on the null twin's adapter that matched its difference energy."""
    roles: tuple[str, ...] = ()
    """Roles of the dictionary's models: the owners its latents can have."""


@dataclass(frozen=True)
class LatentReport:
    """One latent that some rule gives to a model, or a labelled decoy."""

    dictionary_id: str
    id: int
    owner: str
    """Under the run's rule."""
    owners: dict[str, str]
    """Rule → owner."""
    delta_norm: float | None
    nu_eps: float | None
    nu_r: float | None
    label: str
    category: str | None
    """Taxonomy key; None = uninterpretable."""
    reason: str
    test_metric: str
    test_score: Estimate | None
    rank: int
    """1 = farthest from the shared mode among the owner's latents."""
    n_active_tokens: int
    decoy: bool
    columns: dict[str, float]
    """Columns of extra scorers, by name."""
    examples: tuple[TokenWindow, ...] = ()


@dataclass(frozen=True)
class LatentsReport:
    """The latent arm; exploratory, never gating by default."""

    status: ArmStatus
    reason: str = ""
    rule: str = ""
    dictionaries: tuple[DictionaryReport, ...] = ()
    latents: tuple[LatentReport, ...] = ()
    profile: CapabilityProfile | None = None
    difference_energy: tuple[DifferenceEnergy, ...] = ()
    controls: tuple[SimpleControl, ...] = ()
    extra_columns: dict[str, str] = field(default_factory=dict)
    """Column of a plugin's scorer → its meaning and unit."""
    n_corpus_tokens: int = 0
    corpus_authors: dict[str, int] = field(default_factory=dict)
    """Documents by author."""
    how_run: dict[str, str] = field(default_factory=dict)
    """Model → type of its forward passes, packing of rows, type on disk."""


@dataclass(frozen=True)
class Lens:
    """What one arm says of one capability."""

    status: Literal["measured", "not measured"]
    effect: float | None = None
    lower: float | None = None
    upper: float | None = None
    unit: str = ""
    sign: Literal["up", "down", "unclear"] | None = None
    """Up or down where the interval, corrected for the capabilities of its arm, excludes zero."""
    detail: str = ""


@dataclass(frozen=True)
class CapabilityRow:
    """One capability through the three lenses."""

    capability: str
    class_key: str
    benchmark: Lens
    preference: Lens
    latents: Lens
    agreement: Literal["agree", "conflict", "unclear", "not measured"]
    reading: str
    """One sentence that says which lenses were compared and why, or why not."""


@dataclass(frozen=True)
class StageRecord:
    """One stage of the run."""

    verb: str
    title: str
    key: str
    state: str
    """reused, computed or shipped."""
    seconds: float
    """Wall time of the computation, also when it was reused."""


@dataclass(frozen=True)
class Provenance:
    """What it takes to run this again, and what it cost."""

    command: str
    config: dict[str, Any]
    """As resolved."""
    as_passed: dict[str, Any]
    versions: dict[str, str]
    machine: dict[str, str]
    stages: tuple[StageRecord, ...]
    date: str
    seconds: float
    smoke: bool
    """True when any limit makes the run not gateable."""
    shipped: tuple[str, ...] = ()
    """Inputs that came with the package instead of being computed, and how to make them."""


@dataclass(frozen=True)
class Report:
    """Everything `mdh evaluate` found about a pair; every delta is candidate − baseline."""

    SCHEMA_VERSION: ClassVar[int] = 2

    schema_version: int
    pair: PairReport
    comparability: tuple[ComparabilityCheck, ...]
    summary: tuple[str, ...]
    """Three sentences: largest confirmed loss, largest confirmed gain, style's part."""
    benchmarks: BenchmarksReport
    preferences: PreferencesReport
    latents: LatentsReport
    capabilities: tuple[CapabilityRow, ...]
    provenance: Provenance

    def to_pandas(self) -> dict[str, pandas.DataFrame]:
        """Return the report's row lists as DataFrames, by name; pandas is imported here only.

        Names: benchmarks, preferences (the parts in Elo), preference_categories, latents,
        dictionaries, shares, capabilities, difference_energy, controls, stages.  Nested records
        become columns with dots (`substance_elo.lower`); arms that were not measured give empty
        frames.
        """
        import pandas

        from modeldiff_harness.artifacts.codec import to_plain

        profile, deltas = self.latents.profile, self.preferences.deltas
        parts = {} if deltas is None else deltas.elo_parts
        split = [{"part": f"{name}_elo", **to_plain(part)} for name, part in parts.items()]
        energies = [
            {"site": energy.site, "of": energy.pair[1], "against": energy.pair[0], **to_plain(row)}
            for energy in self.latents.difference_energy
            for row in energy.rows
        ]
        rows: dict[str, list[dict[str, Any]]] = {
            "benchmarks": [row.columns() for row in self.benchmarks.rows],
            "preferences": split,
            "preference_categories": [] if deltas is None else to_plain(deltas.categories),
            "latents": to_plain(self.latents.latents),
            "dictionaries": to_plain(self.latents.dictionaries),
            "shares": to_plain(profile.rows) if profile is not None else [],
            "capabilities": to_plain(self.capabilities),
            "difference_energy": energies,
            "controls": to_plain(self.latents.controls),
            "stages": to_plain(self.provenance.stages),
        }
        return {name: pandas.json_normalize(found) for name, found in rows.items()}
