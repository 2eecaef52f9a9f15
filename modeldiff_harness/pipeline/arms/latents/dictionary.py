"""The stages of one dictionary, and of the null run that stands beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from modeldiff_harness.artifacts import (
    ColumnOwner,
    LatentLabels,
    LatentOwners,
    NullMatch,
    ScorePass,
    TrainedDictionary,
)
from modeldiff_harness.contracts import DesignMember
from modeldiff_harness.latents.classify.classify import classify
from modeldiff_harness.latents.classify.pairwise import Guards
from modeldiff_harness.latents.classify.rules import DEFAULT_RULES, AboveNullRule, ClassifyRule
from modeldiff_harness.latents.difference.match import match_null
from modeldiff_harness.latents.harvest.reading import CachedActivations, LiveActivations
from modeldiff_harness.latents.label.label import label
from modeldiff_harness.latents.score.score import score
from modeldiff_harness.latents.train.train import train
from modeldiff_harness.latents.train.use import LearnerUse
from modeldiff_harness.models.use import DecodeUse, ScaledModelsUse
from modeldiff_harness.pipeline.arms.latents.activations import Activations
from modeldiff_harness.stages import Built, Fresh, Stage

__all__ = ["DictionaryStages", "NullStages", "StageMaker"]

Read = CachedActivations | LiveActivations


@dataclass(frozen=True)
class NullStages:
    """The null run of one dictionary: matched, trained, scored, classified, labelled."""

    match: Stage[NullMatch]
    train: Stage[TrainedDictionary]
    score: Stage[ScorePass]
    classify: Stage[LatentOwners]
    label: Stage[LatentLabels]


@dataclass(frozen=True)
class DictionaryStages:
    """One dictionary of one replicate."""

    member: DesignMember
    replicate: int
    train: Stage[TrainedDictionary]
    score: Stage[ScorePass]
    classify: Stage[LatentOwners]
    label: Stage[LatentLabels]
    null: NullStages | None


class StageMaker:
    """Makes the stages of all dictionaries of a run."""

    def __init__(self, activations: Activations, design: str) -> None:
        self.activations = activations
        self.context = activations.context
        self.design = design
        self.config = self.context.config.latents
        self.learner = self.context.choice(
            "dictionary_learner", self.config.learner, self.config.learner_config
        )
        self.scorers = [self.context.choice("latent_scorer", n) for n in self.config.scorers]
        self.labeler = self.context.choice(
            "labeler", self.config.labeler, self.config.labeler_config
        )
        for choice in (*self.scorers, self.labeler):
            choice.build()  # what it refuses is said before any work

    @cached_property
    def trains(self) -> bool:
        """Whether the learner trains; wrong settings of it are refused here, before any work."""
        return bool(self.learner.build().trains)

    def dictionary(self, member: DesignMember, site: str, replicate: int) -> DictionaryStages:
        """Return the stages of one dictionary and, where a null twin exists, of its null run."""
        read = self.activations.of(member.models, site)
        name = f"{member.dictionary_id}#r{replicate}"
        trained = self._train(name, replicate, read)
        scored = self._score(trained, read)
        null = self._null(member, site, replicate)
        owners = self._classify(name, scored, member.roles, null.score if null else None)
        labels = self._label(owners, scored, replicate)
        return DictionaryStages(member, replicate, trained, scored, owners, labels, null)

    def _null(self, member: DesignMember, site: str, replicate: int) -> NullStages | None:
        twin = self.context.null_twin
        if member.null_models is None or twin is None or not self.trains:
            return None
        (reference,) = (name for name in member.null_models if name != twin)
        (replaced,) = (name for name in member.models if name != reference)
        match = self._match(reference, replaced, twin, site)
        read = self.activations.of((reference, twin), site, (twin, match))
        name = f"null of {member.dictionary_id}#r{replicate}"
        trained = self._train(name, replicate, read)
        scored = self._score(trained, read)
        roles = {twin if model == replaced else model: role for model, role in member.roles.items()}
        itself = [rule for rule in DEFAULT_RULES if not isinstance(rule, AboveNullRule)]
        owners = self._classify(name, scored, roles, None, itself)
        labels = self._label(owners, scored, replicate)
        return NullStages(match, trained, scored, owners, labels)

    # ── one stage each ───────────────────────────────────────────────────────────────────────

    def _match(self, reference: str, model: str, twin: str, site: str) -> Stage[NullMatch]:
        """Find the factor of the twin's adapter; what is harvested already is not run again."""
        read = self.activations.of((reference, model), site)
        cached = read.harvests if isinstance(read, CachedActivations) else ()
        names = (reference, model, twin)
        return self.context.stage(
            "harvest",
            match_null,
            title=f"match {twin} to {model} (from {reference})",
            gives=NullMatch,
            inputs={"corpus": self.activations.corpus, "harvested": cached},
            settings={"site": site, "reference": reference, "model": model, "twin": twin},
            tools={
                "source": Fresh(self.activations.source),
                "models": ScaledModelsUse(self.context.models, names, self.context.harvest_dtype),
            },
            estimate="a few thousand tokens, several times",
        )

    def _train(self, name: str, replicate: int, read: Read) -> Stage[TrainedDictionary]:
        return self.context.stage(
            "train",
            train,
            title=name,
            gives=TrainedDictionary,
            settings={"dictionary_id": name, "design": self.design, "replicate": replicate},
            tools={"learner": LearnerUse(self.learner), "stream": read},
            libraries=("torch",),
            estimate=(
                _training_estimate(self.learner.config)
                if self.trains
                else "read from its file and fitted to the activations; nothing is trained"
            ),
        )

    def _score(self, trained: Stage[TrainedDictionary], read: Read) -> Stage[ScorePass]:
        return self.context.stage(
            "score",
            score,
            title=trained.title,
            gives=ScorePass,
            inputs={"dictionary": trained},
            settings={
                "owners": [
                    ColumnOwner(c.registered.component.name, c.registered.distribution)
                    for c in self.scorers
                ]
            },
            tools={"scorers": [Built(choice) for choice in self.scorers], "stream": read},
            estimate="one pass over the held-out tokens",
        )

    def _classify(
        self,
        title: str,
        scored: Stage[ScorePass],
        roles: Mapping[str, str],
        null: Stage[ScorePass] | None,
        rules: Sequence[ClassifyRule] = DEFAULT_RULES,
    ) -> Stage[LatentOwners]:
        guards = Guards(
            min_active_tokens=self.config.min_active_tokens,
            min_active_documents=self.config.min_active_documents,
        )
        return self.context.stage(
            "classify",
            classify,
            title=title,
            gives=LatentOwners,
            inputs={
                "scores": scored.part("scores"),
                "null_scores": null.part("scores") if null else None,
            },
            settings={"roles": dict(roles), "guards": guards, "rules": rules},
        )

    def _label(
        self, owners: Stage[LatentOwners], scored: Stage[ScorePass], replicate: int
    ) -> Stage[LatentLabels]:
        context = self.context
        return context.stage(
            "label",
            label,
            title=owners.title,
            gives=LatentLabels,
            inputs={
                "owners": owners,
                "scores": scored.part("scores"),
                "examples": scored.part("examples"),
                "corpus": self.activations.corpus,
            },
            settings={"n_decoys": self.config.n_decoys, "seed": replicate},
            tools={
                "labeler": Built(self.labeler),
                "decode": DecodeUse(context.models, context.reader, context.harvest_dtype),
            },
        )


def _training_estimate(config: Mapping[str, Any]) -> str:
    steps, batch = config.get("steps"), config.get("batch_tokens")
    if steps and batch:
        return f"{steps:,} steps × {batch:,} tokens, L = {config.get('n_latents', 0):,}"
    return ""
