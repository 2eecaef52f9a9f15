"""Computing the latent arm in order and gathering what the report reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from modeldiff_harness.pipeline.arms.latents.arm import LatentStages
from modeldiff_harness.pipeline.arms.latents.dictionary import MemberStages
from modeldiff_harness.pipeline.context import PairContext
from modeldiff_harness.plugins import OWN_DISTRIBUTION
from modeldiff_harness.report.build.inputs import LatentFindings, MemberFindings

__all__ = ["latent_findings"]


def latent_findings(context: PairContext, stages: LatentStages) -> LatentFindings:
    """Run the latent arm: the look that costs no training first, then the dictionaries."""
    energies = tuple(stage.value() for stage in stages.energies)
    controls = stages.controls.value() if stages.controls is not None else None
    members = tuple(_member(member) for member in stages.members)
    return LatentFindings(
        rule=context.config.latents.rule,
        design=stages.design,
        corpus=stages.corpus.value(),
        decode=_decoder(context),
        members=members,
        profile=stages.profile.value(),
        energies=energies,
        controls=controls,
        extra_columns=_extra_columns(members),
        how_run=stages.activations.how(),
    )


def _member(stages: MemberStages) -> MemberFindings:
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


def _decoder(context: PairContext) -> Callable[[Sequence[int]], list[str]]:
    tokenizer = context.pool(context.harvest_dtype).tokenizer(context.baseline)
    return lambda ids: [str(tokenizer.decode([token])) for token in ids]


def _extra_columns(members: Sequence[MemberFindings]) -> dict[str, str]:
    """Return the columns that scorers of other distributions made, with what they mean."""
    return {
        column.name: f"{column.meaning} [{column.unit}]"
        for member in members[:1]
        for column in member.scores.columns
        if column.owner is not None and column.owner.distribution != OWN_DISTRIBUTION
    }
