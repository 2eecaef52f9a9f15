"""Corpus `hub`: rows of a data set on the Hugging Face Hub, streamed."""

from __future__ import annotations

from modeldiff_harness.artifacts import Document
from modeldiff_harness.corpora.documents import read_hub
from modeldiff_harness.errors import UsageError

__all__ = ["create"]

_LIMIT = 10_000


def create(
    path: str = "",
    name: str | None = None,
    split: str = "train",
    revision: str | None = None,
    column: str | None = None,
    limit: int | None = None,
    offline: bool = False,
) -> list[Document]:
    """Read the first `limit` rows (10,000 by default); `column` names the text or chat column."""
    if not path:
        raise UsageError(
            "corpus hub needs a data set.", hint="Write --corpus hub --corpus_args path=ORG/NAME."
        )
    return read_hub(
        path,
        name=name,
        split=split,
        revision=revision,
        column=column,
        limit=_LIMIT if limit is None else limit,
        offline=offline,
    )
