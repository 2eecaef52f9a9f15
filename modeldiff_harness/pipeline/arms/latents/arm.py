"""The latent arm's stages: corpus → harvest → train → score → classify → label → profile."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from modeldiff_harness.artifacts import CapabilityProfile, DifferenceEnergy, SimpleControls
from modeldiff_harness.contracts import DesignMember
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.latents.classify.rules import DEFAULT_RULES
from modeldiff_harness.latents.difference.controls import simple_controls
from modeldiff_harness.latents.difference.energy import difference_energy
from modeldiff_harness.latents.harvest.reading import CachedActivations, LiveActivations
from modeldiff_harness.latents.profile import LabelledDictionary, profile
from modeldiff_harness.pipeline.arms.latents.activations import Activations
from modeldiff_harness.pipeline.arms.latents.corpus import (
    corpus_stage,
    is_of_files,
    read_shipped_answers,
)
from modeldiff_harness.pipeline.arms.latents.cost import cost_lines
from modeldiff_harness.pipeline.arms.latents.dictionary import (
    DictionaryStages,
    NullStages,
    StageMaker,
)
from modeldiff_harness.pipeline.arms.latents.findings import latent_findings
from modeldiff_harness.pipeline.context import RunContext
from modeldiff_harness.report.build.inputs import LatentFindings, NotMeasured
from modeldiff_harness.stages import Gathered, Stage

__all__ = ["LatentArm", "run_sites"]


class LatentArm:
    """Every stage of the latent arm; UsageError for a design that lacks a model, unknown rules …"""

    name = "latents"

    def __init__(self, context: RunContext) -> None:
        config = context.config.latents
        rules = [rule.name for rule in DEFAULT_RULES]
        if config.rule not in rules:
            raise UsageError(
                f"unknown rule {config.rule!r}.", hint=did_you_mean(config.rule, rules)
            )
        self.context = context
        self._refuse_beyond_positions()
        self.sites = run_sites(context)
        self.design = _design_name(context)
        self.corpus = corpus_stage(context)
        self.activations = Activations(context, self.corpus, self.sites)
        make = StageMaker(self.activations, self.design)
        asked = [(m, site) for site in self.sites for m in _members(context, self.design, site)]
        self.dictionaries: tuple[DictionaryStages, ...] = tuple(
            make.dictionary(member, site, replicate)
            for replicate in range(config.replicates)
            for member, site in asked
        )
        self.profile = _profile_stage(context, self.dictionaries)
        pair = (context.baseline, context.candidate)
        reads = [self.activations.of(pair, site).look(config.sample_tokens) for site in self.sites]
        self.energies = tuple(_energy_stage(context, read) for read in reads)
        self.controls = _controls_stage(context, reads[0]) if config.controls else None

    def ends(self) -> list[Stage[Any]]:
        """Return the looks that cost no training first, then the profile."""
        controls = [self.controls] if self.controls is not None else []
        return [*self.energies, *controls, self.profile]

    def check(self, *, planned: bool = False) -> None:
        """Read the documents once, unless that was done: a broken row is said before any work.

        A plan reads files of this machine only.
        """
        if not self.corpus.ready() and (is_of_files(self.context) or not planned):
            with self.corpus.tools["documents"].open(self.context.runner.runtime) as documents:
                for _document in documents:
                    pass
            read_shipped_answers(self.context)

    def findings(self) -> LatentFindings | NotMeasured:
        """Compute the arm in the order of `ends`, unless a model reads the corpus in other ids."""
        if reason := self._read_otherwise():
            return NotMeasured(reason)
        for stage in self.ends()[:-1]:
            stage.value()
        return latent_findings(
            self.context,
            design=self.design,
            corpus=self.corpus,
            dictionaries=self.dictionaries,
            profile=self.profile,
            energies=self.energies,
            controls=self.controls,
            activations=self.activations,
        )

    def _refuse_beyond_positions(self) -> None:
        """A model answers beyond its positions without a word, or breaks off in the middle."""
        length = self.context.config.latents.context
        for name in self.context.refs:
            positions = self.context.harvested_identity(name).n_positions
            if positions is not None and length > positions:
                raise UsageError(
                    f"latents.context is {length:,}, but {name} reads at most {positions:,} "
                    "tokens.",
                    hint=f"Set latents.context to {positions}, or less, in the --config file.",
                )

    def _read_otherwise(self) -> str | None:
        """Return why the models cannot be given the same ids; the corpus is made for it."""
        own = {n: self.context.harvested_identity(n).tokenizer_digest for n in self.context.refs}
        if len(set(own.values())) == 1:
            return None
        corpus = self.corpus.value()
        alike = {corpus.tokenizer_digest, *corpus.also_read_by}
        others = [name for name, digest in own.items() if digest not in alike]
        if not others:
            return None
        return (
            f"{' and '.join(others)} and {self.context.reader} have different tokenizers and read "
            "documents of the corpus in other ids: the same token ids cannot be given to both"
        )

    def plan_lines(self) -> list[str]:
        """Return what the arm needs of memory and disk, cached and streamed, and what is short."""
        members = [stages.member.models for stages in self.dictionaries]
        nulls = sum(stages.null is not None for stages in self.dictionaries)
        return cost_lines(self.context, self.sites, members, nulls)

    def artifacts(self) -> Mapping[str, Stage[Any]]:
        """Return the profile."""
        return {"profile": self.profile}


def run_sites(context: RunContext) -> tuple[str, ...]:
    """Return the run's sites: as configured, else the middle block of the baseline."""
    given = context.config.latents.sites
    if given:
        return given
    return (f"resid_post.{context.harvested_identity(context.baseline).n_blocks // 2}",)


