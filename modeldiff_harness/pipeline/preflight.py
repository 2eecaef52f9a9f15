"""The questions that are asked of the models before any long work."""

from __future__ import annotations

from modeldiff_harness.artifacts import Comparability
from modeldiff_harness.models.preflight import preflight
from modeldiff_harness.models.use import PoolUse, TemplateUse
from modeldiff_harness.pipeline.arms.latents.arm import run_sites
from modeldiff_harness.pipeline.context import RunContext
from modeldiff_harness.stages import Stage

__all__ = ["preflight_stage"]


def preflight_stage(context: RunContext) -> Stage[Comparability]:
    """Return the stage that says whether, and for which arms, the models are comparable."""
    asked = (context.baseline, context.candidate, context.base)
    names = tuple(name for name in asked if name is not None)
    return context.stage(
        "preflight",
        preflight,
        title=f"{context.baseline} and {context.candidate}",
        gives=Comparability,
        settings={
            "baseline": context.baseline,
            "candidate": context.candidate,
            "base": context.base,
            "sites": run_sites(context) if context.config.latents.enabled else (),
            "template_named": context.config.chat_template is not None,
            "context": context.config.latents.context if context.config.latents.enabled else None,
        },
        tools={
            "pool": PoolUse(context.models, names, context.harvest_dtype),
            "template": TemplateUse(context.models),
        },
        estimate="one forward pass a model",
    )
