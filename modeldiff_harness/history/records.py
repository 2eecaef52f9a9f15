"""What is known of the stored reports: their deltas, by pair and date, and what moved."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["History", "HistoryEntry", "HistoryNumber", "Move", "PairHistory"]


@dataclass(frozen=True)
class HistoryNumber:
    """One delta of one report, candidate − baseline."""

    estimate: float
    lower: float
    upper: float
    se: float | None
    unit: str
    """points, Elo, or the metric's name."""
    higher_is_better: bool


@dataclass(frozen=True)
class HistoryEntry:
    """One stored report."""

    name: str
    """The run's, or the name it was saved under when the run is gone."""
    saved_as: str | None
    """Name of the saved reference (`mdh baseline save`) that it is, if any."""
    folder: str
    date: str
    baseline: str
    candidate: str
    baseline_digest: str | None
    """Of the weights, adapter included."""
    candidate_digest: str | None
    report_digest: str
    smoke: bool
    outcome: str | None
    """PASS, FAIL or INCONCLUSIVE; None when no gate ran."""
    policy_digest: str | None
    numbers: dict[str, HistoryNumber]
    """What was measured → its delta, primary metrics only."""


@dataclass(frozen=True)
class Move:
    """A delta that is not what the reference had, beyond what chance explains."""

    number: str
    entry: str
    """The later report."""
    since: str
    """The reference."""
    change: float
    """Later − reference, in the number's unit."""
    standard_errors: float
    """change / √(se² + se²): too careful where both measured the same items."""
    worse: bool
    weights_changed: bool
    """False: neither model changed, so the measurement did."""


@dataclass(frozen=True)
class PairHistory:
    """The reports of one pair, oldest first."""

    baseline: str
    candidate: str
    reference: str
    """The entry that moves are told against: the one named, else the oldest."""
    entries: tuple[HistoryEntry, ...]
    moves: tuple[Move, ...]
    policy_changes: tuple[str, ...]
    """Entries whose gate had another policy than the gate before."""


@dataclass(frozen=True)
class History:
    """Everything `mdh history` says."""

    pairs: tuple[PairHistory, ...]
    """By the names of baseline and candidate."""
    unreadable: dict[str, str]
    """Folder → why its report could not be read."""
