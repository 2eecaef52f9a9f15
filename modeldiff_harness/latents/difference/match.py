"""Matching the null twin: as far from the reference as the model it stands in for.

A null run says what a difference of this size looks like when nothing meaningful changed; a twin
that moved less would let everything pass, one that moved more would hide everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from modeldiff_harness.artifacts import SPLITS, HarvestedActivations, NullMatch, TokenisedCorpus
from modeldiff_harness.contracts import ActivationSource, Runtime, SourceModels
from modeldiff_harness.latents.difference.energy import match_scale
from modeldiff_harness.latents.harvest.sample import kept_rows, take_documents

__all__ = ["match_null"]

Doubles = NDArray[np.float64]

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
    harvested: Sequence[HarvestedActivations] = (),
    runtime: Runtime,
) -> NullMatch:
    """Find the factor of its adapter at which `twin` is as far from `reference` as `model` is.

    `source()` makes a fresh activation source and `models(name, factor)` what it runs.  Far
    means Σ‖x − x^reference‖² / Σ‖x^reference‖² over about 4,096 tokens of train-split documents,
    raw activations, float64 sums, tokens of outlying norm left out.  `harvested` holds what need
    not be run again: activations of `reference` and `model` over the whole corpus.
    """
    documents = _spread_documents(corpus, N_TOKENS)
    sample, rows_T = take_documents(corpus, documents), kept_rows(corpus, documents)
    at_hand = {one.views[0].model: one for one in harvested}

    def run(name: str, factor: float) -> Doubles:
        batches = source().open(models(name, factor), sample, (site,), runtime)
        parts = [batch.acts[0].double().cpu().numpy() for batch in batches]
        return np.concatenate(parts)

    def unscaled(name: str) -> Doubles:
        if name in at_hand:
            return _rows_of(at_hand[name], site, rows_T)
        return run(name, 1.0)

    with runtime.progress.task(f"match {twin} to {model}", None, unit="run") as task:
        x_reference_TD = unscaled(reference)
        norm_T = np.linalg.norm(x_reference_TD, axis=1)
        kept_T = norm_T <= 4.0 * np.median(norm_T)
        total = float((norm_T[kept_T] ** 2).sum())

        def energy(x_TD: Doubles) -> float:
            task.advance()
            return float(((x_TD - x_reference_TD)[kept_T] ** 2).sum()) / total

        target = energy(unscaled(model))
        found = match_scale(lambda scale: energy(run(twin, scale)), target)
    return NullMatch(
        reference=reference,
        model=model,
        twin=twin,
        adapter_scale=found.scale,
        target_energy=target,
        matched_energy=found.relative_energy,
        n_tokens=int(kept_T.sum()),
    )


def _spread_documents(corpus: TokenisedCorpus, n_tokens: int) -> NDArray[np.int64]:
    """Return train-split documents of about `n_tokens` tokens, evenly spaced over the corpus."""
    train = np.flatnonzero(corpus.splits_N == SPLITS.index("train"))
    lengths = np.diff(corpus.offsets_N1)[train]
    return train[:: max(1, int(lengths.sum() // n_tokens))]


def _rows_of(harvest: HarvestedActivations, site: str, rows_T: NDArray[np.int64]) -> Doubles:
    """Return the activations (T, D) at these tokens of the corpus."""
    import torch

    places = torch.from_numpy(np.searchsorted(harvest.rows_T, rows_T))
    with safe_open(str(harvest.folder / "activations.safetensors"), "pt") as file:
        x_TD: Doubles = file.get_tensor(site)[places].double().numpy()
    return x_TD
