"""The latent arm's stages: corpus → harvest → train → score → classify → label → profile."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modeldiff_harness.artifacts import (
    CapabilityProfile,
    DifferenceEnergy,
    SimpleControls,
    TokenisedCorpus,
)
from modeldiff_harness.contracts import DesignMember, Runtime
from modeldiff_harness.latents.difference.controls import simple_controls
from modeldiff_harness.latents.difference.energy import difference_energy
from modeldiff_harness.latents.profile import LabelledDictionary, profile
from modeldiff_harness.pipeline.arms.latents.activations import (
    Activations,
    CachedActivations,
    LiveActivations,
)
from modeldiff_harness.pipeline.arms.latents.corpus import corpus_stage
from modeldiff_harness.pipeline.arms.latents.cost import cost_lines
from modeldiff_harness.pipeline.arms.latents.dictionary import MemberStages, member_stages
from modeldiff_harness.pipeline.context import PairContext
from modeldiff_harness.stages import Stage
from modeldiff_harness.taxonomy import load_taxonomy

__all__ = ["LatentStages", "latent_stages", "run_sites"]

_LATENTS = "modeldiff_harness.latents"


@dataclass(frozen=True)
class LatentStages:
    """Every stage of the latent arm."""

    context: PairContext
    design: str
    corpus: Stage[TokenisedCorpus]
    activations: Activations
    members: tuple[MemberStages, ...]
    profile: Stage[CapabilityProfile]
    energies: tuple[Stage[DifferenceEnergy], ...]
    controls: Stage[SimpleControls] | None

    def ends(self) -> list[Stage[Any]]:
        """Return the stages nothing else rests on, in the order they are wanted."""
        controls = [self.controls] if self.controls is not None else []
        return [*self.energies, *controls, self.profile]

    def cost_lines(self) -> list[str]:
        """Return what the arm needs of memory and disk, cached and streamed, and what is short."""
        dictionaries = [m.member.models for m in self.members]
        nulls = sum(m.null is not None for m in self.members)
        return cost_lines(self.context, self.activations.sites, dictionaries, nulls)


def run_sites(context: PairContext) -> tuple[str, ...]:
    """Return the run's sites: as configured, else the middle block of the baseline."""
    given = context.config.latents.sites
    if given:
        return given
    n_blocks = context.identity(context.baseline, context.harvest_dtype).n_blocks
    return (f"resid_post.{n_blocks // 2}",)


def latent_stages(context: PairContext) -> LatentStages:
    """Return the arm's stages; UsageError for a design that lacks a model, unknown plugins …"""
    config = context.config.latents
    sites = run_sites(context)
    design = _design_name(context)
    corpus = corpus_stage(context)
    activations = Activations(context, corpus, sites)
    asked: list[tuple[DesignMember, str]] = []
    for site in sites:
        asked += [(member, site) for member in _members(context, design, site)]
    members = tuple(
        member_stages(activations, member, design=design, site=site, replicate=replicate)
        for replicate in range(config.replicates)
        for member, site in asked
    )
    pairs = [activations.of((context.baseline, context.candidate), site) for site in sites]
    return LatentStages(
        context=context,
        design=design,
        corpus=corpus,
        activations=activations,
        members=members,
        profile=_profile_stage(context, members),
        energies=tuple(_energy_stage(context, pair) for pair in pairs),
        controls=_controls_stage(context, pairs[0]) if config.controls else None,
    )


def _design_name(context: PairContext) -> str:
    given = context.config.latents.design
    if given != "auto":
        return given
    return "via-base" if context.base is not None else "direct"


def _members(context: PairContext, design: str, site: str) -> Sequence[DesignMember]:
    built = context.registry.choose("design", design).build()
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
    context: PairContext, members: Sequence[MemberStages]
) -> Stage[CapabilityProfile]:
    rule = context.config.latents.rule
    labelled = [stage for m in members for stage in (m.classify, m.label, m.score)]
    nulls = [m.null for m in members if m.null is not None and m.replicate == 0]
    null_rule = "calibrated" if rule == "above_null" else rule

    def make(runtime: Runtime) -> CapabilityProfile:
        replicates = [
            [
                LabelledDictionary(m.classify.value(), m.label.value(), m.score.value().scores)
                for m in members
                if m.replicate == replicate
            ]
            for replicate in sorted({m.replicate for m in members})
        ]
        null = [
            LabelledDictionary(n.classify.value(), n.label.value(), n.score.value().scores)
            for n in nulls
        ]
        return profile(replicates, rule=rule, null=null, null_rule=null_rule, runtime=runtime)

    return Stage(
        context.runner,
        "profile",
        f"rule {rule}",
        CapabilityProfile,
        make,
        recipe={"rule": rule, "null_rule": null_rule},
        inputs=(*labelled, *(s for n in nulls for s in (n.classify, n.label, n.score))),
        modules=(
            f"{_LATENTS}.profile",
            f"{_LATENTS}.meaning.activity",
            "modeldiff_harness.stats",
            "modeldiff_harness.taxonomy",
        ),
    )


def _energy_stage(
    context: PairContext, pair: CachedActivations | LiveActivations
) -> Stage[DifferenceEnergy]:
    def make(runtime: Runtime) -> DifferenceEnergy:
        with pair.look(runtime) as (stream, corpus):
            return difference_energy(
                stream, (context.baseline, context.candidate), corpus, runtime=runtime
            )

    return Stage(
        context.runner,
        "score",
        f"difference energy at {pair.site}",
        DifferenceEnergy,
        make,
        recipe={"site": pair.site, "pair": list(context.config.pair)},
        inputs=pair.inputs,
        modules=(
            *(f"{_LATENTS}.{m}" for m in ("difference.energy", "activations.prompts")),
            *pair.modules,
            "modeldiff_harness.stats",
        ),
    )


def _controls_stage(
    context: PairContext, pair: CachedActivations | LiveActivations
) -> Stage[SimpleControls]:
    def make(runtime: Runtime) -> SimpleControls:
        with pair.look(runtime) as (stream, corpus):
            present = {document.capability for document in corpus.documents}
            return simple_controls(
                stream,
                (context.baseline, context.candidate),
                corpus,
                capabilities=[key for key in load_taxonomy().keys if key in present],
                runtime=runtime,
            )

    return Stage(
        context.runner,
        "score",
        f"simple controls at {pair.site}",
        SimpleControls,
        make,
        recipe={"site": pair.site, "pair": list(context.config.pair)},
        inputs=pair.inputs,
        modules=(
            *(f"{_LATENTS}.{m}" for m in ("difference.controls", "activations.prompts")),
            *pair.modules,
            "modeldiff_harness.stats",
        ),
    )
