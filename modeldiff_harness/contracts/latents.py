"""Scorers and labelers of latents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from modeldiff_harness.artifacts import (
    LatentEvidence,
    LatentLabel,
    ScoreColumn,
    TokenisedCorpus,
    TrainedDictionary,
)
from modeldiff_harness.contracts.dictionaries import Codes, DocumentFirings

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Labeler", "LatentScorer", "ScoreContext"]


@dataclass(frozen=True)
class ScoreContext:
    """Everything about one scoring batch, computed once and shared by all scorers.

    A batch holds whole documents, in corpus order, so that counts of documents simply add up.
    All activations are normalised.  Errors follow x = x̂ + e; x̂ includes the decoder bias.
    """

    dictionary: TrainedDictionary
    corpus: TokenisedCorpus
    split: str
    """A batch never crosses splits."""
    block_T: Tensor
    """(T,) int64 jackknife block: prompts are dealt to `n_blocks` blocks by digest."""
    n_blocks: int
    rows_T: Tensor
    """(T,) int64 index into the corpus's tokens."""
    document_T: Tensor
    """(T,) int64 index into the corpus's documents."""
    codes: Codes
    acts: tuple[Tensor, ...]
    """V tensors x^v (T, D_v)."""
    reconstructions: tuple[Tensor, ...]
    """V tensors x̂^v (T, D_v)."""
    errors: tuple[Tensor, ...]
    """V tensors e^v = x^v − x̂^v (T, D_v)."""
    by_document: DocumentFirings
    """The codes again, grouped by document and latent."""


class LatentScorer(Protocol):
    """A streaming accumulator over the score pass; `merge` of two halves equals one pass.

    The pass sums each split by an accumulator of its own, a copy made before `start`, and merges
    them before `finish`.
    """

    splits: Sequence[str]
    """Splits this scorer reads; batches of other splits are not given to it."""

    def start(self, dictionary: TrainedDictionary, corpus: TokenisedCorpus) -> None:
        """Allocate the running sums."""
        ...

    def update(self, context: ScoreContext) -> None:
        """Add one batch."""
        ...

    def merge(self, other: Any) -> None:
        """Add the sums of another accumulator of the same kind and dictionary."""
        ...

    def finish(self) -> Sequence[ScoreColumn]:
        """Turn sums into columns; names must be unique over all scorers of a run."""
        ...


class Labeler(Protocol):
    """Names latents from evidence; iterable in, iterator out, so that batches and resume fit.

    It returns a proposal; the harness tests it on documents the labeler never saw.
    """

    name: str

    def label(self, evidences: Iterable[LatentEvidence]) -> Iterator[LatentLabel]:
        """Yield one label an evidence, in any order, `test_score` left None."""
        ...
