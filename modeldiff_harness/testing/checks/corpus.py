"""The check of `corpus`."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from modeldiff_harness.artifacts import Document, Message
from modeldiff_harness.contracts import Corpus
from modeldiff_harness.taxonomy import load_taxonomy
from modeldiff_harness.testing.checks.rules import Subject

__all__ = ["check_corpus"]


def check_corpus(factory: Callable[[], Corpus], *, name: str | None = None) -> None:
    """Check a corpus; `factory` is called with its configuration bound, and without a network.

    fingerprint: plain JSON data, the same from every instance, made without a connection and
    without a document; documents: unique ids, a text or a chat, a capability of the taxonomy;
    determinism: each iteration gives the same documents.  Raises CheckFailed.
    """
    subject = Subject("corpus", factory, name)
    with _described_only(subject):
        corpus = subject.make()
        fingerprint = _fingerprint(subject, corpus)
    with subject.rule("documents"):
        documents = list(corpus)
    _check_documents(subject, documents)
    subject.require("determinism", list(corpus) == documents, "a second iteration differs")
    again = subject.make()
    subject.require("determinism", list(again) == documents, "a second instance differs")
    subject.require(
        "fingerprint", _fingerprint(subject, again) == fingerprint, "two instances differ"
    )
    subject.require(
        "fingerprint",
        _fingerprint(subject, corpus) == fingerprint,
        "iterating changes it",
    )


def _fingerprint(subject: Subject, corpus: Any) -> str:
    with subject.rule("fingerprint"):
        return json.dumps(dict(corpus.fingerprint()), sort_keys=True, allow_nan=False)


@contextmanager
def _described_only(subject: Subject) -> Iterator[None]:
    """Fail when the block connects to anything or makes a document."""
    done = set[str]()
    make = Document.__init__

    def connect(*_: Any, **__: Any) -> Any:
        done.add("reads the network")
        raise OSError("the network is out of reach in this check")

    def document(*given: Any, **named: Any) -> None:
        done.add("builds documents")
        make(*given, **named)

    with (
        mock.patch.object(socket.socket, "connect", connect),
        mock.patch.object(socket, "getaddrinfo", connect),
        mock.patch.object(Document, "__init__", document),
    ):
        yield
    subject.require("fingerprint", not done, f"it {' and '.join(sorted(done))}")


def _check_documents(subject: Subject, documents: list[Any]) -> None:
    seen: set[str] = set()
    for document in documents:
        subject.require(
            "documents", isinstance(document, Document), f"{document!r:.80} is no Document"
        )
        where = f"document {document.doc_id!r}"
        subject.require(
            "documents",
            isinstance(document.doc_id, str) and document.doc_id not in seen,
            f"{where}: its id is no text, or is there twice",
        )
        seen.add(document.doc_id)
        chat = all(isinstance(message, Message) for message in document.messages)
        subject.require("documents", chat, f"{where} has turns that are no Message")
        one = (document.text is not None) != bool(document.messages)
        subject.require("documents", one, f"{where} needs either a text or a chat")
        known = document.capability is None or document.capability in load_taxonomy()
        subject.require("documents", known, f"{where}: no capability {document.capability!r}")
