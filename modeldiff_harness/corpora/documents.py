"""Reading documents: JSONL, parquet, plain text and Hub data sets, every bad row named."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import Document, Message
from modeldiff_harness.corpora.whole_text import refuse_broken_text
from modeldiff_harness.errors import RunError, UsageError, did_you_mean

__all__ = [
    "document_from_record",
    "prompt_key",
    "read_hub",
    "read_jsonl",
    "read_parquet",
    "read_records",
    "read_text",
]

_CHAT_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
_CHAT_FIELDS = ("messages", "conversation", "conversations")


def read_jsonl(path: Path) -> list[Document]:
    """Read documents from a JSON Lines file, gzipped or not.

    A line holds `text`, or `messages` (also `conversation`, `conversations`), or `prompt` with
    `answer`; and optionally doc_id, prompt_id, capability, author, language, source.  A row that
    repeats another in everything counts once.

    Raises UsageError with file and line for a missing, empty or malformed file or row.
    """
    return _collect(
        (document_from_record(record, where) for where, record in read_records(path)), str(path)
    )


def read_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, object) for every line of a JSON Lines file that is not blank.

    Raises UsageError with file and line number when a line is not a JSON object.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                where = f"{path}, line {number}"
                try:
                    record = json.loads(line)
                except ValueError as error:
                    raise UsageError(f"{where}: not JSON ({error}).") from None
                if not isinstance(record, dict):
                    raise UsageError(f"{where}: not a JSON object.")
                yield where, record
    except FileNotFoundError:
        raise UsageError(f"corpus file {path} does not exist.") from None
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, IsADirectoryError) as error:
        raise UsageError(f"corpus file {path} cannot be read: {error}.") from None


def read_parquet(path: Path) -> list[Document]:
    """Read documents from a parquet file with the columns that `read_jsonl` knows as fields."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise UsageError(f"corpus file {path} does not exist.") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError(f"corpus file {path} is not readable parquet: {error}.") from None

    def documents() -> Iterator[Document]:
        number = 0
        for batch in file.iter_batches(batch_size=1024):
            for record in batch.to_pylist():
                number += 1
                given = {key: value for key, value in record.items() if value is not None}
                yield document_from_record(given, f"{path}, row {number}")

    return _collect(documents(), str(path))


def read_text(path: Path) -> list[Document]:
    """Read web text: a folder of .txt files, a document each, or a file split at blank lines."""
    if path.is_dir():
        pieces = [(p.name, p) for p in sorted(path.glob("**/*.txt"))]
        texts = [(name, _decoded(file)) for name, file in pieces]
    elif path.is_file():
        blocks = _decoded(path).split("\n\n")
        texts = [(f"{path}, block {n}", block.strip()) for n, block in enumerate(blocks, start=1)]
    else:
        raise UsageError(f"corpus file {path} does not exist.")
    records = (({"text": text, "author": "web"}, where) for where, text in texts if text.strip())
    return _collect((document_from_record(record, where) for record, where in records), str(path))


def read_hub(
    path: str,
    *,
    name: str | None = None,
    split: str = "train",
    revision: str | None = None,
    column: str | None = None,
    limit: int = 10_000,
    offline: bool = False,
) -> list[Document]:
    """Read the first `limit` rows of a Hub data set, streamed; fields as in `read_jsonl`.

    `column` names the column that holds the text (strings) or the chat (lists of turns).

    Raises UsageError for an unknown set and RunError when the Hub cannot be reached.
    """
    import datasets

    if offline:
        raise RunError(
            f"data set {path} is on the Hub and offline mode is on.",
            hint="Save it as JSONL or parquet and name the file.",
        )
    try:
        rows = datasets.load_dataset(
            path, name, split=split, revision=revision, streaming=True, trust_remote_code=False
        )
        return _collect(
            (
                document_from_record(_row(row, column, where), where)
                for number, row in enumerate(rows.take(limit), start=1)
                for where in [f"{path}, row {number}"]
            ),
            path,
        )
    except datasets.exceptions.DatasetNotFoundError:
        raise UsageError(
            f"data set {path!r} does not exist on the Hub, or needs a token."
        ) from None
    except (ConnectionError, OSError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"data set {path!r} cannot be fetched: {line}",
            hint="Save it as JSONL or parquet and name the file.",
        ) from None
    except ValueError as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"data set {path!r}: {line}") from None


