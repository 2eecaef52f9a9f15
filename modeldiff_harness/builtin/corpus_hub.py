"""Corpus `hub`: rows of a data set on the Hugging Face Hub, streamed."""

from __future__ import annotations

from typing import Any

from modeldiff_harness.corpora.described import DescribedCorpus
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
) -> DescribedCorpus:
    """Return the first `limit` rows (10,000 by default); `column` names the text or chat column.

    Without a `revision` the name stands for the rows: when the Hub's change, the key does not.
    """
    if not path:
        raise UsageError(
            "corpus hub needs a data set.", hint="Write --corpus hub --corpus_args path=ORG/NAME."
        )
    rows: dict[str, Any] = {
        "name": name,
        "split": split,
        "revision": revision,
        "column": column,
        "limit": _LIMIT if limit is None else limit,
    }
    return DescribedCorpus(
        lambda: read_hub(path, offline=offline, **rows), lambda: {"path": path, **rows}
    )
