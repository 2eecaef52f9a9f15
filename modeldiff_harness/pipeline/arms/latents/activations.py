"""Where the latent arm's activations come from: harvests on disk, or models that run meanwhile."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from modeldiff_harness.artifacts import (
    ActivationStatistics,
    HarvestedActivations,
    NullMatch,
    TokenisedCorpus,
    View,
)
from modeldiff_harness.contracts import (
    ActivationBatch,
    ActivationSource,
    ActivationStream,
    Runtime,
    SourceModels,
)
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.latents.harvest.buffer import BUFFER_TYPES
from modeldiff_harness.latents.harvest.harvest import harvest
from modeldiff_harness.latents.harvest.live import RunSource, measure_activations
from modeldiff_harness.latents.harvest.live_stream import LiveStream
from modeldiff_harness.latents.harvest.sample import sample_documents, take_documents
from modeldiff_harness.latents.harvest.stream import stream_from_harvests
from modeldiff_harness.models.blocks import parse_site
from modeldiff_harness.pipeline.arms.latents.cost import refuse_full_disk
from modeldiff_harness.pipeline.context import PairContext
from modeldiff_harness.stages import Stage

__all__ = ["ACTIVATION_MODES", "Activations", "CachedActivations", "LiveActivations"]

_LATENTS = "modeldiff_harness.latents"
_STREAMS = f"{_LATENTS}.activations"
ACTIVATION_MODES = ("cached", "stream")


@dataclass(frozen=True)
class CachedActivations:
    """The joined harvests of some models at one site."""

    corpus: Stage[TokenisedCorpus]
    harvests: tuple[Stage[HarvestedActivations], ...]
    site: str

    @property
    def inputs(self) -> tuple[Stage[Any], ...]:
        """Stages whose artifacts are read."""
        return (self.corpus, *self.harvests)

    modules = (f"{_STREAMS}.stream",)

    def recipe(self) -> dict[str, Any]:
        """Return what shuffling depends on beside the inputs: nothing."""
        return {}

    @contextmanager
    def stream(self, runtime: Runtime) -> Iterator[ActivationStream]:
        """Yield the stream over the whole corpus."""
        found = [stage.value() for stage in self.harvests]
        views: list[View] = [v for h in found for v in h.views if v.site == self.site]
        yield stream_from_harvests(self.corpus.value(), found, views)

    @contextmanager
    def look(self, runtime: Runtime) -> Iterator[tuple[ActivationStream, TokenisedCorpus]]:
        """Yield the stream and corpus for what is measured without training: all of it."""
        with self.stream(runtime) as stream:
            yield stream, self.corpus.value()


@dataclass(frozen=True)
class LiveActivations:
    """Some models at one site, run whenever somebody reads; `scales` are adapters' factors."""

    context: PairContext
    corpus: Stage[TokenisedCorpus]
    statistics: Stage[ActivationStatistics]
    models: tuple[str, ...]
    site: str
    match: tuple[str, Stage[NullMatch]] | None

    modules = (_STREAMS, "modeldiff_harness.models.blocks", "modeldiff_harness.models.packing")

    @property
    def inputs(self) -> tuple[Stage[Any], ...]:
        """Stages whose artifacts are read."""
        matched = () if self.match is None else (self.match[1],)
        return (self.corpus, self.statistics, *matched)

    def recipe(self) -> dict[str, Any]:
        """Return what shuffling depends on beside the inputs."""
        config = self.context.config.latents
        return {
            "activations": "stream",
            "buffer_tokens": config.buffer_tokens,
            "buffer_dtype": config.buffer_dtype,
        }

    @contextmanager
    def stream(self, runtime: Runtime) -> Iterator[ActivationStream]:
        """Yield the live stream over the whole corpus."""
        with self._over(self.corpus.value(), runtime) as stream:
            yield stream

    @contextmanager
    def look(self, runtime: Runtime) -> Iterator[tuple[ActivationStream, TokenisedCorpus]]:
        """Yield the stream and corpus of the sample that the statistics were measured on."""
        corpus = self.corpus.value()
        documents = sample_documents(corpus, self.context.config.latents.sample_tokens)
        sample = take_documents(corpus, documents)
        with self._over(sample, runtime) as stream:
            yield stream, sample

    @contextmanager
    def _over(self, corpus: TokenisedCorpus, runtime: Runtime) -> Iterator[ActivationStream]:
        config = self.context.config.latents
        with live_models(self.context, self.models, self.site, self.match, runtime) as run:
            stream = LiveStream(
                run,
                corpus,
                self.statistics.value(),
                buffer_tokens=config.buffer_tokens,
                dtype=config.buffer_dtype,
                runtime=runtime,
            )
            try:
                yield stream
            except BaseException:
                stream.stop()  # what was written for resuming stays
                raise
            stream.close()


