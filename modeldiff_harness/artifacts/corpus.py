"""Documents, their tokens and their splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from modeldiff_harness.artifacts.arrays import NDArray

__all__ = ["ROLES", "SPLITS", "Document", "Message", "TokenisedCorpus"]

ROLES = ("web", "system", "user", "assistant", "template")
"""Role of a token; `roles_T` holds the index.  `template` marks control tokens of the template."""

SPLITS = ("train", "calibrate", "score", "label_test")
"""Documents are divided once, by prompt; no prompt serves two.  `splits_N` holds the index."""


@dataclass(frozen=True)
class Message:
    """One turn of a chat."""

    role: str
    content: str


@dataclass(frozen=True)
class Document:
    """One text or chat of a corpus, with the tags that later stages group by."""

    doc_id: str
    messages: tuple[Message, ...] = ()
    """The chat, or empty when `text` is set."""
    text: str | None = None
    capability: str | None = None
    author: str = "own"
    """Who wrote the (last) answer: "own", "web", or the alias of a model."""
    prompt_id: str | None = None
    """Documents of one prompt are split together; None: the document is its own prompt."""
    language: str = "en"
    source: str = ""


@dataclass(frozen=True)
class TokenisedCorpus:
    """Documents as token ids, concatenated.

    Document n is `tokens_T[offsets_N1[n]:offsets_N1[n + 1]]`.
    """

    SCHEMA_VERSION: ClassVar[int] = 1

    tokens_T: NDArray[np.int32]
    roles_T: NDArray[np.uint8]
    """Index into ROLES."""
    keep_T: NDArray[np.bool_]
    """False for tokens that are run but never learnt from or scored (BOS, for one)."""
    offsets_N1: NDArray[np.int64]
    """(N + 1,) start of each document, last entry T."""
    splits_N: NDArray[np.uint8]
    """Index into SPLITS."""
    documents: tuple[Document, ...]
    tokenizer_digest: str
    chat_template_digest: str | None
    context: int
    """Most tokens of one document; longer ones were cut."""
    n_truncated: int
    also_read_by: tuple[str, ...] = ()
    """Digests of other tokenizers that give every document the same ids."""

    @property
    def n_tokens(self) -> int:
        """Number of tokens T, kept or not."""
        return int(self.tokens_T.shape[0])

    @property
    def n_documents(self) -> int:
        """Number of documents N."""
        return len(self.documents)
