"""`SparseLearner`: the training loop around any `Architecture`.

Steps, events, checkpoints, guards against divergence and the inference threshold θ live here and in
`run.py`, once for all architectures.
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import asdict, replace

import torch

from modeldiff_harness.artifacts import TrainedDictionary
from modeldiff_harness.contracts import (
    ActivationStream,
    DictionaryLearner,
    Runtime,
    TrainStepEvent,
)
from modeldiff_harness.latents.dictionaries.encode import InferenceWeights
from modeldiff_harness.latents.dictionaries.threshold import calibrate_threshold, mean_active
from modeldiff_harness.latents.kernels.choose import backend_for
from modeldiff_harness.latents.train.architecture import Architecture
from modeldiff_harness.latents.train.checkpoint import Checkpoints
from modeldiff_harness.latents.train.run import TrainingRun, stopped

__all__ = ["SparseLearner"]


class SparseLearner(DictionaryLearner):
    """A `DictionaryLearner` that trains an `Architecture` with hand-written sparse gradients."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture

    def fit(
        self,
        stream: ActivationStream,
        *,
        dictionary_id: str,
        design: str,
        replicate: int,
        runtime: Runtime,
    ) -> TrainedDictionary:
        """Train on split "train", set θ on split "calibrate", return the inference form.

        The same stream, settings and replicate give the same weights on one machine, whether or
        not the run was cut in between.  Raises RunError on a loss or gradient that is not finite,
        on a loss that spikes, and when other kernels began the training; the last good checkpoint
        stays in `runtime.workdir`.
        """
        settings = self.architecture.settings
        recipe = {
            "learner": settings.learner,
            "config": settings.recipe(),
            "dictionary_id": dictionary_id,
            "replicate": replicate,
            "views": [asdict(view) for view in stream.views],
            "n_rows": stream.n_rows("train"),
        }
        runtime.workdir.mkdir(parents=True, exist_ok=True)
        kernels = backend_for(settings.kernels, runtime.device)
        checkpoints = Checkpoints(runtime.workdir, recipe, backend=kernels.NAME)
        run = TrainingRun(self.architecture, stream, replicate, kernels, runtime.device)
        found = checkpoints.latest()
        if found is not None:
            run.restore(found)
        _take_steps(run, dictionary_id, checkpoints, runtime)
        dictionary = _with_threshold(
            run.dictionary(dictionary_id=dictionary_id, design=design, replicate=replicate),
            stream,
            self.architecture.k,
            settings.batch_tokens,
        )
        checkpoints.clear()
        return replace(dictionary, seconds=run.seconds)


def _take_steps(
    run: TrainingRun, dictionary_id: str, checkpoints: Checkpoints, runtime: Runtime
) -> None:
    """Take the steps that are left, logging and checkpointing on the way."""
    settings = run.settings
    batches = run.stream.shuffled(
        "train", settings.batch_tokens, seed=run.shuffle_seed, start_step=run.step
    )
    saved = time.monotonic()
    clock, clock_step = time.monotonic(), run.step
    title = f"train {dictionary_id}"
    with runtime.progress.task(title, settings.steps, unit="step", done=run.step) as task:
        for batch in itertools.islice(batches, settings.steps - run.step):
            acts_TC = torch.cat([a.to(runtime.device) for a in batch.acts], dim=1)
            terms = run.advance(acts_TC)
            if not math.isfinite(terms["gradient_norm"]):  # before a checkpoint could keep it
                raise stopped("the gradient is not finite", run.step - 1, settings)
            task.advance(1)
            if run.step % settings.log_every == 0 or run.step == settings.steps:
                run.record(terms, acts_TC)
                now = time.monotonic()
                speed = (run.step - clock_step) * settings.batch_tokens / max(now - clock, 1e-9)
                clock, clock_step = now, run.step
                runtime.on_train_step(
                    TrainStepEvent(dictionary_id, run.step, settings.steps, speed, terms)
                )
            if time.monotonic() - saved >= settings.checkpoint_every_seconds:
                checkpoints.save(run.checkpoint())
                saved = time.monotonic()


def _with_threshold(
    dictionary: TrainedDictionary, stream: ActivationStream, k: int | None, batch_tokens: int
) -> TrainedDictionary:
    """Set θ for `k` latents a token on split "calibrate"; None: θ stays 0, k is measured."""
    weights = InferenceWeights.of(dictionary, dtype=torch.float64)
    batches = (
        tuple(a.to(torch.float64) for a in batch.acts)
        for batch in stream.ordered(("calibrate",), batch_tokens)
    )
    if k is None:
        return replace(dictionary, k=max(1, round(mean_active(weights, batches))))
    threshold = calibrate_threshold(weights, batches, k=k, n_tokens=stream.n_rows("calibrate"))
    return replace(dictionary, k=k, threshold=threshold)
