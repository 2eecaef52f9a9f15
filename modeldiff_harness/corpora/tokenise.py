"""Documents → token ids with roles and splits, the same for every model of a run."""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import ROLES, Document, TokenisedCorpus
from modeldiff_harness.corpora.documents import prompt_key
from modeldiff_harness.corpora.splits import assign_splits
from modeldiff_harness.errors import UsageError

__all__ = ["tokenise"]

_TEMPLATE = ROLES.index("template")
_WEB = ROLES.index("web")


@dataclass(frozen=True)
class _Encoded:
    """One document as tokens, before it is cut at the context."""

    tokens_T: NDArray[np.int32]
    roles_T: NDArray[np.uint8]
    keep_T: NDArray[np.bool_]
    also_read_by: frozenset[str]


def tokenise(
    documents: Sequence[Document],
    tokenizer: Any,
    *,
    tokenizer_digest: str,
    chat_template: str | None,
    context: int = 1024,
    max_tokens: int | None = None,
    fractions: Mapping[str, float] | None = None,
    drop_template: bool = False,
    others: Mapping[str, Any] | None = None,
) -> TokenisedCorpus:
    """Return the tokens of `documents`, in doc_id order, with roles, splits and what to keep.

    Chats are rendered with `chat_template` whatever the tokenizer's own is; text gets the
    tokenizer's special tokens.  Run but not kept are: each document's first token (BOS or the
    attention sink), what the template writes before the first turn (the same in every chat), and
    with `drop_template` every token of the template.  Nothing is padded.

    `max_tokens` caps the tokens that are run: whole prompts are taken, with all their answers,
    in digest order and at the same rate from every capability and split, never the first N.

    `others` are tokenizers of other models by their digests; those that give every document the
    same ids, within the context, are named in the corpus.

    Raises UsageError for an empty corpus, a chat without a template, a template that refuses or
    rewrites a chat, and a tokenizer that cannot say where its tokens come from.
    """
    if not documents:
        raise UsageError("the corpus holds no documents.", hint="Check --corpus and its filters.")
    if context < 2:
        raise UsageError(f"context {context} is too short: a document needs two tokens.")
    ordered = sorted(documents, key=lambda d: d.doc_id)
    for one, other in itertools.pairwise(ordered):
        if one.doc_id == other.doc_id:
            raise UsageError(f"two documents of the corpus have doc_id {one.doc_id!r}.")
    splits_N = assign_splits(ordered, fractions)
    encoded = _encode(ordered, tokenizer, chat_template, drop_template, context, others or {})
    lengths = [min(len(e.tokens_T), context) for e in encoded]
    chosen = _thin(ordered, splits_N, lengths, max_tokens)
    parts = [encoded[n] for n in chosen]
    offsets_N1 = np.concatenate([[0], np.cumsum([lengths[n] for n in chosen])]).astype(np.int64)
    if offsets_N1[-1] == 0 or not any(p.keep_T[:context].any() for p in parts):
        raise UsageError("the corpus holds no tokens to learn from.", hint="Check its documents.")
    return TokenisedCorpus(
        tokens_T=np.concatenate([p.tokens_T[:context] for p in parts]),
        roles_T=np.concatenate([p.roles_T[:context] for p in parts]),
        keep_T=np.concatenate([p.keep_T[:context] for p in parts]),
        offsets_N1=offsets_N1,
        splits_N=splits_N[chosen],
        documents=tuple(ordered[n] for n in chosen),
        tokenizer_digest=tokenizer_digest,
        chat_template_digest=(
            None if chat_template is None else hashlib.sha256(chat_template.encode()).hexdigest()
        ),
        context=context,
        n_truncated=sum(len(p.tokens_T) > context for p in parts),
        also_read_by=tuple(sorted(frozenset.intersection(*(p.also_read_by for p in parts)))),
    )


def _encode(
    documents: Sequence[Document],
    tokenizer: Any,
    template: str | None,
    drop_template: bool,
    context: int,
    others: Mapping[str, Any],
) -> list[_Encoded]:
    if not getattr(tokenizer, "is_fast", False):
        raise UsageError(
            f"{type(tokenizer).__name__} gives no token offsets, so roles cannot be told.",
            hint="Use a checkpoint with tokenizer.json.",
        )
    encoded = []
    skeletons: dict[tuple[str, ...], list[str] | None] = {}
    for document in documents:
        if document.text is not None:
            text = document.text
            ids = tokenizer(text, return_special_tokens_mask=True)
            special_T = np.array(ids["special_tokens_mask"], dtype=bool)
            roles_T = np.where(special_T, _TEMPLATE, _WEB).astype(np.uint8)
            keep_T = ~special_T
            tokens_T = np.array(ids["input_ids"], dtype=np.int32)
        else:
            if template is None:
                raise UsageError(
                    f"document {document.doc_id!r} is a chat and no chat template is known.",
                    hint="Name one: --chat_template MODEL or FILE.",
                )
            text, spans = _render(document, tokenizer, template, skeletons)
            tokens_T, roles_T = _chat_tokens(text, spans, tokenizer)
            turns = np.flatnonzero(roles_T != _TEMPLATE)
            keep_T = np.arange(len(tokens_T)) >= (turns[0] if len(turns) else len(tokens_T))
            if drop_template:
                keep_T &= roles_T != _TEMPLATE
        if len(keep_T):
            keep_T[0] = False
        expected = tokens_T[:context].tolist()
        alike = frozenset(
            digest
            for digest, other in others.items()
            if other(text, add_special_tokens=document.text is not None)["input_ids"][:context]
            == expected
        )
        encoded.append(_Encoded(tokens_T, roles_T, keep_T, alike))
    return encoded


