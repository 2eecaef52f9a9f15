"""The preference arm's stages: answers of each model, battles, and the split of the delta."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from modeldiff_harness.artifacts import Answers, Battles, PreferenceDeltas, PreferencePrompt
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import UsageError
from modeldiff_harness.models.generate import generate_answers
from modeldiff_harness.pipeline.context import PairContext
from modeldiff_harness.preferences.answers import answer
from modeldiff_harness.preferences.battle import battle
from modeldiff_harness.preferences.importers import import_battles
from modeldiff_harness.preferences.prompts import (
    SHIPPED,
    load_prompts,
    prompts_fingerprint,
    select_prompts,
)
from modeldiff_harness.preferences.rank import rank
from modeldiff_harness.stages import Stage

__all__ = ["PreferenceStages", "preference_stages"]

_ARM = "modeldiff_harness.preferences"


@dataclass(frozen=True)
class PreferenceStages:
    """The end of the arm, and what it rests on."""

    battles: Stage[Battles]
    rank: Stage[PreferenceDeltas]
    answers: tuple[Stage[Answers], ...]
    """Empty when battles are imported."""


def preference_stages(context: PairContext) -> PreferenceStages:
    """Return the arm's stages; UsageError for unknown judges, feature sets or unreadable files."""
    config = context.config.preferences
    answers: tuple[Stage[Answers], ...] = ()
    if config.battles is not None:
        battles = _import_stage(context)
    else:
        prompts = select_prompts(
            load_prompts(SHIPPED if config.prompts == "capability" else Path(config.prompts)),
            config.max_prompts,
        )
        answers = tuple(
            _answer_stage(context, model, prompts)
            for model in dict.fromkeys((context.baseline, context.candidate))
        )
        battles = _battle_stage(context, prompts, answers)
    return PreferenceStages(battles, _rank_stage(context, battles), answers)


def _answer_stage(
    context: PairContext, model: str, prompts: tuple[PreferencePrompt, ...]
) -> Stage[Answers]:
    config = context.config.preferences

    def make(runtime: Runtime) -> Answers:
        loaded, tokenizer = context.pool(context.dtype).activate(model)
        return answer(
            model,
            loaded,
            tokenizer,
            prompts,
            max_new_tokens=config.max_new_tokens,
            system_instruction=context.config.system_instruction,
            chat_template=context.chat_template,
            generate=generate_answers,
            runtime=runtime,
        )

    return Stage(
        context.runner,
        "battle",
        f"answers of {model}",
        Answers,
        make,
        recipe={
            "model": context.identity_recipe(model, context.dtype),
            "prompts": prompts_fingerprint(prompts),
            "max_new_tokens": config.max_new_tokens,
            "system_instruction": context.config.system_instruction,
            "versions": context.versions("transformers", "torch"),
        },
        modules=(
            "modeldiff_harness.models.caches",
            "modeldiff_harness.models.generate",
            f"{_ARM}.answers",
        ),
        estimate=f"{len(prompts)} prompts × {config.max_new_tokens} tokens",
    )


def _battle_stage(
    context: PairContext,
    prompts: tuple[PreferencePrompt, ...],
    answers: tuple[Stage[Answers], ...],
) -> Stage[Battles]:
    config = context.config.preferences
    choice = context.registry.choose("judge", config.judge, config.judge_config)

    def make(runtime: Runtime) -> Battles:
        by_model = {stage.value().model: stage.value() for stage in answers}
        return battle(
            prompts,
            by_model[context.baseline],
            by_model[context.candidate],
            choice.build(),
            seed=context.config.seed[0],
            runtime=runtime,
        )

    if len(answers) < 2:
        raise UsageError(
            "the preference arm needs two different models.", hint="Name another candidate."
        )
    return Stage(
        context.runner,
        "battle",
        f"judge {config.judge}",
        Battles,
        make,
        recipe={
            "judge": choice.recipe(),
            "prompts": prompts_fingerprint(prompts),
            "seed": context.config.seed[0],
        },
        inputs=sorted(answers, key=lambda stage: stage.key),
        modules=(f"{_ARM}.battle", "modeldiff_harness.checks"),
        estimate=f"{len(prompts)} prompts",
    )


def _import_stage(context: PairContext) -> Stage[Battles]:
    config = context.config.preferences
    path = Path(config.battles or "")
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read the battles {path}: {error.strerror}.") from error
    importers = {
        found.component.name: context.registry.choose("battle_importer", found.component.name)
        for found in context.registry.all("battle_importer")
    }

    def make(runtime: Runtime) -> Battles:
        built = {name: choice.build() for name, choice in importers.items()}
        return import_battles(path, built, format=config.battle_format)

    return Stage(
        context.runner,
        "battle",
        f"import {path.name}",
        Battles,
        make,
        recipe={
            "file": digest,
            "format": config.battle_format,
            "importers": [importers[name].recipe() for name in sorted(importers)],
        },
        modules=(f"{_ARM}.importers",),
    )


def _rank_stage(context: PairContext, battles: Stage[Battles]) -> Stage[PreferenceDeltas]:
    config = context.config.preferences
    features = context.registry.choose("feature_set", config.feature_set)

    def make(runtime: Runtime) -> PreferenceDeltas:
        return rank(
            battles.value(),
            baseline=context.baseline,
            candidate=context.candidate,
            feature_set=features.build(),
            smoke=config.max_prompts is not None,
            runtime=runtime,
        )

    return Stage(
        context.runner,
        "rank",
        f"{context.candidate} against {context.baseline}",
        PreferenceDeltas,
        make,
        recipe={
            "pair": [context.baseline, context.candidate],
            "features": features.recipe(),
            "smoke": config.max_prompts is not None,
        },
        inputs=(battles,),
        modules=(_ARM, "modeldiff_harness.stats"),
    )
