"""Where activations come from, and the streams that learners and scorers read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from modeldiff_harness.artifacts import Normaliser, TokenisedCorpus, View
from modeldiff_harness.contracts.runtime import Runtime

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ActivationBatch", "ActivationSource", "ActivationStream", "SourceModels"]


@dataclass(frozen=True)
class ActivationBatch:
    """Activations of T tokens in every view; the same token ids for every model.

    Widths may differ between models: `acts` holds one (T, D_v) tensor a view, in view order.
    """

    views: tuple[View, ...]
    acts: tuple[Tensor, ...]
    rows_T: Any
    """(T,) int64 numpy: index of each token in the corpus (gives ids, roles, document)."""
    document_T: Any
    """(T,) int64 numpy: index into the corpus's documents."""
    how: Mapping[str, str] = field(default_factory=dict)
    """Model → how it was run (type, packing), for the record; a source may leave it out."""


@dataclass(frozen=True)
class SourceModels:
    """The models an activation source is asked for: names in canonical order and open handles."""

    names: tuple[str, ...]
    handle: Any
    """What the source needs to run them (a model pool for `transformers`; None for `planted`)."""


class ActivationSource(Protocol):
    """Runs models over tokens and yields what their residual streams hold."""

    def open(
        self, models: SourceModels, corpus: TokenisedCorpus, sites: Sequence[str], runtime: Runtime
    ) -> Iterator[ActivationBatch]:
        """Yield batches in corpus order, views = models × sites, kept tokens only.

        Raises UsageError for a site a model does not have, and when the same token ids cannot be
        given to every model.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Return a JSON-safe position from which `restore` continues exactly."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from `state` at the next `open`."""
        ...


class ActivationStream(Protocol):
    """What learners and scorers read: paired activations of one dictionary's views.

    Implemented over cached activations (`latents/harvest/stream.py`) and over models that
    run meanwhile (`latents/harvest/live_stream.py`).
    """

    views: tuple[View, ...]
    normalisers: tuple[Normaliser, ...]
    """From the train split, float64."""
    corpus: TokenisedCorpus

    def n_rows(self, split: str) -> int:
        """Return the number of kept tokens of `split`.

        A live stream counts the outliers that it will leave out: count what comes where it matters.
        """
        ...

    def shuffled(
        self, split: str, batch_tokens: int, *, seed: int, start_step: int = 0
    ) -> Iterator[ActivationBatch]:
        """Yield normalised batches of exactly `batch_tokens` for ever, from step `start_step`.

        Every epoch is a fresh permutation drawn from (seed, epoch); the token order of a step
        depends on nothing else, so a resumed run sees what an unbroken one sees.
        """
        ...

    def ordered(self, splits: Sequence[str], batch_tokens: int) -> Iterator[ActivationBatch]:
        """Yield every kept token of `splits` once, normalised, in corpus order."""
        ...
