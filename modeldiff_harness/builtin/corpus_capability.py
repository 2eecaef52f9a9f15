"""Corpus `capability`: the shipped documents and the models' own answers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import Document
from modeldiff_harness.corpora.capability import DATA, capability_corpus
from modeldiff_harness.corpora.described import DescribedCorpus, contents
from modeldiff_harness.errors import UsageError
from modeldiff_harness.models.packaged import locate_packaged

__all__ = ["create"]

_OURS = ("own", "web")


def create(
    answers: Sequence[str | Path] | str | Path | None = None,
    authors: Sequence[str] | None = None,
    share: float = 1.0,
) -> DescribedCorpus:
    """Return the capability corpus with the answers in `answers`: paths or `package:…` names.

    `share` keeps that share of our own documents, chosen by digest: a small budget is better spent
    on the models' own answers.
    """
    if not 0 < share <= 1:
        raise UsageError(f"corpus capability: share is {share}; it takes more than 0, at most 1.")
    given = [answers] if isinstance(answers, (str, Path)) else list(answers or ())
    files = [
        locate_packaged(str(name)) if str(name).startswith("package:") else Path(name)
        for name in given
    ]

    def read() -> list[Document]:
        documents = capability_corpus(files, authors=authors)
        return [d for d in documents if d.author not in _OURS or _place(d.doc_id) < share]

    def describe() -> dict[str, Any]:
        return {
            "documents": contents(DATA),
            "answers": [contents(file) for file in files],
            "authors": authors,
            "share": share,
        }

    return DescribedCorpus(read, describe)


def _place(doc_id: str) -> float:
    """Return a number in [0, 1) that depends on the name alone."""
    return int(hashlib.sha256(doc_id.encode()).hexdigest()[:8], 16) / 2**32
