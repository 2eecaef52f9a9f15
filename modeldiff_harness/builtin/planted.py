"""Activation source `planted`: activations made of known features, the truth beside them.

Every token activates a few features (Zipf frequencies, random strengths); a model's activation is
the sum of its directions of these features, plus a mean and noise.  What differs between the
models is known exactly, so the whole latent arm can be tested on it.

Feature kinds
    shared      the same direction in every model (random ones where widths differ)
    exclusive   in one model only; fires in documents of one capability that its model wrote
    shrunk      in every model, but much weaker in one
    twin        shared; the oracle dictionary stores it as two one-sided latents (decoupling)
    rotated     in every model, another direction in each
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import (
    ROLES,
    SPLITS,
    Document,
    Normaliser,
    TokenisedCorpus,
    TrainedDictionary,
    View,
)
from modeldiff_harness.contracts import ActivationBatch, Runtime, SourceModels
from modeldiff_harness.errors import UsageError, did_you_mean

__all__ = ["PlantedConfig", "PlantedSource", "PlantedTruth", "create", "planted_corpus"]

SITE = "resid_post.0"
"""The one site of the planted models."""

_TOKEN_BASE = 10
"""Token id of feature 0; ids below are the template's control tokens."""
_CAPABILITIES = ("refusal", "code_generation", "translation", "math_reasoning")


@dataclass(frozen=True)
class PlantedConfig:
    """What to plant; the same configuration gives the same corpus and activations."""

    models: tuple[str, ...] = ("planted-a", "planted-b")
    """2 or 3 names, in canonical order."""
    widths: tuple[int, ...] = (48, 48)
    """Residual width of each model."""
    n_shared: int = 40
    n_exclusive: int = 2
    """For each model."""
    n_shrunk: int = 2
    """For each model: strong there, `shrunk_norm` times as strong elsewhere."""
    n_twins: int = 2
    n_rotated: int = 2
    shrunk_norm: float = 0.3
    exclusive_rate: float = 0.25
    """How often an exclusive feature fires on the tokens of its own documents."""
    active_per_token: float = 3.0
    """Mean number of active features a token, exclusive ones apart."""
    zipf_exponent: float = 0.5
    noise: float = 0.02
    """Standard deviation of the noise, a coordinate; feature directions have norm 1."""
    n_prompts: int = 240
    tokens_per_document: int = 24
    split_shares: tuple[float, ...] = (0.6, 0.1, 0.2, 0.1)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= len(self.models) <= 3 or len(self.widths) != len(self.models):
            raise UsageError("planted: give 2 or 3 models and a width for each.")


