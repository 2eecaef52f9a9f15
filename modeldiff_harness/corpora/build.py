"""Documents and the models' own answers → the tokens that every model of a run reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import Answers, Document, TokenisedCorpus
from modeldiff_harness.corpora.capability import answer_documents, read_answers, read_prompts
from modeldiff_harness.corpora.tokenise import tokenise

__all__ = ["build_corpus"]


def build_corpus(
    documents: Iterable[Document],
    shipped_answers: Sequence[Path],
    generated_answers: Sequence[Answers],
    prompts: Path,
    tokenizer: Any,
    chat_template: str | None,
    *,
    tokenizer_digest: str,
    context: int,
    max_tokens: int,
    splits: Mapping[str, float],
    others: Sequence[Any] = (),
    other_digests: Sequence[str] = (),
) -> TokenisedCorpus:
    """Return the corpus of a run, tokenised once for all models.

    `shipped_answers` are files of answers to `prompts`, `generated_answers` were made by this
    run: a diff finds little of what a model does in words that are not its own.  `others` are the
    tokenizers with `other_digests`, asked whether they read every document alike.  Raises
    UsageError as `tokenise` and the readers of documents.
    """
    asked = read_prompts(prompts)
    generated = (
        (f"answer of {given.model}", given.model, one.prompt_id, one.text, "generated")
        for given in generated_answers
        for one in given.answers
    )
    return tokenise(
        [*documents, *read_answers(shipped_answers, asked), *answer_documents(generated, asked)],
        tokenizer,
        tokenizer_digest=tokenizer_digest,
        chat_template=chat_template,
        context=context,
        max_tokens=max_tokens,
        fractions=splits or None,
        others=dict(zip(other_digests, others, strict=True)),
    )
