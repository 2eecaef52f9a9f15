"""What the preference arm makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from modeldiff_harness.artifacts.estimates import Estimate

__all__ = [
    "JUDGE_KINDS",
    "WINNERS",
    "Answer",
    "Answers",
    "Battle",
    "Battles",
    "PreferenceCategory",
    "PreferenceDeltas",
    "PreferencePrompt",
    "StyleEffect",
]


WINNERS = ("model_a", "model_b", "tie", "both_bad", "invalid")
"""What a verdict can say; `invalid` is a missing one: refusal, parse error, truncation."""
JUDGE_KINDS = ("human", "llm", "reward_model", "verifiable", "heuristic")
"""Who can judge."""


@dataclass(frozen=True)
class PreferencePrompt:
    """A prompt both models answer, with the checks a good answer passes."""

    prompt_id: str
    prompt: str
    capability: str | None = None
    language: str = "en"
    checks: tuple[dict[str, Any], ...] = ()
    """Specs {"name", "args"} of modeldiff_harness.checks."""


@dataclass(frozen=True)
class Answer:
    """One model's answer to one prompt."""

    prompt_id: str
    model: str
    text: str
    n_tokens: int
    finish: str
    """stop or length (cut at the limit)."""


@dataclass(frozen=True)
class Answers:
    """All answers of one model."""

    SCHEMA_VERSION: ClassVar[int] = 1

    model: str
    max_new_tokens: int
    answers: tuple[Answer, ...]
    seconds: float
    n_cut: int = 0
    """Prompts that lost their beginning because they were longer than the model can read."""


@dataclass(frozen=True)
class Battle:
    """One comparison of two answers; the native JSONL has one of these a line."""

    battle_id: str
    prompt_id: str
    model_a: str
    model_b: str
    winner: str
    """model_a, model_b, tie, both_bad or invalid (missing: refusal, parse error, truncation)."""
    judge: str
    judge_kind: str
    """human, llm, reward_model, verifiable or heuristic."""
    cluster_id: str | None = None
    """Unit of the intervals; None: the prompt."""
    y_a: float | None = None
    """Graded outcome for A in [0, 1]; None: from `winner`."""
    strength: float | None = None
    order: int = 0
    """0 or 1: which of the two presentations of the prompt."""
    prompt: str | None = None
    response_a: str | None = None
    response_b: str | None = None
    style_a: dict[str, float] | None = None
    """Style counts by feature name, when they were counted elsewhere."""
    style_b: dict[str, float] | None = None
    categories: tuple[str, ...] = ()
    language: str | None = None
    invalid_reason: str = ""
    sides_known: bool = True
    """False when the file does not say which answer the judge saw first: A is then only a name."""


@dataclass(frozen=True)
class Battles:
    """Comparisons of any number of models, from a judge or a file."""

    SCHEMA_VERSION: ClassVar[int] = 2

    battles: tuple[Battle, ...]
    source: str
    """Name of the judge or importer."""
    generated: bool
    """True when the answers were generated here, false for imported files; never called "human"."""
    dropped: dict[str, int]
    """Reason → rows that could not be used."""
    n_missing: int = 0
    """Of `dropped`, the rows and prompts that should hold a verdict and give none: unreadable
    rows, prompts that a model did not answer; not those that are left out by choice."""


@dataclass(frozen=True)
class StyleEffect:
    """One style feature: its mean shift and what it is worth."""

    feature: str
    coefficient: float
    """Log-odds for one RMS of the normalised difference."""
    mean_shift: float
    """Mean of the normalised difference z, candidate − baseline."""
    elo: Estimate
    per_unit: float | None = None
    """Log-odds per unit of z: what `--style_coefficients` takes."""
    vif: float | None = None
    """Variance inflation by the other features; above 5 only the joint effect is told."""


@dataclass(frozen=True)
class PreferenceCategory:
    """The split within one capability; categories overlap with nothing and do not add up."""

    capability: str
    n_battles: int
    n_prompts: int
    tie_rate: float
    raw_elo: Estimate | None
    substance_elo: Estimate | None
    q_value: float | None
    few: bool
    """Fewer than 100 prompts: shown grey."""


@dataclass(frozen=True)
class PreferenceDeltas:
    """Bradley–Terry deltas of the pair in Elo, candidate − baseline."""

    SCHEMA_VERSION: ClassVar[int] = 1

    judge: str
    judge_kind: str
    feature_set: str
    raw_elo: Estimate
    substance_elo: Estimate | None
    """None when style control is not available or not identified; `flags` says why."""
    style_elo: Estimate | None
    dispersion_elo: Estimate | None
    win_rate: Estimate
    """Candidate's win rate, ties half, in [0, 1]."""
    style_effects: tuple[StyleEffect, ...]
    sensitivity: dict[str, Estimate]
    """Raw Elo under other choices: ties dropped, …"""
    n_battles: int
    n_prompts: int
    n_clusters: int
    n_invalid: int
    """Judgments that are missing: invalid verdicts, and rows or prompts that gave none."""
    tie_rate: float
    flags: tuple[str, ...]
    categories: tuple[PreferenceCategory, ...]
    heterogeneity_p: float | None
    gateable: bool
    """False for heuristic judges and smoke runs."""
    sentence: str = ""
    """What the numbers say, in one plain sentence."""
    raw_points: Estimate | None = None
    """100·(win rate − ½): win-rate points."""
    substance_points: Estimate | None = None
    style_points: Estimate | None = None
    """The step from equal style to the mean difference in style."""
    dispersion_points: Estimate | None = None
    position_elo: Estimate | None = None
    """What being shown first is worth; None when position is not controlled."""
    sensitivity_substance: dict[str, Estimate] = field(default_factory=dict)
    """Substance under the choices of `sensitivity`, where style could be controlled."""
    n_models: int = 2
    """Models whose battles the scores and the style effects are learnt from."""
    n_direct: int = 0
    """Battles between the two models themselves."""
    source: str = ""
    """The judge, or the importer of the file."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Reason → rows or prompts that could not be used."""

    @property
    def elo_parts(self) -> dict[str, Estimate]:
        """Raw and, where they could be told apart, substance, style and dispersion in Elo."""
        parts = {
            "raw": self.raw_elo,
            "substance": self.substance_elo,
            "style": self.style_elo,
            "dispersion": self.dispersion_elo,
        }
        return {name: part for name, part in parts.items() if part is not None}