def _design_name(context: RunContext) -> str:
    given = context.config.latents.design
    if given != "auto":
        return given
    return "via-base" if context.base is not None else "direct"


def _members(context: RunContext, design: str, site: str) -> Sequence[DesignMember]:
    built = context.choice("design", design).build()
    members: Sequence[DesignMember] = built.members(
        baseline=context.baseline,
        candidate=context.candidate,
        base=context.base,
        null_twin=context.null_twin,
        twin_of=context.twinned,
        site=site,
    )
    return [dataclasses.replace(m, models=context.canonical(tuple(m.models))) for m in members]


def _profile_stage(
    context: RunContext, dictionaries: Sequence[DictionaryStages]
) -> Stage[CapabilityProfile]:
    rule = context.config.latents.rule
    by_replicate: dict[int, list[Gathered]] = {}
    for stages in dictionaries:
        by_replicate.setdefault(stages.replicate, []).append(_labelled(stages))
    nulls = [s.null for s in dictionaries if s.null is not None and s.replicate == 0]
    return context.stage(
        "profile",
        profile,
        title=f"rule {rule}",
        gives=CapabilityProfile,
        inputs={
            "replicates": [by_replicate[number] for number in sorted(by_replicate)],
            "null": [_labelled(stages) for stages in nulls],
        },
        settings={"rule": rule, "null_rule": "calibrated" if rule == "above_null" else rule},
    )


def _labelled(stages: DictionaryStages | NullStages) -> Gathered:
    """Return what the profile reads of one dictionary."""
    parts = {
        "owners": stages.classify,
        "labels": stages.label,
        "scores": stages.score.part("scores"),
    }
    return Gathered(LabelledDictionary, parts)


def _energy_stage(
    context: RunContext, read: CachedActivations | LiveActivations
) -> Stage[DifferenceEnergy]:
    return context.stage(
        "score",
        difference_energy,
        title=f"difference energy at {read.site}",
        gives=DifferenceEnergy,
        settings={"pair": context.config.pair},
        tools={"stream": read},
    )


def _controls_stage(
    context: RunContext, read: CachedActivations | LiveActivations
) -> Stage[SimpleControls]:
    return context.stage(
        "score",
        simple_controls,
        title=f"simple controls at {read.site}",
        gives=SimpleControls,
        settings={"pair": context.config.pair},
        tools={"stream": read},
    )
