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
    """Two answers to one prompt, in the order they are shown: A first."""

    prompt: PreferencePrompt
    model_a: str
    response_a: str
    model_b: str
    response_b: str
    order: int = 0
    """0 or 1: which of the prompt's two presentations this is; the sides are dealt, so that
    neither tells which model is the candidate."""


@dataclass(frozen=True)
class Judgment:
    """A verdict on an AnswerPair."""

    winner: str
    """model_a, model_b, tie, both_bad or invalid (no verdict: never a tie)."""
    strength: float | None = None
    """How clear it is, on the judge's own scale."""
    reason: str = ""
    """Why; of an invalid verdict it is kept and shown."""


class Judge(Protocol):
    """Compares answers; it is never told which model is the candidate."""

    name: str
    judge_kind: str
    """human, llm, reward_model, verifiable or heuristic."""
    order_free: bool
    """True when swapping the answers cannot change the verdict: one presentation is enough."""

    def compare(self, pairs: Iterable[AnswerPair]) -> Iterator[tuple[AnswerPair, Judgment]]:
        """Yield each pair with its judgment, in any order, as they are made.

        A pair that gets none is missing, as one judged `invalid` is.  A verdict twice, on another
        pair or of an unknown word ends the run.
        """
        ...


class BattleImporter(Protocol):
    """Reads one file format of battles."""

    def recognises(self, path: Path) -> bool:
        """Say whether the file looks like this format (reads a few lines at most)."""
        ...

    def read(self, path: Path) -> tuple[Sequence[Battle], Mapping[str, int]]:
        """Return the battles and, by reason, how many rows had to be dropped.

        Raises UsageError when the file as a whole cannot be read.  The harness refuses a file
        without a battle.
        """
        ...


class FeatureSet(Protocol):
    """Named style features of an answer; sets are never mixed."""

    name: str
    features: tuple[str, ...]

    def count(self, answer: str, n_tokens: int | None) -> Mapping[str, float]:
        """Return the raw counts of one answer, a value for each of `features`.

        `n_tokens`: the tokenizer's count; None where nobody counted.
        """
        ...

    def difference(self, a: Mapping[str, float], b: Mapping[str, float]) -> Sequence[float]:
        """Return the normalised difference a − b, one value a feature.

        Antisymmetric: the difference b − a is taken to be its negative.
        """
        ...