class Activations:
    """The activations of a run: for any models at any of its sites, by the configured mode."""

    def __init__(
        self, context: PairContext, corpus: Stage[TokenisedCorpus], sites: tuple[str, ...]
    ) -> None:
        self.context = context
        self.corpus = corpus
        self.sites = sites
        self.mode = context.config.latents.activations
        if self.mode not in ACTIVATION_MODES:
            raise UsageError(
                f"unknown latents.activations {self.mode!r}.",
                hint=did_you_mean(self.mode, ACTIVATION_MODES),
            )
        if context.config.latents.buffer_dtype not in BUFFER_TYPES:
            raise UsageError(
                f"unknown latents.buffer_dtype {context.config.latents.buffer_dtype!r}.",
                hint=f"Use one of {', '.join(BUFFER_TYPES)}.",
            )
        self.harvests: dict[str, Stage[HarvestedActivations]] = {}
        """Every harvest that was asked for, by its title."""

    def of(
        self,
        models: Sequence[str],
        site: str,
        match: tuple[str, Stage[NullMatch]] | None = None,
    ) -> CachedActivations | LiveActivations:
        """Return the activations of `models` at `site`, in canonical order.

        `match` names a model whose adapter is scaled, and the stage that says by how much.
        """
        names = self.context.canonical(tuple(models))
        if self.mode == "stream":
            statistics = _statistics_stage(self.context, self.corpus, names, site, match)
            return LiveActivations(self.context, self.corpus, statistics, names, site, match)
        harvests = tuple(
            self._harvest(name, match[1] if match and match[0] == name else None) for name in names
        )
        return CachedActivations(self.corpus, harvests, site)

    def how(self) -> dict[str, str]:
        """Return how each model was run: type, packing, type on disk; the harvests must be made."""
        config = self.context.config.latents
        if self.mode == "stream":
            note = f"{self.context.harvest_dtype}, run while training, buffer {config.buffer_dtype}"
            return dict.fromkeys(self.context.config.pair, note)
        found = [stage.value() for stage in self.harvests.values()]
        return {h.views[0].model: f"{h.how or 'run'}, stored as {h.dtype}" for h in found}

    def _harvest(self, model: str, match: Stage[NullMatch] | None) -> Stage[HarvestedActivations]:
        stage = _harvest_stage(self, model, match)
        return self.harvests.setdefault(stage.key, stage)


@contextmanager
def live_models(
    context: PairContext,
    models: tuple[str, ...],
    site: str,
    match: tuple[str, Stage[NullMatch]] | None,
    runtime: Runtime,
) -> Iterator[RunSource]:
    """Yield what runs `models` over documents, their weights after the site freed."""
    config = context.config.latents
    source = context.registry.choose("activation_source", config.source, config.source_config)
    pool = context.live_pool()
    if match is not None:
        name, stage = match
        scale = stage.value().adapter_scale
        pool.refs[name] = dataclasses.replace(context.refs[name], adapter_scale=scale)
    opened = False

    def run(corpus: TokenisedCorpus, batch_tokens: int) -> Iterator[ActivationBatch]:
        nonlocal opened
        if not opened:
            last = max(parse_site(site, pool.identity(n).n_blocks, n) for n in models)
            pool.truncate(models, last)
            opened = True
        built: ActivationSource = source.build()
        return built.open(
            SourceModels(models, pool),
            corpus,
            (site,),
            dataclasses.replace(runtime, batch_tokens=batch_tokens),
        )

    try:
        yield run
    finally:
        pool.release()


def _statistics_stage(
    context: PairContext,
    corpus: Stage[TokenisedCorpus],
    models: tuple[str, ...],
    site: str,
    match: tuple[str, Stage[NullMatch]] | None,
) -> Stage[ActivationStatistics]:
    config = context.config.latents
    source = context.registry.choose("activation_source", config.source, config.source_config)

    def make(runtime: Runtime) -> ActivationStatistics:
        with live_models(context, models, site, match, runtime) as run:
            return measure_activations(
                run, corpus.value(), sample_tokens=config.sample_tokens, runtime=runtime
            )

    return Stage(
        context.runner,
        "harvest",
        f"statistics of {', '.join(models)} at {site}",
        ActivationStatistics,
        make,
        recipe={
            "models": [context.identity_recipe(name, context.harvest_dtype) for name in models],
            "scaled": None if match is None else match[0],
            "site": site,
            "source": source.recipe(),
            "sample_tokens": config.sample_tokens,
            "versions": context.versions("transformers", "torch"),
        },
        inputs=(corpus, *([match[1]] if match else [])),
        modules=(
            f"{_STREAMS}.live",
            f"{_STREAMS}.sample",
            "modeldiff_harness.models.blocks",
            "modeldiff_harness.models.packing",
        ),
        estimate=f"≤ {min(config.sample_tokens, config.max_tokens):,} tokens a model",
    )


def _harvest_stage(
    activations: Activations, model: str, match: Stage[NullMatch] | None
) -> Stage[HarvestedActivations]:
    """Return the stage that runs `model` over the corpus; `match` scales its adapter."""
    context, corpus = activations.context, activations.corpus
    config = context.config.latents
    source = context.registry.choose("activation_source", config.source, config.source_config)

    def make(runtime: Runtime) -> HarvestedActivations:
        refuse_full_disk(context, corpus.value(), activations.harvests.values(), activations.sites)
        scale = 1.0 if match is None else match.value().adapter_scale
        models = SourceModels((model,), context.rescaled_pool(model, scale))
        return harvest(
            source.build(),
            models,
            corpus.value(),
            activations.sites,
            dtype=config.stored_dtype,
            runtime=runtime,
        )

    return Stage(
        context.runner,
        "harvest",
        model if match is None else f"{model}, adapter scaled",
        HarvestedActivations,
        make,
        recipe={
            "model": context.identity_recipe(model, context.harvest_dtype),
            "sites": list(activations.sites),
            "source": source.recipe(),
            "stored_dtype": config.stored_dtype,
            "versions": context.versions("transformers", "torch"),
        },
        inputs=(corpus, *([match] if match else [])),
        modules=(
            f"{_LATENTS}.harvest",
            "modeldiff_harness.models.blocks",
            "modeldiff_harness.models.packing",
        ),
        estimate=f"≤ {config.max_tokens:,} tokens",
    )
