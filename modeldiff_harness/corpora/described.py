"""A corpus that says which documents it will give before it reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import Document
from modeldiff_harness.errors import UsageError
from modeldiff_harness.stages import Built, InputFile

__all__ = ["DescribedCorpus", "DocumentsUse", "contents"]


@dataclass(frozen=True)
class DescribedCorpus:
    """Documents that are read when they are asked for; satisfies the contract `Corpus`."""

    read: Callable[[], Sequence[Document]]
    describe: Callable[[], Mapping[str, Any]]

    def __iter__(self) -> Iterator[Document]:
        """Read the documents."""
        return iter(self.read())

    def fingerprint(self) -> Mapping[str, Any]:
        """Return plain data that changes whenever the documents do; nothing is read remotely."""
        return self.describe()


@dataclass(frozen=True)
class DocumentsUse(Built):
    """A corpus component as a stage uses it: what it will give speaks, not where that lies."""

    def recipe(self) -> Any:
        """Return provenance and the corpus's own description of its documents."""
        described: Mapping[str, Any] = self.choice.build().fingerprint()
        return {"component": self.choice.registered.recipe(), "documents": dict(described)}


def contents(path: Path, pattern: str = "**/*") -> dict[str, str]:
    """Return name → sha256 of a file, or of the files of a folder; UsageError for none."""
    if path.is_file():
        return {"": InputFile(path).recipe()}
    files = [file for file in sorted(path.glob(pattern)) if file.is_file()]
    if not files:
        raise UsageError(f"corpus file {path} does not exist.")
    return {file.relative_to(path).as_posix(): InputFile(file).recipe() for file in files}
