"""Where documents come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from modeldiff_harness.artifacts import Document

__all__ = ["Corpus"]


class Corpus(Protocol):
    """Documents for the latent arm; the harness splits, renders, tokenises and cuts them."""

    def __iter__(self) -> Iterator[Document]:
        """Yield every document, each time the same ones in the same order; `doc_id`s are unique."""
        ...

    def fingerprint(self) -> Mapping[str, Any]:
        """Return plain data that say which documents will come: digests of files, a revision.

        It enters the store key in place of the documents, so two corpora of one fingerprint give
        the same documents.  Reads no network and builds no document: `--plan` asks for it.
        """
        ...
