"""The latent arm's corpus: documents, the models' own answers to our prompts, and their tokens."""

from __future__ import annotations

from pathlib import Path

from modeldiff_harness.artifacts import Answers, PreferencePrompt, TokenisedCorpus
from modeldiff_harness.corpora.build import build_corpus
from modeldiff_harness.corpora.capability import DATA, read_answers, read_prompts
from modeldiff_harness.corpora.described import DocumentsUse
from modeldiff_harness.errors import UsageError
from modeldiff_harness.models.packaged import locate_packaged
from modeldiff_harness.models.use import TemplateTextUse, TokenizerUse
from modeldiff_harness.pipeline.arms.answers import answer_stage
from modeldiff_harness.pipeline.context import RunContext
from modeldiff_harness.plugins import ComponentChoice
from modeldiff_harness.stages import InputFile, Stage

__all__ = ["corpus_stage", "is_of_files", "read_shipped_answers"]

_BY_SUFFIX = {".jsonl": "jsonl", ".gz": "jsonl", ".parquet": "parquet", ".txt": "text"}
_PROMPTS = DATA / "corpus_prompts.jsonl"


def corpus_stage(context: RunContext) -> Stage[TokenisedCorpus]:
    """Return the stage that tokenises the corpus once for all models.

    Documents come from the corpus component; unless `own_answers` is off, the answers of both
    models of the pair to the shipped prompts are added, shipped ones or generated ones.
    """
    config = context.config.latents
    tokenizer = TokenizerUse(context.models, context.reader, context.harvest_dtype)
    others = _other_tokenizers(context)
    shipped, generated = _own_answers(context) if config.own_answers else ([], [])
    return context.stage(
        "harvest",
        build_corpus,
        title=f"corpus {config.corpus}",
        gives=TokenisedCorpus,
        inputs={"generated_answers": generated},
        settings={
            "tokenizer_digest": context.harvested_identity(context.reader).tokenizer_digest,
            "context": config.context,
            "max_tokens": config.max_tokens,
            "splits": config.splits,
            **({"other_digests": tuple(others)} if others else {}),
        },
        tools={
            "documents": DocumentsUse(_corpus_choice(context)),
            "shipped_answers": [InputFile(path) for path in shipped],
            "prompts": InputFile(_PROMPTS),
            "tokenizer": tokenizer,
            "chat_template": TemplateTextUse(context.models),
            **({"others": list(others.values())} if others else {}),
        },
        estimate=f"≤ {config.max_tokens:,} tokens",
    )


def is_of_files(context: RunContext) -> bool:
    """Say whether the documents lie in files that the user named."""
    corpus = context.config.latents.corpus
    return Path(corpus).suffix in _BY_SUFFIX or corpus in _BY_SUFFIX.values()


def read_shipped_answers(context: RunContext) -> None:
    """Read the files of answers that the corpus takes; UsageError for a broken row."""
    if context.config.latents.own_answers:
        read_answers(_own_answers(context)[0], read_prompts(_PROMPTS))


def _other_tokenizers(context: RunContext) -> dict[str, TokenizerUse]:
    """Return, by digest, the tokenizers of the run that are not the reader's."""
    own = context.harvested_identity(context.reader).tokenizer_digest
    found: dict[str, TokenizerUse] = {}
    for name in context.refs:
        digest = context.harvested_identity(name).tokenizer_digest
        if digest != own:
            found.setdefault(digest, TokenizerUse(context.models, name, context.harvest_dtype))
    return dict(sorted(found.items()))


def _corpus_choice(context: RunContext) -> ComponentChoice:
    config = context.config.latents
    suffix = Path(config.corpus).suffix
    if suffix in _BY_SUFFIX:
        if not Path(config.corpus).is_file():
            raise UsageError(f"the corpus file {config.corpus} does not exist.")
        return context.choice(
            "corpus", _BY_SUFFIX[suffix], {"path": config.corpus, **config.corpus_config}
        )
    return context.choice("corpus", config.corpus, config.corpus_config)


def _own_answers(context: RunContext) -> tuple[list[Path], list[Stage[Answers]]]:
    """Return files of answers that ship with models, and stages that make the others."""
    shipped: list[Path] = []
    generated: list[Stage[Answers]] = []
    for model in context.canonical(tuple(dict.fromkeys(context.config.pair))):
        given = context.refs[model].answers
        if given is not None:
            shipped.append(locate_packaged(given) if given.startswith("package:") else Path(given))
            continue
        stage = answer_stage(
            context,
            model,
            _corpus_prompts(),
            title=f"corpus answers of {model}",
            max_new_tokens=context.config.latents.own_answer_tokens,
        )
        generated.append(stage)
    return shipped, generated


def _corpus_prompts() -> tuple[PreferencePrompt, ...]:
    return tuple(
        PreferencePrompt(
            str(r["prompt_id"]), str(r["prompt"]), r.get("capability"), str(r.get("language", "en"))
        )
        for r in read_prompts(_PROMPTS).values()
    )
