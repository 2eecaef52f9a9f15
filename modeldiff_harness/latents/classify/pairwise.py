"""Score columns by ordered pair of models (own, other), before any role is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import LatentScores, ScoreColumn
from modeldiff_harness.errors import UsageError

__all__ = ["Guards", "OrderedPair", "PairwiseScores", "read_pairwise"]

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
OrderedPair = tuple[str, str]
"""(own, other): the model a latent is tested to be unique to, and the one it is tested against."""


@dataclass(frozen=True)
class Guards:
    """What a latent must have before a threshold may say anything about it."""

    min_active_tokens: int = 100
    min_active_documents: int = 10
    negative_nu: float = -0.5
    """A ν below this is "strongly negative": the other model holds the reverse direction."""


@dataclass(frozen=True, eq=False)
class PairwiseScores:
    """What `classify` reads of one dictionary; every mapping has all ordered pairs as keys.

    Dominance is Δnorm oriented towards `own`: 1 = own only, 0 = other only, ½ = equal norms.
    """

    models: tuple[str, ...]
    dominance: Mapping[OrderedPair, Doubles]
    cosine: Mapping[OrderedPair, Doubles]
    nu_eps: Mapping[OrderedPair, Doubles]
    nu_r: Mapping[OrderedPair, Doubles]
    nu_defined: Mapping[OrderedPair, Bools]
    beta_positive: Mapping[OrderedPair, Bools]
    """β of the own model is defined and its interval lies above 0."""
    alive_L: Bools
    """Active on the score split, with every Δnorm defined."""
    eligible_L: Bools
    """Alive, with enough active tokens and documents."""

    @property
    def pairs(self) -> tuple[OrderedPair, ...]:
        """All ordered pairs of models."""
        return tuple(permutations(self.models, 2))

    @property
    def n_latents(self) -> int:
        """Number of latents L."""
        return int(self.alive_L.shape[0])

    def others(self, own: str) -> tuple[str, ...]:
        """Return the models that a latent of `own` is tested against."""
        return tuple(model for model in self.models if model != own)

    def standing(self, own: str) -> Doubles:
        """Dominance of `own` over the model with the largest decoder norm among the others.

        Dominance falls as the other's norm grows, so this is the smallest over the others.
        """
        against = [self.dominance[own, other] for other in self.others(own)]
        return np.asarray(np.min(against, axis=0), dtype=np.float64)


def read_pairwise(scores: LatentScores, guards: Guards) -> PairwiseScores:
    """Collect the columns of `scores` by ordered pair.

    Raises UsageError when a column that classification needs was not scored, or has no interval
    where one is needed.
    """
    models = scores.models
    if len(models) < 2:
        raise UsageError(
            f"dictionary {scores.dictionary_id} reads {len(models)} model; classify compares two "
            "or more.",
        )
    dominance: dict[OrderedPair, Doubles] = {}
    cosine: dict[OrderedPair, Doubles] = {}
    defined = np.ones(len(_column(scores, "n_active_tokens").values_L), dtype=bool)
    for first, model_a in enumerate(models):
        for model_b in models[first + 1 :]:
            delta = _column(scores, f"delta_norm[{model_a}|{model_b}]")
            similarity = _column(scores, f"decoder_cosine[{model_a}|{model_b}]")
            defined &= delta.defined_L
            towards_b = np.where(delta.defined_L, delta.values_L, 0.5)
            dominance[model_b, model_a] = towards_b
            dominance[model_a, model_b] = 1.0 - towards_b
            cosine[model_a, model_b] = np.where(similarity.defined_L, similarity.values_L, 0.0)
            cosine[model_b, model_a] = cosine[model_a, model_b]
    tokens_L = _column(scores, "n_active_tokens").values_L
    documents_L = _column(scores, "n_active_documents").values_L
    alive_L = defined & (tokens_L > 0)
    scaling = _scaling_columns(scores)
    return PairwiseScores(
        models=models,
        dominance=dominance,
        cosine=cosine,
        alive_L=alive_L,
        eligible_L=alive_L
        & (tokens_L >= guards.min_active_tokens)
        & (documents_L >= guards.min_active_documents),
        nu_eps=scaling.nu_eps,
        nu_r=scaling.nu_r,
        nu_defined=scaling.nu_defined,
        beta_positive=scaling.beta_positive,
    )


@dataclass(frozen=True, eq=False)
class _Scaling:
    nu_eps: dict[OrderedPair, Doubles]
    nu_r: dict[OrderedPair, Doubles]
    nu_defined: dict[OrderedPair, Bools]
    beta_positive: dict[OrderedPair, Bools]


def _scaling_columns(scores: LatentScores) -> _Scaling:
    found = _Scaling({}, {}, {}, {})
    for own, other in permutations(scores.models, 2):
        key = f"[own={own},other={other}]"
        eps, r = _column(scores, f"nu_eps{key}"), _column(scores, f"nu_r{key}")
        beta = _column(scores, f"beta_own{key}")
        if beta.lower_L is None:
            raise UsageError(
                f"score column beta_own{key} of {scores.dictionary_id} has no interval.",
                hint="Score the dictionary with at least two jackknife blocks.",
            )
        pair = (own, other)
        found.nu_defined[pair] = eps.defined_L & r.defined_L
        found.nu_eps[pair] = np.where(eps.defined_L, eps.values_L, 0.0)
        found.nu_r[pair] = np.where(r.defined_L, r.values_L, 0.0)
        found.beta_positive[pair] = beta.defined_L & (beta.lower_L > 0)
    return found


def _column(scores: LatentScores, name: str) -> ScoreColumn:
    try:
        return scores.column(name)
    except KeyError as error:
        raise UsageError(
            f"dictionary {scores.dictionary_id} has no score column {name!r}.",
            hint="classify needs it: score with delta_norm, latent_scaling and activity.",
        ) from error
