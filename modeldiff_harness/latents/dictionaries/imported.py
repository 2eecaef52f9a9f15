"""An imported crosscoder as a dictionary in a folder, and what it still needs from activations."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from modeldiff_harness.artifacts import (
    Normaliser,
    TrainedDictionary,
    View,
    load_artifact,
    save_artifact,
)
from modeldiff_harness.contracts import ActivationStream
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.latents.dictionaries.encode import InferenceWeights
from modeldiff_harness.latents.dictionaries.interchange import PublicCrosscoder, raw_space
from modeldiff_harness.latents.dictionaries.threshold import calibrate_threshold, mean_active
from modeldiff_harness.latents.harvest.renormalise import RenormalisedStream

__all__ = ["adopt", "fit_to_stream", "load_imported", "save_imported"]

_ARTIFACT = "artifact.json"


def adopt(
    public: PublicCrosscoder,
    models: Sequence[str],
    *,
    site: str | None,
    dictionary_id: str,
    threshold: str = "file",
) -> TrainedDictionary:
    """Return `public` as a dictionary whose views are `models`, in the file's row order.

    `threshold` is "file" (θ as published) or "calibrate" (so that L0 = k on the run's own
    calibrate split).  What only activations can tell is left open and named in
    `learner_config`: `scale` "measure", `threshold` "calibrate", k = 0 for the L0 of a ReLU
    crosscoder.  Raises UsageError when the number of models or the site does not fit.
    """
    where = _checked_site(public, models, site)
    if threshold == "calibrate" and public.k is None:
        raise UsageError(
            "a ReLU crosscoder has no k to calibrate a threshold to.", hint="Use --threshold file."
        )
    open_threshold = threshold == "calibrate" or public.threshold is None
    dictionary = TrainedDictionary(
        dictionary_id=dictionary_id,
        design="imported",
        learner="imported",
        replicate=0,
        views=tuple(View(model, where, public.width) for model in models),
        encoders=public.encoders,
        encoder_bias_L=public.encoder_bias_L,
        decoders=public.decoders,
        decoder_biases=public.decoder_biases,
        normalisers=public.normalisers or tuple(raw_space(public.width) for _ in models),
        threshold=0.0 if public.threshold is None else public.threshold,
        k=public.k or 0,
        n_train_tokens=0,
        n_steps=0,
        loss_history={},
        learner_config={
            "layout": public.layout,
            "source": public.source.name,
            "source_sha256": public.sha256,
            "scale": "measure" if public.normalisers is None else "file",
            "threshold": "calibrate" if open_threshold else "file",
        },
        seconds=0.0,
    )
    config = dictionary.learner_config | {"arrays_sha256": _digest(dictionary)}
    return replace(dictionary, learner_config=config)


def _checked_site(public: PublicCrosscoder, models: Sequence[str], site: str | None) -> str:
    """Return the site to use; UsageError when it or the number of models does not fit."""
    n_rows = len(public.decoders)
    if len(models) != n_rows or len(set(models)) != len(models):
        raise UsageError(
            f"{public.source.name} is over {n_rows} models, got {', '.join(models)}.",
            hint="Name each model once, in the order of the file's rows.",
        )
    named = public.site
    if site is not None and named is not None and site != named:
        raise UsageError(
            f"{public.source.name} was made at {named}, not {site}.", hint=f"Give --site {named}."
        )
    where = site or named
    if where is None:
        raise UsageError(
            f"{public.source.name} does not say at which site it was made.",
            hint="Give --site resid_post.i, counted from 0.",
        )
    return where


def save_imported(dictionary: TrainedDictionary, folder: Path) -> None:
    """Write the dictionary into the new folder `folder`, whole or not at all."""
    if folder.exists():
        raise UsageError(f"{folder} exists already.", hint="Name another --output, or delete it.")
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    beside.mkdir(parents=True)
    try:
        save_artifact(dictionary, beside)
        os.replace(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def load_imported(path: Path) -> list[tuple[Path, TrainedDictionary]]:
    """Return the imported dictionaries in `path`: its own, or those of the folders in it.

    Raises UsageError when there is none, and RunError when one was damaged.
    """
    folders = [path] if (path / _ARTIFACT).is_file() else sorted(path.glob(f"*/{_ARTIFACT}"))
    folders = [f.parent if f.name == _ARTIFACT else f for f in folders]
    if not folders:
        raise UsageError(
            f"{path} holds no imported dictionary.",
            hint="Make one with `mdh dictionaries import`.",
        )
    found = []
    for folder in folders:
        dictionary = load_artifact(TrainedDictionary, folder)
        if dictionary.learner_config.get("arrays_sha256") != _digest(dictionary):
            raise RunError(f"{folder} was changed after it was imported.", hint="Import it again.")
        found.append((folder, dictionary))
    return found


def fit_to_stream(dictionary: TrainedDictionary, stream: ActivationStream) -> TrainedDictionary:
    """Return `dictionary` over the stream's views, with everything that was left open measured.

    Views are put into the stream's order; `scale` comes from the train split, θ and a missing k
    from the calibrate split.  Raises UsageError when models, sites or widths differ.
    """
    ordered = _in_order(dictionary, stream.views)
    config = dict(ordered.learner_config)
    if config.get("scale") == "measure":
        normalisers = _mean_norm_scales(stream)
        ordered = replace(ordered, normalisers=normalisers)
        config["scaling_factors"] = [1.0 / n.scale for n in normalisers]
    own = RenormalisedStream(stream, ordered.normalisers)
    if config.get("threshold") == "calibrate":
        threshold = calibrate_threshold(
            InferenceWeights.of(ordered, dtype=torch.float64),
            (tuple(a.double() for a in b.acts) for b in own.ordered(("calibrate",), 1024)),
            k=ordered.k,
            n_tokens=own.n_rows("calibrate"),
        )
        ordered = replace(ordered, threshold=threshold)
    if not ordered.k:
        batches = ([a.float() for a in b.acts] for b in own.ordered(("calibrate",), 1024))
        l0 = mean_active(InferenceWeights.of(ordered), batches)
        ordered = replace(ordered, k=max(1, round(l0)))
    return replace(ordered, learner_config=config)


def _in_order(dictionary: TrainedDictionary, views: Sequence[View]) -> TrainedDictionary:
    if sorted(map(_key, dictionary.views)) != sorted(map(_key, views)):
        raise UsageError(
            f"the imported dictionary {dictionary.dictionary_id!r} reads "
            f"{_listed(dictionary.views)}; this run has {_listed(views)}.",
            hint="Import it under the names and at the site of the run.",
        )
    at = [dictionary.views.index(view) for view in views]

    def moved(parts: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(parts[i] for i in at)

    return replace(
        dictionary,
        views=tuple(views),
        encoders=moved(dictionary.encoders),
        decoders=moved(dictionary.decoders),
        decoder_biases=moved(dictionary.decoder_biases),
        normalisers=moved(dictionary.normalisers),
    )


def _key(view: View) -> tuple[str, str, int]:
    return view.model, view.site, view.width


def _listed(views: Sequence[View]) -> str:
    return " and ".join(f"{v.model} at {v.site} (width {v.width})" for v in views)


def _mean_norm_scales(stream: ActivationStream) -> tuple[Normaliser, ...]:
    """Return (0, mean ‖x‖/√D) a view: the space of x·√D / mean ‖x‖, over the train split."""
    total, n_tokens = [0.0] * len(stream.views), 0
    raw = RenormalisedStream(stream, [raw_space(view.width) for view in stream.views])
    for batch in raw.ordered(("train",), 4096):
        n_tokens += int(batch.acts[0].shape[0])
        for v, acts_TD in enumerate(batch.acts):
            total[v] += float(torch.linalg.vector_norm(acts_TD.double(), dim=1).sum())
    return tuple(
        Normaliser(np.zeros(view.width), norm / n_tokens / view.width**0.5)
        for view, norm in zip(stream.views, total, strict=True)
    )


def _digest(dictionary: TrainedDictionary) -> str:
    digest = hashlib.sha256()
    arrays: tuple[NDArray[Any], ...] = (
        *dictionary.encoders,
        dictionary.encoder_bias_L,
        *dictionary.decoders,
        *dictionary.decoder_biases,
        *(n.mean_D for n in dictionary.normalisers),
    )
    for array in arrays:
        digest.update(str((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
