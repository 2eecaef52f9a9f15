"""Dictionary learner `batchtopk`: a BatchTopK crosscoder with sparse gradients.

Bussmann et al. 2024 (arXiv 2412.06410) for BatchTopK, Minder et al. 2025 (arXiv 2504.02922) for the
crosscoder.
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import asdict, fields, replace
from typing import Any

import torch
from torch import Tensor

from modeldiff_harness.artifacts import TrainedDictionary, View
from modeldiff_harness.builtin.batchtopk_config import BatchTopKConfig
from modeldiff_harness.contracts import ActivationStream, Runtime, TrainStepEvent
from modeldiff_harness.errors import RunError, UsageError, did_you_mean
from modeldiff_harness.latents.dictionaries.encode import InferenceWeights
from modeldiff_harness.latents.dictionaries.threshold import calibrate_threshold
from modeldiff_harness.latents.kernels import StepKernels
from modeldiff_harness.latents.kernels.choose import backend_for, low_precision_pays
from modeldiff_harness.latents.train.checkpoint import Checkpoint, Checkpoints
from modeldiff_harness.latents.train.crosscoder import (
    Auxiliary,
    LossTerms,
    Objective,
    Parameters,
    inverse_widths,
)
from modeldiff_harness.latents.train.initialise import initial_parameters
from modeldiff_harness.latents.train.step import CrosscoderStep

__all__ = ["BatchTopK", "BatchTopKConfig", "batchtopk"]


def batchtopk(**config: Any) -> BatchTopK:
    """Return the learner; unknown settings are refused with the nearest known name."""
    known = [f.name for f in fields(BatchTopKConfig)]
    for name in config:
        if name not in known:
            raise UsageError(f"batchtopk has no setting {name!r}.", hint=did_you_mean(name, known))
    return BatchTopK(BatchTopKConfig(**config))


class BatchTopK:
    """A `DictionaryLearner`; see `BatchTopKConfig`."""

    def __init__(self, config: BatchTopKConfig) -> None:
        self.config = config

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

        The same stream, configuration and replicate give the same weights on one machine, whether
        or not the run was cut in between.  Raises RunError on a loss or gradient that is not
        finite, on a loss that spikes, and when other kernels began the training; the last good
        checkpoint stays in `runtime.workdir`.
        """
        recipe = {
            "learner": "batchtopk",
            "config": {k: v for k, v in asdict(self.config).items() if k not in _RUNTIME_ONLY},
            "dictionary_id": dictionary_id,
            "replicate": replicate,
            "views": [asdict(view) for view in stream.views],
            "n_rows": stream.n_rows("train"),
        }
        runtime.workdir.mkdir(parents=True, exist_ok=True)
        kernels = backend_for(self.config.kernels, runtime.device)
        checkpoints = Checkpoints(runtime.workdir, recipe, backend=kernels.NAME)
        run = _Run.begin(self.config, stream, replicate, kernels, runtime.device)
        found = checkpoints.latest()
        if found is not None:
            run.restore(found)
        _train(run, stream, dictionary_id, checkpoints, runtime)
        dictionary = _inference_form(run, stream, dictionary_id, design, replicate)
        checkpoints.clear()
        return dictionary


_RUNTIME_ONLY = ("checkpoint_every_seconds", "kernels", "scoring")
_LOSS_MEMORY = 0.95
"""Weight of the past in the running mean that spikes are measured against."""


