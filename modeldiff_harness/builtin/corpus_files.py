"""Corpora `jsonl`, `parquet` and `text`: documents from files on this machine."""

from __future__ import annotations

from pathlib import Path

from modeldiff_harness.corpora.described import DescribedCorpus, contents
from modeldiff_harness.corpora.documents import read_jsonl, read_parquet, read_text
from modeldiff_harness.errors import UsageError

__all__ = ["jsonl", "parquet", "text"]


def jsonl(path: str = "") -> DescribedCorpus:
    """Return the documents of a .jsonl or .jsonl.gz file of texts or chats."""
    file = _path(path, "jsonl")
    return DescribedCorpus(lambda: read_jsonl(file), lambda: contents(file))


def parquet(path: str = "") -> DescribedCorpus:
    """Return the documents of a .parquet file with a text or messages column."""
    file = _path(path, "parquet")
    return DescribedCorpus(lambda: read_parquet(file), lambda: contents(file))


def text(path: str = "") -> DescribedCorpus:
    """Return the documents of a folder of .txt files, or a file with a document a paragraph."""
    file = _path(path, "text")
    return DescribedCorpus(lambda: read_text(file), lambda: contents(file, "**/*.txt"))


def _path(path: str, corpus: str) -> Path:
    if not path:
        raise UsageError(
            f"corpus {corpus} needs a path.",
            hint=f"Write --corpus {corpus} --corpus_args path=FILE.",
        )
    return Path(path).expanduser()