def _chat_tokens(
    text: str, spans: Sequence[tuple[int, int, str]], tokenizer: Any
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return ids and roles of a rendered chat; a token has the role of its first character."""
    ids = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    role_of_character = np.full(len(text) + 1, _TEMPLATE, dtype=np.uint8)
    for start, end, role in spans:
        role_of_character[start:end] = ROLES.index(role)
    offsets_T2 = np.array(ids["offset_mapping"], dtype=np.int64).reshape(-1, 2)
    roles_T = role_of_character[offsets_T2[:, 0]]
    return np.array(ids["input_ids"], dtype=np.int32), roles_T


def _render(
    document: Document,
    tokenizer: Any,
    template: str,
    skeletons: dict[tuple[str, ...], list[str] | None],
) -> tuple[str, list[tuple[int, int, str]]]:
    """Return the rendered chat and, for every turn, (start, end, role) of its content.

    What the template writes around the turns is found by rendering marks in their place, so that a
    turn which repeats words of the template is not mistaken for it.
    """
    roles = tuple(m.role for m in document.messages)
    contents = [m.content for m in document.messages]
    text = _apply(tokenizer, template, roles, contents, document.doc_id)
    if roles not in skeletons:
        marks = [f"§turn{n}§" for n in range(len(roles))]
        skeletons[roles] = _cut(_apply(tokenizer, template, roles, marks, document.doc_id), marks)
    pieces = skeletons[roles]
    for written in (contents, [content.strip() for content in contents]):
        if pieces is None:
            break
        spans, position, built = [], 0, ""
        for piece, content, role in zip(pieces, written, roles, strict=False):
            position += len(piece)
            spans.append((position, position + len(content), role))
            position += len(content)
            built += piece + content
        if built + pieces[-1] == text:
            return text, spans
    raise UsageError(
        f"the chat template rewrites the turns of document {document.doc_id!r}, so their tokens "
        "cannot be told from its own.",
        hint="Name a template that repeats turns as they are: --chat_template FILE.",
    )


def _apply(
    tokenizer: Any, template: str, roles: Sequence[str], contents: Sequence[str], doc_id: str
) -> str:
    import jinja2

    messages = [{"role": r, "content": c} for r, c in zip(roles, contents, strict=True)]
    try:
        return str(tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False))
    except jinja2.TemplateError as error:
        raise UsageError(f"the chat template refuses document {doc_id!r}: {error}.") from None


def _cut(text: str, marks: Sequence[str]) -> list[str] | None:
    """Split `text` at each of `marks` in turn; None when one is missing or repeated."""
    pieces = []
    for mark in marks:
        if text.count(mark) != 1:
            return None
        before, text = text.split(mark)
        pieces.append(before)
    return [*pieces, text]


def _thin(
    documents: Sequence[Document],
    splits_N: NDArray[np.uint8],
    lengths: Sequence[int],
    max_tokens: int | None,
) -> list[int]:
    """Return the indices of the documents to run, in order: an even share of every stratum."""
    if max_tokens is None or sum(lengths) <= max_tokens:
        return [n for n in range(len(documents)) if lengths[n] > 0]
    strata: dict[tuple[str, int], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for n, document in enumerate(documents):
        stratum = (document.capability or "", int(splits_N[n]))
        strata[stratum][prompt_key(document)].append(n)
    queue: list[tuple[float, bytes, list[int]]] = []
    for prompts in strata.values():
        total = sum(lengths[n] for members in prompts.values() for n in members)
        before = 0
        for key in sorted(prompts, key=_thin_order):
            queue.append((before / max(total, 1), _thin_order(key), prompts[key]))
            before += sum(lengths[n] for n in prompts[key])
    chosen: list[int] = []
    spent = 0
    for _, _, members in sorted(queue):
        cost = sum(lengths[n] for n in members)
        if spent + cost <= max_tokens:
            chosen += members
            spent += cost
    if not chosen:
        raise UsageError(f"max_tokens {max_tokens} is less than any one prompt of the corpus.")
    return sorted(n for n in chosen if lengths[n] > 0)


def _thin_order(key: str) -> bytes:
    """Return the digest that orders prompts here: not the one that splits them."""
    return hashlib.sha256(b"thin:" + key.encode("utf-8", "surrogatepass")).digest()
