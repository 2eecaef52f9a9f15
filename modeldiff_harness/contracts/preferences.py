"""Judges, importers of battles, and style features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modeldiff_harness.artifacts import Battle, PreferencePrompt

__all__ = ["AnswerPair", "BattleImporter", "FeatureSet", "Judge", "Judgment"]


@dataclass(frozen=True)
class AnswerPair:
    """Two answers to one prompt, in the order they are shown."""

    prompt: PreferencePrompt
    model_a: str
    response_a: str
    model_b: str
    response_b: str
    order: int = 0


@dataclass(frozen=True)
class Judgment:
    """A verdict on an AnswerPair: winner as in Battle; `invalid` needs a reason."""

    winner: str
    strength: float | None = None
    reason: str = ""


class Judge(Protocol):
    """Compares answers; it never sees which model is the candidate."""

    name: str
    judge_kind: str
    """human, llm, reward_model, verifiable or heuristic."""
    order_free: bool
    """True when swapping the answers cannot change the verdict: one presentation is enough."""

    def compare(self, pairs: Iterable[AnswerPair]) -> Iterator[tuple[AnswerPair, Judgment]]:
        """Yield a judgment a pair, in any order."""
        ...


class BattleImporter(Protocol):
    """Reads one file format of battles."""

    def recognises(self, path: Path) -> bool:
        """Say whether the file looks like this format (reads a few lines at most)."""
        ...

    def read(self, path: Path) -> tuple[Sequence[Battle], Mapping[str, int]]:
        """Return the battles and, by reason, the rows that had to be dropped."""
        ...


class FeatureSet(Protocol):
    """Named style features of an answer; sets are never mixed."""

    name: str
    features: tuple[str, ...]

    def count(self, answer: str, n_tokens: int | None) -> Mapping[str, float]:
        """Return the raw counts of one answer, a value for each of `features`."""
        ...

    def difference(self, a: Mapping[str, float], b: Mapping[str, float]) -> Sequence[float]:
        """Return the normalised difference a − b, antisymmetric, one value a feature."""
        ...
