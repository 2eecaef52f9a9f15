"""The latent arm's activations: harvested and kept, or streamed while something learns."""

from __future__ import annotations

from collections.abc import Sequence

from modeldiff_harness.artifacts import (
    ActivationStatistics,
    HarvestedActivations,
    NullMatch,
    TokenisedCorpus,
)
from modeldiff_harness.latents.harvest.harvest import harvest
from modeldiff_harness.latents.harvest.live import measure_activations
from modeldiff_harness.latents.harvest.reading import (
    CachedActivations,
    LiveActivations,
    RunSourceUse,
)
from modeldiff_harness.models.use import SourceModelsUse
from modeldiff_harness.pipeline.arms.latents.cost import refuse_full_disk
from modeldiff_harness.pipeline.context import RunContext
from modeldiff_harness.stages import Built, Stage

__all__ = ["Activations", "Match"]

Match = tuple[str, Stage[NullMatch]]
"""A model whose adapter is scaled, and the stage that says by how much."""


class Activations:
    """The activations of a run: for any models at any of its sites, by the configured mode."""

    def __init__(
        self, context: RunContext, corpus: Stage[TokenisedCorpus], sites: tuple[str, ...]
    ) -> None:
        self.context = context
        self.corpus = corpus
        self.sites = sites
        self.config = context.config.latents
        self.source = context.choice(
            "activation_source", self.config.source, self.config.source_config
        )
        self.source.build()  # what it refuses is said before any work
        self.harvests: dict[str, Stage[HarvestedActivations]] = {}
        """Every harvest that was asked for, by its key."""

    def of(
        self, models: Sequence[str], site: str, match: Match | None = None
    ) -> CachedActivations | LiveActivations:
        """Return the activations of `models` at `site`, in canonical order."""
        names = self.context.canonical(tuple(models))
        if self.config.activations == "cached":
            harvests = tuple(
                self._harvest(name, match if match and match[0] == name else None) for name in names
            )
            return CachedActivations(self.corpus, harvests, site)
        run = RunSourceUse(self.source, self._models(names, match), site)
        return LiveActivations(
            run=run,
            corpus=self.corpus,
            statistics=self._statistics(run),
            buffer_tokens=self.config.buffer_tokens,
            buffer_dtype=self.config.buffer_dtype,
        )

    def how(self) -> dict[str, str]:
        """Return how each model was run: type, packing, type on disk; the harvests must be made."""
        if self.config.activations == "stream":
            dtype = self.context.harvest_dtype
            note = f"{dtype}, run while training, buffer {self.config.buffer_dtype}"
            return dict.fromkeys(self.context.config.pair, note)
        found = [stage.value() for stage in self.harvests.values()]
        return {h.views[0].model: f"{h.how or 'run'}, stored as {h.dtype}" for h in found}

    def _models(self, names: tuple[str, ...], match: Match | None) -> SourceModelsUse:
        factors = {} if match is None else {match[0]: match[1].part("adapter_scale")}
        return SourceModelsUse(self.context.models, names, self.context.harvest_dtype, factors)

    def _statistics(self, run: RunSourceUse) -> Stage[ActivationStatistics]:
        names = ", ".join(run.models.names)
        at_most = min(self.config.sample_tokens, self.config.max_tokens)
        return self.context.stage(
            "harvest",
            measure_activations,
            title=f"statistics of {names} at {run.site}",
            gives=ActivationStatistics,
            inputs={"corpus": self.corpus},
            settings={"sample_tokens": self.config.sample_tokens},
            tools={"run": run},
            estimate=f"≤ {at_most:,} tokens a model",
        )

    def _harvest(self, model: str, match: Match | None) -> Stage[HarvestedActivations]:
        """Return the stage that runs `model` over the corpus; `match` scales its adapter."""
        stage: Stage[HarvestedActivations] = self.context.stage(
            "harvest",
            harvest,
            title=model if match is None else f"{model}, adapter scaled",
            gives=HarvestedActivations,
            inputs={"corpus": self.corpus},
            settings={"sites": self.sites, "dtype": self.config.stored_dtype},
            tools={"source": Built(self.source), "models": self._models((model,), match)},
            estimate=f"≤ {self.config.max_tokens:,} tokens",
            refuse=self._refuse_full_disk,
        )
        return self.harvests.setdefault(stage.key, stage)

    def _refuse_full_disk(self) -> None:
        missing = [stage for stage in self.harvests.values() if not stage.ready()]
        refuse_full_disk(self.context, self.corpus.value(), len(missing), self.sites)
