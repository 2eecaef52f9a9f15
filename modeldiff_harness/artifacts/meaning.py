"""Whose a latent is, what it is about, and the shares of capabilities.

Letters: L latents, K active, W window length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from modeldiff_harness.artifacts.arrays import NDArray
from modeldiff_harness.artifacts.estimates import Estimate, ShareComparison

__all__ = [
    "OWNERS",
    "CapabilityProfile",
    "LatentEvidence",
    "LatentLabel",
    "LatentLabels",
    "LatentOwners",
    "OwnerRule",
    "ProfileRow",
    "TokenWindow",
]

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

OWNERS = ("baseline", "candidate", "base", "shared", "other", "undetermined", "negative", "dead")
"""Owner of a latent; arrays hold the index.

baseline, candidate, base   specific to that model under the rule
shared                      in the shared band of Δnorm
other                       alive, neither shared nor confirmed as specific
undetermined                a guard failed: too few active tokens or documents, or β of the own
                            model is not clearly positive
negative                    strongly negative ν
dead                        never active on the score split
"""


@dataclass(frozen=True)
class OwnerRule:
    """One named rule of `classify` and its outcome."""

    rule: str
    """published, calibrated, above_null."""
    thresholds: dict[str, float]
    owner_L: NDArray[np.uint8]
    """Index into OWNERS."""
    skipped: str = ""
    """Why the rule could not be applied (no null run), or empty; owners are then "undetermined"."""


@dataclass(frozen=True)
class LatentOwners:
    """Who a latent belongs to, under each rule; oriented: this is where roles enter."""

    SCHEMA_VERSION: ClassVar[int] = 1

    dictionary_id: str
    roles: dict[str, str]
    """Model name → "baseline", "candidate" or "base"."""
    delta_norm_L: Doubles
    """Δnorm oriented later − earlier role: base < baseline < candidate; 1 = later-only."""
    defined_L: NDArray[np.bool_]
    decoder_cosine_L: Doubles
    nu_eps_L: Doubles
    """ν_ε of the latent against the model with the smaller decoder norm; see `nu_defined_L`."""
    nu_r_L: Doubles
    nu_defined_L: NDArray[np.bool_]
    rules: tuple[OwnerRule, ...]
    sensitivity: dict[str, dict[str, list[float]]]
    """Counts of owners as one threshold moves: {"delta_norm": {"x": […], "candidate": […], …}}."""

    def rule(self, name: str) -> OwnerRule:
        """Return the outcome of rule `name`; KeyError if it was not run."""
        for rule in self.rules:
            if rule.rule == name:
                return rule
        raise KeyError(name)

    def latents_of(self, owner: str, rule: str) -> Ints:
        """Return the sorted indices that `rule` gives to `owner`."""
        return np.flatnonzero(self.rule(rule).owner_L == OWNERS.index(owner)).astype(np.int64)


@dataclass(frozen=True)
class TokenWindow:
    """One window as text, for labelers and readers."""

    doc_id: str
    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    capability: str | None
    author: str
    split: str
    kind: str
    """top or quantile."""


@dataclass(frozen=True)
class LatentEvidence:
    """What a labeler sees of one latent: never which model it came from."""

    dictionary_id: str
    latent: int
    windows: tuple[TokenWindow, ...]
    """From the score split; the label-test split is the harness's."""
    capabilities: tuple[str, ...]
    """Capabilities with documents in the score split; the next five align with it."""
    active_prompts_C: tuple[int, ...]
    n_prompts_C: tuple[int, ...]
    mass_C: tuple[float, ...]
    n_tokens_C: tuple[int, ...]
    level_prompts_CH: tuple[tuple[int, ...], ...]
    """Prompts by level of mean activation, 0 = inactive (see FiringCounts)."""
    token_lift: dict[str, float]
    """Activating token text → log-odds of its share of the mass against its share of the corpus."""
    template_share: float


@dataclass(frozen=True)
class LatentLabel:
    """A latent's category and text, and how it did on documents the labeler never saw."""

    dictionary_id: str
    latent: int
    capability: str | None
    """A taxonomy key; None = uninterpretable, which stays in N."""
    text: str
    labeler: str
    reason: str = ""
    """Why it is uninterpretable, or empty."""
    test_metric: str = "auroc"
    test_score: Estimate | None = None
    """On the label-test split, unit of `test_metric`; None when it could not be tested."""
    n_test_prompts: int = 0


@dataclass(frozen=True)
class LatentLabels:
    """Labels of the latents that were asked for (specific ones and shared decoys)."""

    SCHEMA_VERSION: ClassVar[int] = 1

    dictionary_id: str
    labeler: str
    labels: tuple[LatentLabel, ...]

    def by_latent(self) -> dict[int, LatentLabel]:
        """Return the labels keyed by latent index."""
        return {label.latent: label for label in self.labels}


@dataclass(frozen=True)
class ProfileRow:
    """One capability or class: its share of the candidate's and of the baseline's latents."""

    level: str
    """class or capability."""
    key: str
    class_key: str
    comparison: ShareComparison
    mass_share_difference: float | None
    """The same difference weighted by activation mass."""
    null_lower: float | None = None
    null_upper: float | None = None
    """Where the share difference of a new null pair of this size lies with 95 %; None when there is
    no null run."""


@dataclass(frozen=True)
class CapabilityProfile:
    """Shares of model-specific latents per capability under one rule."""

    SCHEMA_VERSION: ClassVar[int] = 1

    rule: str
    dictionary_ids: tuple[str, ...]
    rows: tuple[ProfileRow, ...]
    n_uninterpretable: dict[str, int]
    """By owner; they stay in N."""
    sign_stability: dict[str, float]
    """Capability → share of replicates whose difference has the pooled sign; empty below 3."""
