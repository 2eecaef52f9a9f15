"""The questions that are asked of the models before any long work."""

from __future__ import annotations

from modeldiff_harness.artifacts import Comparability
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.models.preflight import preflight
from modeldiff_harness.pipeline.arms.latents.arm import run_sites
from modeldiff_harness.pipeline.context import PairContext
from modeldiff_harness.stages import Stage

__all__ = ["preflight_stage"]


def preflight_stage(context: PairContext) -> Stage[Comparability]:
    """Return the stage that says whether, and for which arms, the models are comparable."""
    sites = run_sites(context) if context.config.latents.enabled else ()

    def make(_runtime: Runtime) -> Comparability:
        return preflight(
            context.pool(context.harvest_dtype),
            context.baseline,
            context.candidate,
            context.base,
            sites,
            template=context.chat_template,
            template_named=context.config.chat_template is not None,
        )

    names = [n for n in (context.baseline, context.candidate, context.base) if n is not None]
    return Stage(
        context.runner,
        "preflight",
        f"{context.baseline} and {context.candidate}",
        Comparability,
        make,
        recipe={
            "models": [context.identity_recipe(n, context.harvest_dtype) for n in names],
            "base": context.base,
            "sites": list(sites),
            "versions": context.versions("transformers", "torch"),
        },
        modules=("modeldiff_harness.models.preflight", "modeldiff_harness.models.blocks"),
        estimate="one forward pass a model",
    )
