"""Activations as a stage reads them: harvests on disk, or models that run meanwhile."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from modeldiff_harness.artifacts import (
    ActivationStatistics,
    HarvestedActivations,
    TokenisedCorpus,
)
from modeldiff_harness.contracts import (
    ActivationBatch,
    ActivationSource,
    ActivationStream,
    Runtime,
)
from modeldiff_harness.latents.harvest.live import RunSource
from modeldiff_harness.latents.harvest.live_stream import LiveStream
from modeldiff_harness.latents.harvest.sample import sample_documents, take_documents
from modeldiff_harness.latents.harvest.stream import stream_from_harvests
from modeldiff_harness.models.blocks import parse_site
from modeldiff_harness.models.use import SourceModelsUse
from modeldiff_harness.plugins import ComponentChoice
from modeldiff_harness.stages import Stage

__all__ = ["CachedActivations", "LiveActivations", "RunSourceUse"]


@dataclass(frozen=True)
class CachedActivations:
    """The joined harvests of some models at one site; a tool that opens an `ActivationStream`."""

    corpus: Stage[TokenisedCorpus]
    harvests: tuple[Stage[HarvestedActivations], ...]
    """In the order of the dictionary's models."""
    site: str

    def recipe(self) -> Any:
        """Return what is read of the harvests."""
        return {"activations": "cached", "site": self.site}

    def inputs(self) -> tuple[Stage[Any], ...]:
        """Return the stages whose artifacts are read."""
        return (self.corpus, *self.harvests)

    @contextmanager
    def open(self, _runtime: Runtime) -> Iterator[ActivationStream]:
        """Open the stream over the whole corpus."""
        found = [stage.value() for stage in self.harvests]
        views = [view for one in found for view in one.views if view.site == self.site]
        yield stream_from_harvests(self.corpus.value(), found, views)

    def look(self, _sample_tokens: int) -> CachedActivations:
        """Return what is read where nothing is trained: all of it."""
        return self


@dataclass(frozen=True)
class RunSourceUse:
    """An activation source over some models of its own; a tool that opens a `RunSource`.

    The blocks after the site are freed, and so is everything when the stage ends.
    """

    source: ComponentChoice
    models: SourceModelsUse
    site: str

    def recipe(self) -> Any:
        """Return source, models and site."""
        return {"source": self.source.recipe(), "models": self.models.recipe(), "site": self.site}

    def inputs(self) -> tuple[Stage[Any], ...]:
        """Return the stages that say by what adapters are scaled."""
        return self.models.inputs()

    @contextmanager
    def open(self, runtime: Runtime) -> Iterator[RunSource]:
        """Open the call that runs the models over documents."""
        with self.models.alone() as opened:
            pool, truncated = opened.handle, False

            def run(corpus: TokenisedCorpus, batch_tokens: int) -> Iterator[ActivationBatch]:
                nonlocal truncated
                if not truncated:
                    last = max(
                        parse_site(self.site, pool.identity(name).n_blocks, name)
                        for name in opened.names
                    )
                    pool.truncate(opened.names, last)
                    truncated = True
                built: ActivationSource = self.source.build()
                at_a_time = dataclasses.replace(runtime, batch_tokens=batch_tokens)
                return built.open(opened, corpus, (self.site,), at_a_time)

            yield run


@dataclass(frozen=True)
class LiveActivations:
    """Some models at one site, run whenever somebody reads; a tool that opens a stream."""

    run: RunSourceUse
    corpus: Stage[TokenisedCorpus]
    statistics: Stage[ActivationStatistics]
    buffer_tokens: int
    buffer_dtype: str
    sample_tokens: int | None = None
    """Read only the documents that statistics are measured on; None: all."""

    @property
    def site(self) -> str:
        """The site that is read."""
        return self.run.site

    def recipe(self) -> Any:
        """Return what is run, and what the order of tokens depends on."""
        return {
            "activations": "stream",
            "run": self.run.recipe(),
            "buffer_tokens": self.buffer_tokens,
            "buffer_dtype": self.buffer_dtype,
            "sample_tokens": self.sample_tokens,
        }

    def inputs(self) -> tuple[Stage[Any], ...]:
        """Return the stages whose artifacts are read."""
        return (self.corpus, self.statistics, *self.run.inputs())

    @contextmanager
    def open(self, runtime: Runtime) -> Iterator[ActivationStream]:
        """Open the live stream."""
        corpus = self.corpus.value()
        if self.sample_tokens is not None:
            corpus = take_documents(corpus, sample_documents(corpus, self.sample_tokens))
        with self.run.open(runtime) as run:
            stream = LiveStream(
                run,
                corpus,
                self.statistics.value(),
                buffer_tokens=self.buffer_tokens,
                dtype=self.buffer_dtype,
                runtime=runtime,
            )
            try:
                yield stream
            except BaseException:
                stream.stop()  # what was written for resuming stays
                raise
            stream.close()

    def look(self, sample_tokens: int) -> LiveActivations:
        """Return what is read where nothing is trained: the documents of the statistics."""
        return dataclasses.replace(self, sample_tokens=sample_tokens)
