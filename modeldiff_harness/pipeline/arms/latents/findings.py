"""Gathering what the report reads of the latent arm."""

from __future__ import annotations

from collections.abc import Sequence

from modeldiff_harness.artifacts import (
    CapabilityProfile,
    DifferenceEnergy,
    SimpleControls,
    TokenisedCorpus,
)
from modeldiff_harness.models.use import DecodeUse
from modeldiff_harness.pipeline.arms.latents.activations import Activations
from modeldiff_harness.pipeline.arms.latents.dictionary import DictionaryStages
from modeldiff_harness.pipeline.context import RunContext
from modeldiff_harness.plugins import OWN_DISTRIBUTION
from modeldiff_harness.report.build.inputs import LatentFindings, MemberFindings
from modeldiff_harness.stages import Stage

__all__ = ["latent_findings"]


def latent_findings(
    context: RunContext,
    *,
    design: str,
    corpus: Stage[TokenisedCorpus],
    dictionaries: Sequence[DictionaryStages],
    profile: Stage[CapabilityProfile],
    energies: Sequence[Stage[DifferenceEnergy]],
    controls: Stage[SimpleControls] | None,
    activations: Activations,
) -> LatentFindings:
    """Return the artifacts of the arm side by side, computing what is missing."""
    members = tuple(_member(stages) for stages in dictionaries)
    return LatentFindings(
        rule=context.config.latents.rule,
        design=design,
        corpus=corpus.value(),
        decode=DecodeUse(context.models, context.reader, context.harvest_dtype).decode,
        members=members,
        profile=profile.value(),
        energies=tuple(stage.value() for stage in energies),
        controls=None if controls is None else controls.value(),
        extra_columns=_extra_columns(members),
        how_run=activations.how(),
    )


def _member(stages: DictionaryStages) -> MemberFindings:
    scored = stages.score.value()
    null = stages.null
    return MemberFindings(
        replicate=stages.replicate,
        dictionary=stages.train.value(),
        scores=scored.scores,
        examples=scored.examples,
        owners=stages.classify.value(),
        labels=stages.label.value(),
        null_owners=null.classify.value() if null else None,
        null_labels=null.label.value() if null else None,
        null_match=null.match.value() if null else None,
    )


def _extra_columns(members: Sequence[MemberFindings]) -> dict[str, str]:
    """Return the columns that scorers of other distributions made, with what they mean."""
    return {
        column.name: f"{column.meaning} [{column.unit}]"
        for member in members[:1]
        for column in member.scores.columns
        if column.owner is not None and column.owner.distribution != OWN_DISTRIBUTION
    }
