"""A latent scorer: which share of a latent's activation falls on the models' own words?"""

from __future__ import annotations

from collections.abc import Iterable

from modeldiff_harness import Component, hookimpl


@hookimpl
def mdh_components() -> Iterable[Component]:
    """Offer the scorer; nothing heavy is imported until it is used."""
    return [
        Component(
            kind="latent_scorer",
            name="assistant_share",
            factory="mdh_example_scorer.scorer:AssistantShare",
            summary="share of activation mass on assistant tokens",
        )
    ]
