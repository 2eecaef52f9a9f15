"""The shipped capability corpus: our documents, and the models' own answers to our prompts.

Without the models' own words a diff finds nothing of what they do when they speak.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import Document, Message
from modeldiff_harness.corpora.documents import read_jsonl, read_records
from modeldiff_harness.corpora.whole_text import refuse_broken_text
from modeldiff_harness.errors import UsageError

__all__ = ["DATA", "answer_documents", "capability_corpus", "read_answers", "read_prompts"]

DATA = Path(__file__).parent / "data"
"""Folder of documents.jsonl and corpus_prompts.jsonl."""


def capability_corpus(
    answers: Sequence[Path] = (), *, authors: Sequence[str] | None = None, data: Path = DATA
) -> list[Document]:
    """Return the documents of `data` and one chat for each answer in the files `answers`.

    Answers of models not in `authors` are left out; None takes all.  Chats are tagged with their
    author and their prompt's id, so that both models' answers to one prompt are split together.

    Raises UsageError for missing or malformed files, for answers to unknown prompts, and when an
    author of `authors` has no answers in files that were given.
    """
    documents = read_jsonl(data / "documents.jsonl")
    if not answers:
        return documents
    own = read_answers(answers, read_prompts(data / "corpus_prompts.jsonl"))
    if authors is not None:
        missing = sorted(set(authors) - {document.author for document in own})
        if missing:
            raise UsageError(
                f"the answer files hold no answers of {', '.join(missing)}.",
                hint="Generate them, or leave the author out.",
            )
        own = [document for document in own if document.author in set(authors)]
    return documents + own


def read_prompts(path: Path) -> dict[str, dict[str, Any]]:
    """Return the prompts of a JSONL file by prompt_id: capability, language, prompt …"""
    prompts: dict[str, dict[str, Any]] = {}
    for where, record in _whole_records(path):
        if not isinstance(record.get("prompt_id"), str) or not isinstance(
            record.get("prompt"), str
        ):
            raise UsageError(f"{where}: needs prompt_id and prompt.")
        if record["prompt_id"] in prompts:
            raise UsageError(f"{where}: prompt_id {record['prompt_id']!r} appears twice.")
        prompts[record["prompt_id"]] = record
    return prompts


def read_answers(files: Sequence[Path], prompts: Mapping[str, Mapping[str, Any]]) -> list[Document]:
    """Return one chat for each {"prompt_id", "author", "answer"} line of `files`.

    Raises as `answer_documents`, and UsageError for a malformed line.
    """
    return answer_documents(
        (
            (where, record.get("author"), record.get("prompt_id"), record.get("answer"), path.name)
            for path in files
            for where, record in _whole_records(path)
        ),
        prompts,
    )


def _whole_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for where, record in read_records(path):
        for key, given in record.items():
            if isinstance(given, str):
                refuse_broken_text(given, f"{where}, {key}")
        yield where, record


def answer_documents(
    answers: Iterable[tuple[str, Any, Any, Any, str]], prompts: Mapping[str, Mapping[str, Any]]
) -> list[Document]:
    """Return one chat for each (place, author, prompt_id, answer, source) to a known prompt.

    Empty answers are left out: there is nothing to read in them.  Raises UsageError for a
    malformed row, an unknown prompt, and two different answers of one author to one prompt.
    """
    documents: dict[tuple[str, str], Document] = {}
    for where, author, prompt_id, answer, source in answers:
        if not (isinstance(author, str) and author and isinstance(answer, str)):
            raise UsageError(f"{where}: needs prompt_id, author and answer.")
        prompt = prompts.get(str(prompt_id))
        if prompt is None:
            raise UsageError(f"{where}: answers prompt {prompt_id!r}, which is not known.")
        if not answer.strip():
            continue
        document = Document(
            doc_id=f"answer:{author}:{prompt_id}",
            messages=(Message("user", prompt["prompt"]), Message("assistant", answer)),
            capability=prompt.get("capability"),
            author=author,
            prompt_id=str(prompt_id),
            language=str(prompt.get("language", "en")),
            source=source,
        )
        known = documents.setdefault((author, str(prompt_id)), document)
        if known.messages != document.messages:
            raise UsageError(f"{where}: a second answer of {author!r} to {prompt_id!r}.")
    return list(documents.values())
