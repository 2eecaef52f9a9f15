"""What the latent arm makes, from activations to the capability profile.

Letters: T tokens, N documents, M models, V views (a model at a site), D width, L latents,
K active, G groups of documents, B jackknife blocks, E examples, W window length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts.estimates import Estimate, ShareComparison

__all__ = [
    "OWNERS",
    "ActivationStatistics",
    "CapabilityProfile",
    "DictionaryQuality",
    "DifferenceEnergy",
    "EnergyRow",
    "GroupActivity",
    "HarvestedActivations",
    "LatentEvidence",
    "LatentExamples",
    "LatentLabel",
    "LatentLabels",
    "LatentOwners",
    "LatentScores",
    "Normaliser",
    "NullMatch",
    "OwnerRule",
    "ProfileRow",
    "ScoreColumn",
    "ScorePass",
    "SimpleControl",
    "SimpleControls",
    "TokenWindow",
    "TrainedDictionary",
    "View",
]

Floats = NDArray[np.float32]
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
class View:
    """One model at one site: the unit that a dictionary reads and writes."""

    model: str
    """Role-free name of the model (its alias), never "baseline" or "candidate"."""
    site: str
    """`resid_post.i`, 0-based."""
    width: int


@dataclass(frozen=True)
class Normaliser:
    """x_normalised = (x − mean_D) / scale of one view, from the train split in float64."""

    mean_D: Doubles
    scale: float
    """One scalar: mean squared norm of the centred vector becomes D after division."""


@dataclass(frozen=True)
class HarvestedActivations:
    """Activations of one model at one or several sites, one row a kept token, in corpus order.

    `folder`/`activations.safetensors` holds a tensor (T_kept, D) a site, named by the site;
    `rows_T` maps a row to its corpus token.
    """

    SCHEMA_VERSION: ClassVar[int] = 1

    views: tuple[View, ...]
    rows_T: Ints
    """(T_kept,) index of each row into the corpus's tokens."""
    median_norms: tuple[float, ...]
    """Median ‖x‖ over kept tokens, a value a view."""
    dtype: str
    seconds: float
    """Wall time of the forward passes."""
    how: str = ""
    """How the model was run: its type and whether rows were packed; empty when unknown."""
    folder: Path = field(default=Path(), compare=False, metadata={"transient": True})


@dataclass(frozen=True)
class ActivationStatistics:
    """What a live stream must know before it runs: centre, spread and outlying norms of each view.

    Measured once on whole prompts of the corpus (all of them when they hold no more than
    `sample_tokens`); float64.
    """

    SCHEMA_VERSION: ClassVar[int] = 1

    views: tuple[View, ...]
    normalisers: tuple[Normaliser, ...]
    """From the sample's train-split tokens of ordinary norm."""
    max_norms: tuple[float, ...] | None
    """A token whose norm exceeds its view's is left out of every view; None: all stay."""
    median_norms: tuple[float, ...]
    n_tokens: int
    """Kept tokens in the sample."""
    n_outliers: int
    """How many of them were left out."""
    complete: bool
    """True when the sample is the whole corpus: the numbers are those of cached activations."""
    seconds: float
    """Wall time of the forward passes."""