class _Run:
    """The moving state of one training."""

    def __init__(
        self,
        config: BatchTopKConfig,
        parameters: Parameters,
        views: tuple[View, ...],
        shuffle_seed: int,
        kernels: StepKernels,
    ) -> None:
        self.config = config
        self.views = views
        self.shuffle_seed = shuffle_seed
        self.kernels = kernels
        widths = tuple(view.width for view in views)
        self.aux_k = config.aux_k or max(1, sum(widths) // len(widths) // 2)
        self.dead_after = config.dead_after_tokens or max(
            config.batch_tokens, config.steps * config.batch_tokens // 20
        )
        pairs = _difference_pairs(views) if config.delta_weight else ()
        device = parameters.encoder_LC.device
        self.optimiser = CrosscoderStep(
            Objective(widths, pairs, config.delta_weight),
            parameters,
            kernels,
            betas=(config.adam_beta1, config.adam_beta2),
            low_precision=low_precision_pays(config.scoring, str(device)),
        )
        self.inverse_width_C = inverse_widths(widths, parameters.decoder_bias_C)
        self.idle_tokens_L = torch.zeros(config.n_latents, dtype=torch.int64)
        """Training tokens since each latent was last selected."""
        self.step = 0
        self.loss_mean: float | None = None
        self.history: dict[str, list[float]] = {}
        self.seconds_before = 0.0
        self.started = time.monotonic()

    @classmethod
    def begin(
        cls,
        config: BatchTopKConfig,
        stream: ActivationStream,
        replicate: int,
        kernels: StepKernels,
        device: str,
    ) -> _Run:
        shuffle_seed = config.seed * 1_000_003 + replicate
        first = next(stream.shuffled("train", config.batch_tokens, seed=shuffle_seed))
        parameters = initial_parameters(
            [view.width for view in stream.views],
            config.n_latents,
            first.acts,
            seed=(config.seed, replicate),
            device=device,
        )
        return cls(config, parameters, stream.views, shuffle_seed, kernels)

    @property
    def seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def dead(self) -> Tensor:
        return (self.idle_tokens_L >= self.dead_after).nonzero().squeeze(1)

    def advance(self, acts_TC: Tensor) -> dict[str, float]:
        """Take one optimiser step; return its terms and counters."""
        config = self.config
        k = config.k_at(self.step)
        dead = self.dead()
        auxiliary = None
        if config.aux_weight:
            auxiliary = Auxiliary(config.aux_weight, self.aux_k, dead.to(acts_TC.device))
        found = self.optimiser.evaluate(
            acts_TC, n_keep=round(k * config.batch_tokens), auxiliary=auxiliary
        )
        self._refuse_spike(found.terms)
        learning_rate = config.learning_rate_at(self.step)
        gradient_norm = self.optimiser.apply(
            found, acts_TC, learning_rate=learning_rate, clip_norm=config.clip_norm
        )
        self.idle_tokens_L += config.batch_tokens
        self.idle_tokens_L[found.support.latent_N.to("cpu")] = 0
        self.step += 1
        return _logged(found.terms) | {
            "l0": found.support.latent_N.shape[0] / config.batch_tokens,
            "n_dead": float(dead.shape[0]),
            "k": k,
            "lr": learning_rate,
            "gradient_norm": gradient_norm,
        }

    def _refuse_spike(self, terms: LossTerms) -> None:
        total = terms.total
        mean = self.loss_mean
        if total != total or total == float("inf"):
            problem = "is not finite"
        elif mean is not None and total > self.config.spike_factor * mean:
            problem = f"jumped to {total:.3g} from about {mean:.3g}"
        else:
            self.loss_mean = (
                total if mean is None else _LOSS_MEMORY * mean + (1 - _LOSS_MEMORY) * total
            )
            return
        raise _stopped(f"the loss {problem}", self.step, self.config)

    def checkpoint(self) -> Checkpoint:
        tensors = self.optimiser.state()
        tensors["idle_tokens_L"] = self.idle_tokens_L
        state = {
            "loss_mean": self.loss_mean,
            "guess": self.optimiser.guess,
            "history": self.history,
            "seconds": self.seconds,
        }
        return Checkpoint(self.step, tensors, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        self.optimiser.restore(
            checkpoint.tensors, n_updates=checkpoint.step, guess=checkpoint.state["guess"]
        )
        self.idle_tokens_L.copy_(checkpoint.tensors["idle_tokens_L"])
        self.step = checkpoint.step
        self.loss_mean = checkpoint.state["loss_mean"]
        self.history = checkpoint.state["history"]
        self.seconds_before = checkpoint.state["seconds"]


def _stopped(problem: str, step: int, config: BatchTopKConfig) -> RunError:
    return RunError(
        f"batchtopk: {problem} at step {step}; the last good checkpoint is kept.",
        hint=f"Lower its `lr` (now {config.lr:g}).",
    )


def _train(
    run: _Run,
    stream: ActivationStream,
    dictionary_id: str,
    checkpoints: Checkpoints,
    runtime: Runtime,
) -> None:
    """Take the steps that are left, logging and checkpointing on the way."""
    config = run.config
    batches = stream.shuffled(
        "train", config.batch_tokens, seed=run.shuffle_seed, start_step=run.step
    )
    saved = time.monotonic()
    clock, clock_step = time.monotonic(), run.step
    title = f"train {dictionary_id}"
    with runtime.progress.task(title, config.steps, unit="step", done=run.step) as task:
        for batch in itertools.islice(batches, config.steps - run.step):
            acts_TC = torch.cat([a.to(runtime.device) for a in batch.acts], dim=1)
            terms = run.advance(acts_TC)
            if not math.isfinite(terms["gradient_norm"]):  # before a checkpoint could keep it
                raise _stopped("the gradient is not finite", run.step - 1, config)
            task.advance(1)
            if run.step % config.log_every == 0 or run.step == config.steps:
                terms["fve"] = 1.0 - terms["recon"] / _spread(acts_TC, run.inverse_width_C)
                for name, value in ({"step": float(run.step)} | terms).items():
                    run.history.setdefault(name, []).append(value)
                now = time.monotonic()
                speed = (run.step - clock_step) * config.batch_tokens / max(now - clock, 1e-9)
                clock, clock_step = now, run.step
                runtime.on_train_step(
                    TrainStepEvent(dictionary_id, run.step, config.steps, speed, terms)
                )
            if time.monotonic() - saved >= config.checkpoint_every_seconds:
                checkpoints.save(run.checkpoint())
                saved = time.monotonic()


def _spread(acts_TC: Tensor, inverse_width_C: Tensor) -> float:
    """Return what `recon` would be if every view were predicted by the batch's mean."""
    return float((acts_TC.var(dim=0, correction=0) * inverse_width_C).sum())


def _logged(terms: LossTerms) -> dict[str, float]:
    logged = {"total": terms.total, "recon": terms.recon, "aux": terms.aux}
    if terms.delta_weight:
        logged["delta"] = terms.delta
    return logged


def _difference_pairs(views: tuple[View, ...]) -> tuple[tuple[int, int], ...]:
    """Return the pairs of views of two models at one site; UsageError when widths differ."""
    pairs = [
        (a, b)
        for a, b in itertools.combinations(range(len(views)), 2)
        if views[a].site == views[b].site and views[a].model != views[b].model
    ]
    for a, b in pairs:
        if views[a].width != views[b].width:
            raise UsageError(
                f"batchtopk: delta_weight needs models of one width; {views[a].model} has "
                f"{views[a].width}, {views[b].model} has {views[b].width}.",
                hint="Set delta_weight to 0.",
            )
    return tuple(pairs)


def _inference_form(
    run: _Run, stream: ActivationStream, dictionary_id: str, design: str, replicate: int
) -> TrainedDictionary:
    """Turn the trained parameters into the dictionary that every later stage reads."""
    config, widths = run.config, [view.width for view in run.views]

    def by_view(tensor: Tensor) -> list[Tensor]:
        return [part.contiguous() for part in torch.split(tensor.detach().cpu(), widths, dim=-1)]

    parameters = run.optimiser.parameters
    dictionary = TrainedDictionary(
        dictionary_id=dictionary_id,
        design=design,
        learner="batchtopk",
        replicate=replicate,
        views=run.views,
        encoders=tuple(e.t().contiguous().numpy() for e in by_view(parameters.encoder_LC)),
        encoder_bias_L=parameters.encoder_bias_L.detach().cpu().numpy(),
        decoders=tuple(d.numpy() for d in by_view(parameters.decoder_LC)),
        decoder_biases=tuple(b.numpy() for b in by_view(parameters.decoder_bias_C)),
        normalisers=stream.normalisers,
        threshold=0.0,
        k=config.k,
        n_train_tokens=config.steps * config.batch_tokens,
        n_steps=config.steps,
        loss_history=run.history,
        learner_config=asdict(config) | {"kernels": run.kernels.NAME},
        seconds=run.seconds,
    )
    weights = InferenceWeights.of(dictionary, dtype=torch.float64)
    batches = stream.ordered(("calibrate",), config.batch_tokens)
    threshold = calibrate_threshold(
        weights,
        (tuple(a.to(torch.float64) for a in batch.acts) for batch in batches),
        k=config.k,
        n_tokens=stream.n_rows("calibrate"),
    )
    return replace(dictionary, threshold=threshold, seconds=run.seconds)
