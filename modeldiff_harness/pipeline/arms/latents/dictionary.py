"""The stages of one dictionary, and of the null run that stands beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modeldiff_harness.artifacts import (
    ColumnOwner,
    LatentLabels,
    LatentOwners,
    NullMatch,
    ScorePass,
    TrainedDictionary,
)
from modeldiff_harness.contracts import DesignMember, Runtime, SourceModels
from modeldiff_harness.latents.classify.classify import classify
from modeldiff_harness.latents.classify.pairwise import Guards
from modeldiff_harness.latents.classify.rules import DEFAULT_RULES, AboveNullRule, ClassifyRule
from modeldiff_harness.latents.difference.match import match_null
from modeldiff_harness.latents.label.label import label
from modeldiff_harness.latents.score.score import score
from modeldiff_harness.latents.train.train import train
from modeldiff_harness.pipeline.arms.latents.activations import (
    Activations,
    CachedActivations,
    LiveActivations,
)
from modeldiff_harness.stages import Stage

__all__ = ["MemberStages", "NullStages", "member_stages"]

_LATENTS = "modeldiff_harness.latents"
_TRAINING = ("train", "training", "dictionaries.threshold", "dictionaries.encode", "kernels")
_SCORING = (
    "score",
    "scoring",
    "dictionaries.encode",
    "compiled",
    "kernels",
    "activations.renormalise",
    "activations.prompts",
)


@dataclass(frozen=True)
class NullStages:
    """The null run of one dictionary: matched, trained, scored, classified, labelled."""

    match: Stage[NullMatch]
    train: Stage[TrainedDictionary]
    score: Stage[ScorePass]
    classify: Stage[LatentOwners]
    label: Stage[LatentLabels]


@dataclass(frozen=True)
class MemberStages:
    """One dictionary of one replicate."""

    member: DesignMember
    replicate: int
    train: Stage[TrainedDictionary]
    score: Stage[ScorePass]
    classify: Stage[LatentOwners]
    label: Stage[LatentLabels]
    null: NullStages | None


class _Builder:
    """What the stages of all dictionaries of a run share."""

    def __init__(self, activations: Activations) -> None:
        context = activations.context
        self.activations = activations
        self.context = context
        self.corpus = activations.corpus
        self.latents = context.config.latents
        registry = context.registry
        self.learner = registry.choose(
            "dictionary_learner", self.latents.learner, self.latents.learner_config
        )
        learner = self.learner.build()  # wrong settings are refused before any work
        self.trains = learner.trains
        self.learner_recipe = self.learner.recipe()
        content = learner.fingerprint()
        if content is not None:  # what it reads speaks, not where that lies
            self.learner_recipe |= {"config": {}, "content": content}
        self.scorers = [registry.choose("latent_scorer", name) for name in self.latents.scorers]
        self.labeler = registry.choose("labeler", self.latents.labeler, self.latents.labeler_config)

    def train_stage(
        self,
        dictionary_id: str,
        design: str,
        replicate: int,
        read: CachedActivations | LiveActivations,
    ) -> Stage[TrainedDictionary]:
        def make(runtime: Runtime) -> TrainedDictionary:
            with read.stream(runtime) as stream:
                return train(
                    self.learner.build(),
                    stream,
                    dictionary_id=dictionary_id,
                    design=design,
                    replicate=replicate,
                    runtime=runtime,
                )

        return Stage(
            self.context.runner,
            "train",
            dictionary_id,
            TrainedDictionary,
            make,
            recipe={
                "dictionary_id": dictionary_id,
                "design": design,
                "replicate": replicate,
                "site": read.site,
                "learner": self.learner_recipe,
                "versions": self.context.versions("torch"),
                **read.recipe(),
            },
            inputs=read.inputs,
            modules=(*(f"{_LATENTS}.{m}" for m in _TRAINING), *read.modules),
            estimate=(
                _training_estimate(self.learner.config)
                if self.trains
                else "read from its file and fitted to the activations; nothing is trained"
            ),
        )

    def score_stage(
        self,
        trained: Stage[TrainedDictionary],
        read: CachedActivations | LiveActivations,
    ) -> Stage[ScorePass]:
        def make(runtime: Runtime) -> ScorePass:
            scorers = [choice.build() for choice in self.scorers]
            with read.stream(runtime) as stream:
                return ScorePass(
                    *score(
                        trained.value(),
                        stream,
                        scorers,
                        owners=[
                            ColumnOwner(c.registered.component.name, c.registered.distribution)
                            for c in self.scorers
                        ],
                        runtime=runtime,
                    )
                )

        return Stage(
            self.context.runner,
            "score",
            trained.title,
            ScorePass,
            make,
            recipe={"scorers": [choice.recipe() for choice in self.scorers]},
            inputs=(trained, *read.inputs),
            modules=(*(f"{_LATENTS}.{m}" for m in _SCORING), *read.modules),
            estimate="one pass over the held-out tokens",
        )

    def classify_stage(
        self,
        scored: Stage[ScorePass],
        roles: dict[str, str],
        null: Stage[ScorePass] | None,
        title: str,
        rules: Sequence[ClassifyRule] = DEFAULT_RULES,
    ) -> Stage[LatentOwners]:
        guards = Guards(
            min_active_tokens=self.latents.min_active_tokens,
            min_active_documents=self.latents.min_active_documents,
        )

        def make(runtime: Runtime) -> LatentOwners:
            return classify(
                scored.value().scores,
                roles,
                rules=rules,
                guards=guards,
                null_scores=null.value().scores if null else None,
                runtime=runtime,
            )

        return Stage(
            self.context.runner,
            "classify",
            title,
            LatentOwners,
            make,
            recipe={
                "roles": roles,
                "guards": dataclasses.asdict(guards),
                "rules": [rule.name for rule in rules],
            },
            inputs=(scored, *([null] if null else [])),
            modules=tuple(f"{_LATENTS}.{m}" for m in ("classify", "ownership")),
        )

    def label_stage(
        self, owners: Stage[LatentOwners], scored: Stage[ScorePass], replicate: int
    ) -> Stage[LatentLabels]:
        def make(runtime: Runtime) -> LatentLabels:
            found = scored.value()
            return label(
                owners.value(),
                found.scores,
                found.examples,
                self.corpus.value(),
                self.labeler.build(),
                self.decode,
                n_decoys=self.latents.n_decoys,
                seed=replicate,
                runtime=runtime,
            )

        return Stage(
            self.context.runner,
            "label",
            owners.title,
            LatentLabels,
            make,
            recipe={
                "labeler": self.labeler.recipe(),
                "n_decoys": self.latents.n_decoys,
                "seed": replicate,
            },
            inputs=(owners, scored, self.corpus),
            modules=(
                f"{_LATENTS}.label",
                f"{_LATENTS}.meaning",
                "modeldiff_harness.stats",
                "modeldiff_harness.taxonomy",
            ),
        )

    def decode(self, ids: Sequence[int]) -> list[str]:
        """Turn token ids into one text a token."""
        tokenizer = self.context.pool(self.context.harvest_dtype).tokenizer(self.context.baseline)
        return [str(tokenizer.decode([token])) for token in ids]


def member_stages(
    activations: Activations,
    member: DesignMember,
    *,
    design: str,
    site: str,
    replicate: int,
) -> MemberStages:
    """Return the stages of one dictionary and, where a null twin exists, of its null run."""
    build = _Builder(activations)
    own = activations.of(member.models, site)
    name = f"{member.dictionary_id}#r{replicate}"
    trained = build.train_stage(name, design, replicate, own)
    scored = build.score_stage(trained, own)
    null = _null_stages(build, member, design, site, replicate)
    owners = build.classify_stage(scored, dict(member.roles), null.score if null else None, name)
    labels = build.label_stage(owners, scored, replicate)
    return MemberStages(member, replicate, trained, scored, owners, labels, null)


def _null_stages(
    build: _Builder,
    member: DesignMember,
    design: str,
    site: str,
    replicate: int,
) -> NullStages | None:
    context = build.context
    if member.null_models is None or context.null_twin is None or not build.trains:
        return None
    twin = context.null_twin
    (reference,) = (name for name in member.null_models if name != twin)
    (replaced,) = (name for name in member.models if name != reference)
    match = _match_stage(build, reference, replaced, twin, site)
    own = build.activations.of((reference, twin), site, (twin, match))
    name = f"null of {member.dictionary_id}#r{replicate}"
    trained = build.train_stage(name, design, replicate, own)
    scored = build.score_stage(trained, own)
    roles = {(twin if model == replaced else model): role for model, role in member.roles.items()}
    itself = [rule for rule in DEFAULT_RULES if not isinstance(rule, AboveNullRule)]
    owners = build.classify_stage(scored, roles, None, name, itself)
    labels = build.label_stage(owners, scored, replicate)
    return NullStages(match, trained, scored, owners, labels)


def _match_stage(
    build: _Builder, reference: str, replaced: str, twin: str, site: str
) -> Stage[NullMatch]:
    context = build.context
    source = context.registry.choose(
        "activation_source", build.latents.source, build.latents.source_config
    )
    measured = build.activations.of((reference, replaced), site)
    cached = measured.harvests if isinstance(measured, CachedActivations) else ()

    def make(runtime: Runtime) -> NullMatch:
        harvests = [stage.value() for stage in cached]
        return match_null(
            source.build,
            lambda name, scale: SourceModels((name,), context.rescaled_pool(name, scale)),
            build.corpus.value(),
            site,
            reference=reference,
            model=replaced,
            twin=twin,
            harvested={harvest.views[0].model: harvest for harvest in harvests},
            runtime=runtime,
        )

    return Stage(
        context.runner,
        "harvest",
        f"match {twin} to {replaced} (from {reference})",
        NullMatch,
        make,
        recipe={
            "models": [
                context.identity_recipe(name, context.harvest_dtype)
                for name in (reference, replaced, twin)
            ],
            "site": site,
            "source": source.recipe(),
        },
        inputs=(build.corpus, *cached),
        modules=(
            f"{_LATENTS}.difference.match",
            f"{_LATENTS}.difference.energy",
            f"{_LATENTS}.activations.sample",
            "modeldiff_harness.models.blocks",
        ),
        estimate="a few thousand tokens, several times",
    )


def _training_estimate(config: Any) -> str:
    steps, batch = config.get("steps"), config.get("batch_tokens")
    if steps and batch:
        return f"{steps:,} steps × {batch:,} tokens, L = {config.get('n_latents', 0):,}"
    return ""