@dataclass(frozen=True, eq=False)
class PlantedTruth:
    """The features behind the activations; F features, M models."""

    config: PlantedConfig
    kind_F: tuple[str, ...]
    """shared, exclusive, shrunk, twin or rotated."""
    owner_F: tuple[str | None, ...]
    """The model that has an exclusive feature, or is the stronger one of a shrunk feature."""
    capability_F: tuple[str | None, ...]
    """Capability of the documents an exclusive feature fires in."""
    directions: tuple[NDArray[np.float64], ...]
    """M arrays (F, D_m): what one unit of a feature adds to each model's activation."""
    means: tuple[NDArray[np.float64], ...]
    """M arrays (D_m,)."""
    codes_TF: NDArray[np.float64]
    """Strength of each feature on each corpus token, 0 where it is silent."""
    activations: tuple[NDArray[np.float32], ...]
    """M arrays (T, D_m), one row a corpus token."""
    views: tuple[View, ...]

    def features(self, kind: str, owner: str | None = None) -> list[int]:
        """Return the indices of the features of `kind` (and of `owner`, when given)."""
        pairs = enumerate(zip(self.kind_F, self.owner_F, strict=True))
        return [i for i, (k, o) in pairs if k == kind and owner in (None, o)]

    def dictionary(
        self, normalisers: Sequence[Normaliser], *, artefacts: bool = False
    ) -> TrainedDictionary:
        """Return the dictionary that a perfect learner would find, one latent a feature.

        With `artefacts` it makes the two mistakes of L1 crosscoders (Minder et al. 2025): shrunk
        features lose their weaker side (Complete Shrinkage), and every twin is stored as two
        latents with one-sided decoders, one a model, the first at the feature's own index and the
        rest appended in order (Latent Decoupling).  Raises UsageError with more features than
        coordinates, where codes cannot be read off linearly.
        """
        if len(self.kind_F) > sum(self.config.widths):
            raise UsageError("planted: more features than coordinates; widen the models.")
        decoders = [
            direction / n.scale for direction, n in zip(self.directions, normalisers, strict=True)
        ]
        encoder_CF = np.linalg.pinv(np.concatenate(decoders, axis=1))
        centres = [
            (mean - n.mean_D) / n.scale for mean, n in zip(self.means, normalisers, strict=True)
        ]
        bias_F = -np.concatenate(centres) @ encoder_CF
        if artefacts:
            decoders, encoder_CF, bias_F = self._with_artefacts(decoders, encoder_CF, bias_F)
        borders = np.cumsum(self.config.widths)[:-1]
        weight_F = np.sum([np.linalg.norm(d, axis=1) for d in decoders], axis=0)
        floats = np.float32
        return TrainedDictionary(
            dictionary_id="planted-oracle",
            design="direct",
            learner="oracle",
            replicate=0,
            views=self.views,
            encoders=tuple(e.astype(floats) for e in np.split(encoder_CF, borders)),
            encoder_bias_L=bias_F.astype(floats),
            decoders=tuple(d.astype(floats) for d in decoders),
            decoder_biases=tuple(c.astype(floats) for c in centres),
            normalisers=tuple(normalisers),
            threshold=0.5 * float(weight_F.min()),  # strengths are at least 1
            k=max(1, round(float((self.codes_TF > 0).sum(axis=1).mean()))),
            n_train_tokens=0,
            n_steps=0,
            loss_history={},
            learner_config={},
            seconds=0.0,
        )

    def _with_artefacts(
        self, decoders: list[NDArray[Any]], encoder_CF: NDArray[Any], bias_F: NDArray[Any]
    ) -> tuple[list[NDArray[Any]], NDArray[Any], NDArray[Any]]:
        names, twins = self.config.models, self.features("twin")
        copies = np.concatenate([np.arange(len(self.kind_F))] + [twins] * (len(names) - 1))
        copies = copies.astype(np.int64)
        latents = [decoder[copies].copy() for decoder in decoders]
        for m, name in enumerate(names):
            for j in self.features("shrunk"):
                if self.owner_F[j] != name:
                    latents[m][j] = 0.0
            for n_twin, j in enumerate(twins):
                sides = [j] + [
                    len(self.kind_F) + extra * len(twins) + n_twin
                    for extra in range(len(names) - 1)
                ]
                for side, row in enumerate(sides):
                    if side != m:
                        latents[m][row] = 0.0
        return latents, encoder_CF[:, copies], bias_F[copies]


