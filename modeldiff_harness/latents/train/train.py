"""Verb `train`: a stream of paired activations becomes a dictionary."""

from __future__ import annotations

import numpy as np

from modeldiff_harness.artifacts import TrainedDictionary
from modeldiff_harness.contracts import ActivationStream, DictionaryLearner, Runtime
from modeldiff_harness.errors import RunError, UsageError

__all__ = ["train"]


def train(
    learner: DictionaryLearner,
    stream: ActivationStream,
    *,
    dictionary_id: str,
    design: str,
    replicate: int,
    runtime: Runtime,
) -> TrainedDictionary:
    """Fit `learner` to `stream` and check that what it returns is a dictionary of these views.

    Views must be in canonical order already (the caller knows the models' digests).  Raises
    UsageError when a split is empty or a view comes twice, RunError when training fails or the
    learner returns something else than it was asked for.
    """
    if len(set(stream.views)) != len(stream.views):
        raise UsageError("a view comes twice in the stream: a dictionary needs distinct views.")
    for split in ("train", "calibrate"):
        if not stream.n_rows(split):
            raise UsageError(
                f"split {split!r} holds no token: nothing to {_PURPOSE[split]}.",
                hint="Give the corpus more prompts.",
            )
    dictionary = learner.fit(
        stream, dictionary_id=dictionary_id, design=design, replicate=replicate, runtime=runtime
    )
    _check(dictionary, stream, dictionary_id)
    return dictionary


_PURPOSE = {"train": "learn from", "calibrate": "set the threshold on"}


def _check(dictionary: TrainedDictionary, stream: ActivationStream, dictionary_id: str) -> None:
    who = f"learner {dictionary.learner!r}"
    if dictionary.dictionary_id != dictionary_id or dictionary.views != stream.views:
        raise RunError(f"{who} returned a dictionary of another name or other views.")
    n_latents = dictionary.n_latents
    for view, encoder_DL, decoder_LD in zip(
        dictionary.views, dictionary.encoders, dictionary.decoders, strict=True
    ):
        if encoder_DL.shape != (view.width, n_latents) or decoder_LD.shape != encoder_DL.T.shape:
            raise RunError(f"{who} returned weights of a wrong shape for {view.model}.")
    arrays = (*dictionary.encoders, *dictionary.decoders, *dictionary.decoder_biases)
    if not all(np.isfinite(a).all() for a in (*arrays, dictionary.encoder_bias_L)):
        raise RunError(f"{who} returned weights that are not finite.", hint="Lower its `lr`.")