@dataclass(frozen=True)
class TrainedDictionary:
    """A sparse dictionary over V views, in the inference form that every learner converts to.

    Encoding of normalised views x^v: f⁺ = ReLU(Σ_v x^v W_enc^v + b_enc); latent j is active when
    f⁺_j·w_j > threshold, with w_j the latent weight Σ_m ‖d_j^m‖; then f_j = f⁺_j, else 0.
    Decoding: x̂^v = f W_dec^v + b^v.
    """

    SCHEMA_VERSION: ClassVar[int] = 1

    dictionary_id: str
    """Names a latent together with its index, everywhere."""
    design: str
    learner: str
    replicate: int
    views: tuple[View, ...]
    """Canonical order: by identity digest of the model, then by site; base has no special place."""
    encoders: tuple[Floats, ...]
    """V arrays (D_v, L)."""
    encoder_bias_L: Floats
    decoders: tuple[Floats, ...]
    """V arrays (L, D_v), normalised space."""
    decoder_biases: tuple[Floats, ...]
    """V arrays (D_v,)."""
    normalisers: tuple[Normaliser, ...]
    threshold: float
    """θ on f·w; 0 keeps every positive code."""
    k: int
    """Target mean number of active latents a token."""
    n_train_tokens: int
    n_steps: int
    loss_history: dict[str, list[float]]
    """Logged terms by name, one value a logging interval, `step` among them."""
    learner_config: dict[str, Any]
    seconds: float

    @property
    def n_latents(self) -> int:
        """Number of latents L."""
        return int(self.encoder_bias_L.shape[0])

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models in canonical order, once each."""
        return tuple(dict.fromkeys(view.model for view in self.views))


@dataclass(frozen=True)
class ScoreColumn:
    """One number a latent, made by a scorer; NaN never appears: `defined_L` says where it is."""

    name: str
    """e.g. delta_norm, nu_eps[candidate-model], firing_rate."""
    unit: str
    meaning: str
    values_L: Doubles
    defined_L: NDArray[np.bool_]
    lower_L: Doubles | None = None
    upper_L: Doubles | None = None


@dataclass(frozen=True)
class GroupActivity:
    """In how many documents and tokens of each group a latent is active, by split."""

    splits: tuple[str, ...]
    """Split of each group; groups are the distinct (split, capability, author) triples."""
    capabilities: tuple[str, ...]
    """Capability of each group, "" for none."""
    authors: tuple[str, ...]
    n_documents_G: Ints
    n_tokens_G: Ints
    active_documents_LG: Ints
    active_tokens_LG: Ints
    mass_LG: Doubles
    """Sum of f·w over tokens."""
    active_prompts_LG: Ints
    """Distinct prompts with at least one active token."""
    n_prompts_G: Ints
    level_prompts_LGH: NDArray[np.int32]
    """(L, G, H) prompts by level of the latent's mean activation in them (Σ f·w / tokens): 0 is
    inactive, h > 0 is [unit·2^(h−1), unit·2^h), open at both ends.  At usual firing rates most
    latents are active somewhere in most prompts; the level is what tells prompts apart."""
    level_unit: float


@dataclass(frozen=True)
class DictionaryQuality:
    """Quality numbers on the score split."""

    fve: dict[str, float]
    """Fraction of variance explained, by model."""
    fve_delta: dict[str, float]
    """FVE of the difference "a − b" by "a|b", the one that matters for a diff."""
    l0: float
    """Mean active latents a token under θ."""
    l0_topk: float
    """Mean active latents a token when exactly k·B a batch are kept."""
    dead_fraction: float
    dense_fraction: float
    """Share of latents active on more than 10 % of tokens."""
    n_tokens: int
    n_documents: int


@dataclass(frozen=True)
class LatentScores:
    """All score columns of one dictionary: sums turned into numbers, no thresholds."""

    SCHEMA_VERSION: ClassVar[int] = 1

    dictionary_id: str
    models: tuple[str, ...]
    columns: tuple[ScoreColumn, ...]
    quality: DictionaryQuality
    activity: GroupActivity

    def column(self, name: str) -> ScoreColumn:
        """Return the column `name`; KeyError names the known ones."""
        for column in self.columns:
            if column.name == name:
                return column
        known = ", ".join(c.name for c in self.columns)
        raise KeyError(f"no score column {name!r}; known: {known}")


@dataclass(frozen=True)
class LatentExamples:
    """Windows of tokens around a latent's activations, from the score split only."""

    SCHEMA_VERSION: ClassVar[int] = 1

    dictionary_id: str
    latent_E: Ints
    document_E: Ints
    """Index into the corpus's documents."""
    kind_E: NDArray[np.uint8]
    """0: among the highest; 1: a quantile sample."""
    peak_E: Floats
    """Activation f·w at the peak."""
    start_E: Ints
    """Corpus token index of the window's first token."""
    tokens_EW: NDArray[np.int32]
    """Token ids, −1 beyond the document."""
    activations_EW: Floats
    template_share_L: Doubles
    """Share of a latent's activation mass on template control tokens; > 0.5 = template latent."""


@dataclass(frozen=True)
class ScorePass:
    """What one pass over the held-out tokens gives: numbers and examples."""

    SCHEMA_VERSION: ClassVar[int] = 1

    scores: LatentScores
    examples: LatentExamples


@dataclass(frozen=True)
class NullMatch:
    """The factor on the null twin's adapter that gives it the real pair's difference energy."""

    SCHEMA_VERSION: ClassVar[int] = 1

    reference: str
    """Model both differences are measured from."""
    model: str
    """Model whose difference is matched."""
    twin: str
    adapter_scale: float
    target_energy: float
    """‖x^model − x^reference‖²/‖x^reference‖² on the matching documents."""
    matched_energy: float
    """The same for the scaled twin; it differs from the target where the search stopped."""
    n_tokens: int


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
    """Prompts by level of mean activation, 0 = inactive (see GroupActivity)."""
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
    """Band of the share difference in the null run; None when there is none."""


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


@dataclass(frozen=True)
class EnergyRow:
    """Relative difference energy ‖x^c − x^b‖²/‖x^b‖² over one group of documents."""

    capability: str | None
    author: str | None
    relative_energy: Estimate
    """Interval by prompt (jackknife)."""
    n_tokens: int
    n_prompts: int


@dataclass(frozen=True)
class DifferenceEnergy:
    """The look that costs no training: how far the activations moved, where, in whose words."""

    SCHEMA_VERSION: ClassVar[int] = 1

    site: str
    pair: tuple[str, str]
    """(x^b, x^c): names of the models."""
    rows: tuple[EnergyRow, ...]
    """The first row is over everything."""


@dataclass(frozen=True)
class SimpleControl:
    """A cheap explanation of one capability, scored on the same held-out prompts."""

    control: str
    """mean_difference, logistic_probe, word_counts."""
    capability: str
    auroc: Estimate
    n_test_prompts: int


@dataclass(frozen=True)
class SimpleControls:
    """Controls that must stand beside the latents."""

    SCHEMA_VERSION: ClassVar[int] = 1

    rows: tuple[SimpleControl, ...]
