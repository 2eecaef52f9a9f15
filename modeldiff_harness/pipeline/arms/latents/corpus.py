"""The latent arm's corpus: documents, the models' own answers to our prompts, and their tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modeldiff_harness.artifacts import Answers, Document, PreferencePrompt, TokenisedCorpus
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.corpora.capability import DATA, read_answers, read_prompts
from modeldiff_harness.corpora.documents import fingerprint_documents
from modeldiff_harness.corpora.tokenise import tokenise
from modeldiff_harness.errors import UsageError
from modeldiff_harness.models.generate import generate_answers
from modeldiff_harness.models.packaged import locate_packaged
from modeldiff_harness.pipeline.context import PairContext
from modeldiff_harness.plugins import ComponentChoice
from modeldiff_harness.preferences.answers import answer
from modeldiff_harness.stages import Stage

__all__ = ["corpus_stage", "shipped_answers"]

_BY_SUFFIX = {".jsonl": "jsonl", ".gz": "jsonl", ".parquet": "parquet", ".txt": "text"}


@dataclass(frozen=True)
class _OwnAnswers:
    """Where the answers of the pair's models come from."""

    shipped: tuple[Path, ...]
    generated: tuple[Stage[Answers], ...]


def corpus_stage(context: PairContext) -> Stage[TokenisedCorpus]:
    """Return the stage that tokenises the corpus once for all models.

    Documents come from the corpus component; unless `own_answers` is off, the answers of both
    models of the pair to the shipped prompts are added, shipped ones or generated ones: a diff
    finds little of what a model does in words that are not its own.
    """
    config = context.config.latents
    choice = _corpus_choice(context)
    own = _own_answers(context) if config.own_answers else _OwnAnswers((), ())

    def make(runtime: Runtime) -> TokenisedCorpus:
        files = [*own.shipped, *(_write_answers(s.value(), runtime) for s in own.generated)]
        documents: list[Document] = [*choice.build()]
        documents += read_answers(files, read_prompts(DATA / "corpus_prompts.jsonl"))
        template = context.chat_template
        identity = context.identity(context.baseline, context.harvest_dtype)
        corpus = tokenise(
            documents,
            context.pool(context.harvest_dtype).tokenizer(context.baseline),
            tokenizer_digest=identity.tokenizer_digest,
            chat_template=template.text if template else None,
            context=config.context,
            max_tokens=config.max_tokens,
            fractions=config.splits or None,
        )
        for path in runtime.workdir.glob("answers-*.jsonl"):
            path.unlink()
        return corpus

    template = context.chat_template
    return Stage(
        context.runner,
        "harvest",
        f"corpus {config.corpus}",
        TokenisedCorpus,
        make,
        recipe={
            "corpus": choice.registered.recipe(),  # not its path: the documents speak
            "documents": fingerprint_documents([*choice.build()]),
            "answers": [_file_digest(path) for path in own.shipped],
            "max_tokens": config.max_tokens,
            "context": config.context,
            "splits": config.splits,
            "tokenizer": context.identity(context.baseline, context.harvest_dtype).tokenizer_digest,
            "chat_template": template.digest if template else None,
        },
        inputs=own.generated,
        modules=("modeldiff_harness.corpora",),
        estimate=f"≤ {config.max_tokens:,} tokens",
    )


def shipped_answers(context: PairContext, model: str) -> Path | None:
    """Return the file of answers that ships with `model`, or None."""
    given = context.refs[model].answers
    if given is None:
        return None
    return locate_packaged(given) if given.startswith("package:") else Path(given)


def _corpus_choice(context: PairContext) -> ComponentChoice:
    config = context.config.latents
    suffix = Path(config.corpus).suffix
    if suffix in _BY_SUFFIX:
        if not Path(config.corpus).is_file():
            raise UsageError(f"the corpus file {config.corpus} does not exist.")
        return context.registry.choose(
            "corpus", _BY_SUFFIX[suffix], {"path": config.corpus, **config.corpus_config}
        )
    return context.registry.choose("corpus", config.corpus, config.corpus_config)


def _own_answers(context: PairContext) -> _OwnAnswers:
    shipped: list[Path] = []
    generated: list[Stage[Answers]] = []
    for model in context.canonical(tuple(dict.fromkeys(context.config.pair))):
        path = shipped_answers(context, model)
        if path is not None:
            shipped.append(path)
        else:
            generated.append(_answer_stage(context, model))
    return _OwnAnswers(tuple(shipped), tuple(generated))


def _answer_stage(context: PairContext, model: str) -> Stage[Answers]:
    """Answers to the corpus prompts, greedily, as many tokens as the configuration allows."""
    config = context.config.latents
    prompts = _corpus_prompts()

    def make(runtime: Runtime) -> Answers:
        loaded, tokenizer = context.pool(context.dtype).activate(model)
        return answer(
            model,
            loaded,
            tokenizer,
            prompts,
            max_new_tokens=config.own_answer_tokens,
            generate=generate_answers,
            runtime=runtime,
        )

    return Stage(
        context.runner,
        "battle",
        f"corpus answers of {model}",
        Answers,
        make,
        recipe={
            "model": context.identity_recipe(model, context.dtype),
            "prompts": _file_digest(DATA / "corpus_prompts.jsonl"),
            "max_new_tokens": config.own_answer_tokens,
            "versions": context.versions("transformers", "torch"),
        },
        modules=(
            "modeldiff_harness.models.caches",
            "modeldiff_harness.models.generate",
            "modeldiff_harness.preferences.answers",
        ),
        estimate=f"{len(prompts)} prompts × {config.own_answer_tokens} tokens",
    )


def _corpus_prompts() -> tuple[PreferencePrompt, ...]:
    records = read_prompts(DATA / "corpus_prompts.jsonl").values()
    return tuple(
        PreferencePrompt(
            str(r["prompt_id"]), str(r["prompt"]), r.get("capability"), str(r.get("language", "en"))
        )
        for r in records
    )


def _write_answers(answers: Answers, runtime: Runtime) -> Path:
    path = (
        runtime.workdir / f"answers-{hashlib.sha256(answers.model.encode()).hexdigest()[:8]}.jsonl"
    )
    lines: Sequence[str] = [
        json.dumps({"prompt_id": a.prompt_id, "author": answers.model, "answer": a.text})
        for a in answers.answers
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
