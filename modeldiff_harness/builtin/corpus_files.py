"""Corpora `jsonl`, `parquet` and `text`: documents from files on this machine."""

from __future__ import annotations

from pathlib import Path

from modeldiff_harness.artifacts import Document
from modeldiff_harness.corpora.documents import read_jsonl, read_parquet, read_text
from modeldiff_harness.errors import UsageError

__all__ = ["jsonl", "parquet", "text"]


def jsonl(path: str = "") -> list[Document]:
    """Read a .jsonl or .jsonl.gz file of texts or chats."""
    return read_jsonl(_path(path, "jsonl"))


def parquet(path: str = "") -> list[Document]:
    """Read a .parquet file with a text or messages column."""
    return read_parquet(_path(path, "parquet"))


def text(path: str = "") -> list[Document]:
    """Read a folder of .txt files, or one file with a document a paragraph."""
    return read_text(_path(path, "text"))


def _path(path: str, corpus: str) -> Path:
    if not path:
        raise UsageError(
            f"corpus {corpus} needs a path.",
            hint=f"Write --corpus {corpus} --corpus_args path=FILE.",
        )
    return Path(path).expanduser()