@lru_cache(maxsize=8)
def planted_corpus(config: PlantedConfig) -> tuple[TokenisedCorpus, PlantedTruth]:
    """Plant `config`: return the corpus and the truth, activations included.

    Each prompt is answered once by every model and once by "web"; all documents of a prompt lie in
    one split.  A document opens with a template token that is not kept; every other token's id
    names its strongest feature.
    """
    rng = np.random.default_rng(config.seed)
    features = _features(config)
    directions = _directions(config, features, rng)
    means = tuple(rng.normal(size=width) for width in config.widths)
    documents, splits_N = _documents(config, rng)
    codes_TF = _codes(config, features, documents, rng)
    length = config.tokens_per_document
    n_tokens = len(documents) * length
    first_T = np.arange(n_tokens) % length == 0
    tokens_T = np.where(first_T, 1, _TOKEN_BASE + codes_TF.argmax(axis=1)).astype(np.int32)
    roles_T = np.where(first_T, ROLES.index("template"), ROLES.index("assistant"))
    corpus = TokenisedCorpus(
        tokens_T=tokens_T,
        roles_T=roles_T.astype(np.uint8),
        keep_T=~first_T,
        offsets_N1=np.arange(0, n_tokens + 1, length, dtype=np.int64),
        splits_N=splits_N,
        documents=documents,
        tokenizer_digest="planted",
        chat_template_digest=None,
        context=length,
        n_truncated=0,
    )
    activations = tuple(
        (codes_TF @ direction + mean + config.noise * rng.normal(size=(n_tokens, width))).astype(
            np.float32
        )
        for direction, mean, width in zip(directions, means, config.widths, strict=True)
    )
    truth = PlantedTruth(
        config=config,
        kind_F=tuple(f.kind for f in features),
        owner_F=tuple(f.owner for f in features),
        capability_F=tuple(f.capability for f in features),
        directions=directions,
        means=means,
        codes_TF=codes_TF,
        activations=activations,
        views=tuple(
            View(model, SITE, width)
            for model, width in zip(config.models, config.widths, strict=True)
        ),
    )
    return corpus, truth


@dataclass(frozen=True)
class _Feature:
    kind: str
    owner: str | None = None
    capability: str | None = None


def _features(config: PlantedConfig) -> list[_Feature]:
    features = [_Feature("shared")] * config.n_shared
    features += [_Feature("twin")] * config.n_twins
    features += [_Feature("rotated")] * config.n_rotated
    for model in config.models:
        features += [_Feature("shrunk", model)] * config.n_shrunk
    for m, model in enumerate(config.models):
        for i in range(config.n_exclusive):
            which = (m * config.n_exclusive + i) % len(_CAPABILITIES)
            features.append(_Feature("exclusive", model, _CAPABILITIES[which]))
    return features


def _directions(
    config: PlantedConfig, features: Sequence[_Feature], rng: np.random.Generator
) -> tuple[NDArray[np.float64], ...]:
    """Return (F, D_m) a model; where widths are equal, shared means equal."""
    common = {width: _unit_rows(rng, len(features), width) for width in sorted(set(config.widths))}
    own = [_unit_rows(rng, len(features), width) for width in config.widths]
    directions = []
    for m, (model, width) in enumerate(zip(config.models, config.widths, strict=True)):
        direction = common[width].copy()
        for j, feature in enumerate(features):
            if feature.kind == "rotated":
                direction[j] = own[m][j]
            elif feature.owner not in (None, model):
                direction[j] *= 0.0 if feature.kind == "exclusive" else config.shrunk_norm
        directions.append(direction)
    return tuple(directions)


def _documents(
    config: PlantedConfig, rng: np.random.Generator
) -> tuple[tuple[Document, ...], NDArray[np.uint8]]:
    counts = np.floor(np.cumsum(config.split_shares) * config.n_prompts + 1e-9).astype(int)
    order = rng.permutation(config.n_prompts)
    split_P = np.searchsorted(counts, np.argsort(order), side="right").clip(max=len(SPLITS) - 1)
    documents, splits = [], []
    for prompt in range(config.n_prompts):
        for author in (*config.models, "web"):
            documents.append(
                Document(
                    doc_id=f"p{prompt:04d}-{author}",
                    text=f"planted document {prompt} by {author}",
                    capability=_CAPABILITIES[prompt % len(_CAPABILITIES)],
                    author=author,
                    prompt_id=f"p{prompt:04d}",
                    source="planted",
                )
            )
            splits.append(split_P[prompt])
    return tuple(documents), np.array(splits, dtype=np.uint8)