def _row(row: Mapping[str, Any], column: str | None, where: str) -> dict[str, Any]:
    given = {key: value for key, value in row.items() if value is not None}
    if column is None:
        return given
    if column not in given:
        raise UsageError(f"{where}: no column {column!r}.", hint=did_you_mean(column, given))
    return {"text" if isinstance(given[column], str) else "messages": given[column]}


def document_from_record(record: Mapping[str, Any], where: str) -> Document:
    """Return the document that one row describes; UsageError, opening with `where`, if none."""
    messages, text = _content(record, where)
    tags: dict[str, Any] = {}
    for key in ("doc_id", "prompt_id", "capability", "author", "language", "source"):
        if key in record and record[key] is not None:
            if not isinstance(record[key], (str, int)):
                raise UsageError(f"{where}: {key} is not text.")
            tags[key] = str(record[key])
            refuse_broken_text(tags[key], f"{where}, {key}")
    if "author" not in tags:
        tags["author"] = "web" if text is not None else "own"
    if "doc_id" not in tags:
        content = json.dumps([text, [[m.role, m.content] for m in messages], tags], sort_keys=True)
        tags["doc_id"] = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Document(messages=messages, text=text, **tags)


def _content(record: Mapping[str, Any], where: str) -> tuple[tuple[Message, ...], str | None]:
    chat = next((record[f] for f in _CHAT_FIELDS if record.get(f) is not None), None)
    if chat is None and isinstance(record.get("prompt"), str) and record.get("text") is None:
        answer = record.get("answer", record.get("response"))
        if answer is None:
            raise UsageError(f"{where}: a prompt without an answer.")
        chat = [{"role": "user", "content": record["prompt"]},
                {"role": "assistant", "content": answer}]  # fmt: skip
    text = record.get("text")
    if (chat is None) == (text is None):
        found = ", ".join(sorted(map(str, record))) or "none"
        raise UsageError(f"{where}: needs either text or messages (fields found: {found}).")
    if text is not None:
        if not isinstance(text, str) or not text.strip():
            raise UsageError(f"{where}: text is empty or not a string.")
        refuse_broken_text(text, where)
        return (), text
    if not isinstance(chat, (list, tuple)) or not chat:
        raise UsageError(f"{where}: messages is not a list with at least one turn.")
    return tuple(_message(turn, where) for turn in chat), None


def _message(turn: Any, where: str) -> Message:
    if not isinstance(turn, Mapping):
        raise UsageError(f"{where}: a turn is not an object with role and content.")
    role = turn.get("role", turn.get("from"))
    content = turn.get("content", turn.get("value"))
    if role not in _CHAT_ROLES:
        raise UsageError(
            f"{where}: unknown role {role!r}.", hint="Roles are system, user and assistant."
        )
    if not isinstance(content, str) or not content.strip():
        raise UsageError(f"{where}: a {role} turn is empty or not text.")
    refuse_broken_text(content, where)
    return Message(_CHAT_ROLES[role], content)


def _collect(documents: Iterable[Document], source: str) -> list[Document]:
    collected: dict[str, Document] = {}
    for document in documents:
        known = collected.setdefault(document.doc_id, document)
        if known is not document and known != document:
            raise UsageError(f"{source}: two different documents have doc_id {document.doc_id!r}.")
    if not collected:
        raise UsageError(f"corpus {source} holds no documents.")
    return list(collected.values())


def _decoded(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"corpus file {path} is not UTF-8: {error}.") from None


def prompt_key(document: Document) -> str:
    """Return what documents are split by: prompt_id, else a digest of all that no model wrote.

    Two answers to one prompt share the key even when the file gives no prompt_id.
    """
    if document.prompt_id is not None:
        return document.prompt_id
    asked = [[m.role, m.content] for m in document.messages if m.role != "assistant"]
    content = json.dumps([document.text, asked or [[m.role, m.content] for m in document.messages]])
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
