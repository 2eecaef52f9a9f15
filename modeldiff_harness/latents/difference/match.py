"""Matching the null twin: as far from the reference as the model it stands in for.

A null run says what a difference of this size looks like when nothing meaningful changed; a twin
that moved less would let everything pass, one that moved more would hide everything.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import SPLITS, NullMatch, TokenisedCorpus
from modeldiff_harness.contracts import ActivationSource, Runtime, SourceModels
from modeldiff_harness.latents.activations.sample import take_documents
from modeldiff_harness.latents.difference.energy import match_scale

__all__ = ["match_null", "subset"]

N_TOKENS = 4096
"""Tokens each measurement runs over, spread over the train split."""


def match_null(
    source: Callable[[], ActivationSource],
    models: Callable[[str, float], SourceModels],
    corpus: TokenisedCorpus,
    site: str,
    *,
    reference: str,
    model: str,
    twin: str,
    runtime: Runtime,
) -> NullMatch:
    """Find the adapter scale at which `twin` is as far from `reference` as `model` is.

    `source()` makes a fresh activation source and `models(name, adapter_scale)` what it runs.  Far
    means Σ‖x − x^reference‖² / Σ‖x^reference‖² over about 4,096 tokens of train-split documents,
    raw activations, float64 sums, tokens of outlying norm left out.
    """
    sample = subset(corpus, N_TOKENS)

    def run(name: str, scale: float) -> NDArray[np.float64]:
        batches = source().open(models(name, scale), sample, (site,), runtime)
        parts = [batch.acts[0].double().cpu().numpy() for batch in batches]
        return np.concatenate(parts)

    with runtime.progress.task(f"match {twin} to {model}", None, unit="run") as task:
        x_reference_TD = run(reference, 1.0)
        norm_T = np.linalg.norm(x_reference_TD, axis=1)
        kept_T = norm_T <= 4.0 * np.median(norm_T)
        total = float((norm_T[kept_T] ** 2).sum())

        def energy(name: str, scale: float) -> float:
            task.advance()
            moved_TD = (run(name, scale) - x_reference_TD)[kept_T]
            return float((moved_TD**2).sum()) / total

        target = energy(model, 1.0)
        found = match_scale(lambda scale: energy(twin, scale), target)
    return NullMatch(
        reference=reference,
        model=model,
        twin=twin,
        adapter_scale=found.scale,
        target_energy=target,
        matched_energy=found.relative_energy,
        n_tokens=int(kept_T.sum()),
    )


def subset(corpus: TokenisedCorpus, n_tokens: int) -> TokenisedCorpus:
    """Return about `n_tokens` tokens of train-split documents, evenly spaced over the corpus."""
    train = np.flatnonzero(corpus.splits_N == SPLITS.index("train"))
    lengths = np.diff(corpus.offsets_N1)[train]
    step = max(1, int(lengths.sum() // n_tokens))
    return take_documents(corpus, train[::step])