def _codes(
    config: PlantedConfig,
    features: Sequence[_Feature],
    documents: Sequence[Document],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return strengths (T, F): background features everywhere, exclusive ones in their place."""
    length = config.tokens_per_document
    n_tokens = len(documents) * length
    background = [j for j, f in enumerate(features) if f.kind != "exclusive"]
    frequency = (1.0 + rng.permutation(len(background))) ** -config.zipf_exponent
    rates = np.zeros((len(documents), len(features)))
    rates[:, background] = np.minimum(0.9, config.active_per_token * frequency / frequency.sum())
    for j, feature in enumerate(features):
        if feature.kind == "exclusive":
            home = [
                d.capability == feature.capability and d.author == feature.owner for d in documents
            ]
            rates[home, j] = config.exclusive_rate
    active = rng.random((n_tokens, len(features))) < np.repeat(rates, length, axis=0)
    strength = 1.0 + rng.gamma(2.0, 0.5, size=active.shape)
    codes_TF: NDArray[np.float64] = np.where(active, strength, 0.0)
    return codes_TF


def _unit_rows(rng: np.random.Generator, n: int, width: int) -> NDArray[np.float64]:
    rows = rng.normal(size=(n, width))
    unit: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


@dataclass
class PlantedSource:
    """`ActivationSource` over a planted corpus; it runs no model."""

    config: PlantedConfig
    _position: int = field(default=0, init=False)

    def open(
        self, models: SourceModels, corpus: TokenisedCorpus, sites: Sequence[str], runtime: Runtime
    ) -> Iterator[ActivationBatch]:
        """Yield the planted activations of the kept tokens, in corpus order.

        The corpus may hold some of the planted documents, in any order.  Raises UsageError for an
        unknown model or site, and for a corpus that this configuration did not plant.
        """
        import torch

        own, truth = planted_corpus(self.config)
        token_T = _own_tokens(own, corpus)
        for site in sites:
            if site != SITE:
                raise UsageError(f"planted models have no site {site!r}.", hint=f"Use {SITE}.")
        for name in models.names:
            if name not in self.config.models:
                raise UsageError(
                    f"{name!r} is not planted.", hint=did_you_mean(name, self.config.models)
                )
        chosen = [self.config.models.index(name) for name in models.names]
        views = tuple(truth.views[m] for m in chosen)
        rows = np.flatnonzero(corpus.keep_T).astype(np.int64)
        document = np.searchsorted(corpus.offsets_N1, rows, side="right") - 1
        while self._position < rows.shape[0]:
            part = slice(self._position, self._position + runtime.batch_tokens)
            acts = tuple(
                torch.from_numpy(truth.activations[m][token_T[rows[part]]]) for m in chosen
            )
            self._position = min(part.stop, rows.shape[0])
            yield ActivationBatch(views, acts, rows[part], document[part].astype(np.int64))
        self._position = 0

    def state(self) -> dict[str, Any]:
        """Return the position in kept tokens."""
        return {"position": self._position}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue at the position of `state`."""
        self._position = int(state["position"])


def _own_tokens(own: TokenisedCorpus, corpus: TokenisedCorpus) -> NDArray[np.int64]:
    """Return the place of every token of `corpus` in the planted corpus."""
    place = {document.doc_id: n for n, document in enumerate(own.documents)}
    found = np.array([place.get(d.doc_id, -1) for d in corpus.documents], dtype=np.int64)
    if corpus.n_documents and (found >= 0).all():
        length = np.diff(own.offsets_N1)[found]
        if np.array_equal(length, np.diff(corpus.offsets_N1)):
            within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
            token_T: NDArray[np.int64] = np.repeat(own.offsets_N1[found], length) + within
            if np.array_equal(own.tokens_T[token_T], corpus.tokens_T):
                return token_T
    raise UsageError("the corpus is not the one that source 'planted' made.")


def create(**config: Any) -> PlantedSource:
    """Return the source; unknown settings are refused with the nearest known name."""
    known = [f.name for f in fields(PlantedConfig)]
    for name in config:
        if name not in known:
            raise UsageError(f"planted has no setting {name!r}.", hint=did_you_mean(name, known))
    tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    return PlantedSource(PlantedConfig(**tuples))
