"""What the arms hand to the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from modeldiff_harness.artifacts import (
    BenchmarkResults,
    CapabilityProfile,
    Comparability,
    DifferenceEnergy,
    LatentExamples,
    LatentLabels,
    LatentOwners,
    LatentScores,
    NullMatch,
    PairReport,
    PreferenceDeltas,
    Provenance,
    SimpleControls,
    TokenisedCorpus,
    TrainedDictionary,
)

__all__ = ["LatentFindings", "MemberFindings", "NotMeasured", "ReportInputs"]


@dataclass(frozen=True)
class NotMeasured:
    """An arm that was not run, and why: shown as such, never as zero and never as a failure."""

    reason: str


@dataclass(frozen=True)
class MemberFindings:
    """One dictionary with everything that was found out about its latents."""

    replicate: int
    dictionary: TrainedDictionary
    scores: LatentScores
    examples: LatentExamples
    owners: LatentOwners
    labels: LatentLabels
    null_owners: LatentOwners | None = None
    """The null run's latents, classified with the null twin in the later model's place."""
    null_labels: LatentLabels | None = None
    null_match: NullMatch | None = None


@dataclass(frozen=True)
class LatentFindings:
    """The latent arm's outcome."""

    rule: str
    design: str
    corpus: TokenisedCorpus
    decode: Callable[[Sequence[int]], Sequence[str]]
    """Token ids → one text a token."""
    members: tuple[MemberFindings, ...]
    """Every dictionary of every replicate."""
    profile: CapabilityProfile
    energies: tuple[DifferenceEnergy, ...] = ()
    controls: SimpleControls | None = None
    extra_columns: Mapping[str, str] = field(default_factory=dict)
    """Column of a scorer that is not built in → what it means, with its unit."""
    how_run: Mapping[str, str] = field(default_factory=dict)
    """Model → type of its forward passes, packing of rows, type on disk."""


@dataclass(frozen=True)
class ReportInputs:
    """Everything `build_report` reads."""

    pair: PairReport
    comparability: Comparability
    benchmarks: BenchmarkResults | NotMeasured
    preferences: PreferenceDeltas | NotMeasured
    latents: LatentFindings | NotMeasured
    provenance: Provenance
