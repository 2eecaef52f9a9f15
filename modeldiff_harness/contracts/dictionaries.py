"""Learners, designs and sparse codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from modeldiff_harness.artifacts import TrainedDictionary
from modeldiff_harness.contracts.activations import ActivationStream
from modeldiff_harness.contracts.runtime import Runtime

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Codes", "DesignMember", "DictionaryDesign", "DictionaryLearner", "DocumentFirings"]


@dataclass(frozen=True)
class Codes:
    """Sparse codes of a batch: N firings, sorted by token then latent; never a dense T×L matrix."""

    n_tokens: int
    n_latents: int
    token_N: Tensor
    """int64, index within the batch."""
    latent_N: Tensor
    """int64."""
    code_N: Tensor
    """Unscaled code f > 0."""
    activation_N: Tensor
    """Reported activation f·w."""


@dataclass(frozen=True)
class DocumentFirings:
    """The same firings by document and latent: P pairs, each with its firings in token order.

    Numpy arrays.  Pairs are sorted by document; within one, by where the latent fires first.
    """

    document_P: Any
    """int64, index into the corpus's documents."""
    latent_P: Any
    """int64."""
    start_P1: Any
    """(P + 1,) int64: the firings of pair p are start_P1[p] … start_P1[p + 1]."""
    row_N: Any
    """int64, index into the corpus's tokens."""
    activation_N: Any
    """f·w."""
    mass_P: Any
    """float64, Σ f·w of the pair's firings."""
    peak_P: Any
    """The pair's largest f·w."""
    peak_row_P: Any
    """int64, corpus token of the (first) peak."""


class DictionaryLearner(Protocol):
    """Fits a sparse dictionary to a stream of paired activations.

    A learner that subclasses this class inherits what is usual: it trains, and its configuration
    alone says what it gives.
    """

    trains: bool = True
    """Whether `fit` trains.  A dictionary that is only read has no null run beside it: none was
    trained like it."""

    def fingerprint(self) -> Any:
        """Return JSON-safe content that enters store keys in place of the configuration, or None.

        For what is read from files: the content speaks, not where it lies.
        """
        return None

    def fit(
        self,
        stream: ActivationStream,
        *,
        dictionary_id: str,
        design: str,
        replicate: int,
        runtime: Runtime,
    ) -> TrainedDictionary:
        """Train on split "train", set θ on split "calibrate", return the inference form.

        Checkpoints into `runtime.workdir` and continues from there; emits
        `runtime.on_train_step`.  Deterministic in (stream, configuration, replicate).
        Raises RunError on NaN or a loss spike, keeping the last good checkpoint.
        """
        ...


@dataclass(frozen=True)
class DesignMember:
    """One dictionary a design asks for."""

    dictionary_id: str
    models: tuple[str, ...]
    """Model names in canonical order."""
    roles: Mapping[str, str]
    """Model name → baseline, candidate or base."""
    null_models: tuple[str, ...] | None
    """The same with the later model replaced by the null twin; None without a twin."""


class DictionaryDesign(Protocol):
    """Says which dictionaries answer the question: via-base (two), direct (one), joint (one)."""

    def members(
        self,
        *,
        baseline: str,
        candidate: str,
        base: str | None,
        null_twin: str | None,
        site: str,
        twin_of: str | None = None,
    ) -> tuple[DesignMember, ...]:
        """Return the dictionaries to train; UsageError when a needed model is missing.

        `twin_of` names the model that `null_twin` is a twin of (default: the baseline), so that a
        swapped pair keeps its null.
        """
        ...
