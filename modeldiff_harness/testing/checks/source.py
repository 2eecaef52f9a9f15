"""The check of `activation_source`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch

from modeldiff_harness.artifacts import TokenisedCorpus
from modeldiff_harness.contracts import ActivationBatch, ActivationSource, Runtime, SourceModels
from modeldiff_harness.testing.checks.rules import Subject
from modeldiff_harness.testing.planted import PlantedConfig, planted_corpus

__all__ = ["check_source"]


def check_source(
    factory: Callable[[], ActivationSource],
    *,
    models: SourceModels | None = None,
    corpus: TokenisedCorpus | None = None,
    sites: Sequence[str] = ("resid_post.0",),
    batch_tokens: int = 500,
    name: str | None = None,
) -> None:
    """Check a source on `corpus` (default: the planted one, with the planted models).

    batches: views are models × sites, every kept token comes once and in corpus order, with its
    document, finite and as wide as its view; determinism; resume: from the state after any batch,
    sent through JSON, another instance goes on to the same bits; empty: nothing for a corpus that
    keeps no token; sites: one that no model has is a UsageError.  `batch_tokens` must cut the
    corpus into three batches or more.  Raises CheckFailed.
    """
    subject = Subject("activation_source", factory, name)
    config = PlantedConfig()
    models = models or SourceModels(config.models, None)
    corpus = corpus or planted_corpus(config)[0]
    runtime = Runtime(batch_tokens=batch_tokens)

    def opened(source: ActivationSource, **change: Any) -> Iterator[ActivationBatch]:
        asked = {"models": models, "corpus": corpus, "sites": sites, **change}
        return source.open(**asked, runtime=runtime)

    with subject.rule("batches"):
        whole = list(opened(subject.make()))
    _check_batches(subject, whole, models, corpus, sites)
    with subject.rule("determinism"):
        again = list(opened(subject.make()))
    subject.require("determinism", _joined(again) == _joined(whole), "two passes differ")
    subject.require("resume", len(whole) >= 3, f"{len(whole)} batches: lower `batch_tokens`")
    for n in sorted({1, len(whole) // 2, len(whole) - 1}):
        with subject.rule("resume"):
            source = subject.make()
            first = list(islice(opened(source), n))
            state = json.loads(json.dumps(source.state()))
            resumed = subject.make()
            resumed.restore(state)
            rest = list(opened(resumed))
        detail = f"stopped after batch {n}, it does not go on to the same bits"
        subject.require("resume", _joined([*first, *rest]) == _joined(whole), detail)
    silent = replace(corpus, keep_T=np.zeros_like(corpus.keep_T))
    with subject.rule("empty"):
        rows = sum(batch.rows_T.shape[0] for batch in opened(subject.make(), corpus=silent))
    subject.require("empty", rows == 0, f"{rows} tokens of a corpus that keeps none")
    subject.refuses(
        "sites",
        "an unknown site",
        lambda: list(opened(subject.make(), sites=("resid_post.987",))),
        named="987",
    )


def _check_batches(
    subject: Subject,
    batches: Sequence[ActivationBatch],
    models: SourceModels,
    corpus: TokenisedCorpus,
    sites: Sequence[str],
) -> None:
    wanted = [(model, site) for model in models.names for site in sites]
    for batch in batches:
        views = [(view.model, view.site) for view in batch.views]
        subject.require("batches", views == wanted, f"views are {views}, not {wanted}")
        n = batch.rows_T.shape[0]
        for view, acts_TD in zip(batch.views, batch.acts, strict=True):
            shaped = tuple(acts_TD.shape) == (n, view.width)
            subject.require("batches", shaped, f"{tuple(acts_TD.shape)}, not {(n, view.width)}")
            subject.require("batches", bool(torch.isfinite(acts_TD).all()), "not finite")
    subject.require("batches", batches, "no batch")
    rows_T = np.concatenate([batch.rows_T for batch in batches])
    kept = np.array_equal(rows_T, np.flatnonzero(corpus.keep_T))
    subject.require("batches", kept, "not every kept token once, in corpus order")
    document_T = np.searchsorted(corpus.offsets_N1, rows_T, side="right") - 1
    given_T = np.concatenate([batch.document_T for batch in batches])
    subject.require("batches", np.array_equal(given_T, document_T), "wrong document_T")


def _joined(batches: Sequence[ActivationBatch]) -> list[bytes]:
    """Return rows, documents and the activations of each view as bytes, however they are cut."""
    parts = [np.concatenate([b.rows_T for b in batches]),
             np.concatenate([b.document_T for b in batches])]  # fmt: skip
    views = zip(*(b.acts for b in batches), strict=True)
    return [part.tobytes() for part in parts] + [torch.cat(v).numpy().tobytes() for v in views]
