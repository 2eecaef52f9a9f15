"""The moving state of one training: its optimiser, its dead latents, its guards, its history."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from modeldiff_harness.artifacts import TrainedDictionary
from modeldiff_harness.contracts import ActivationStream
from modeldiff_harness.errors import RunError
from modeldiff_harness.latents.kernels import StepKernels
from modeldiff_harness.latents.kernels.choose import low_precision_pays
from modeldiff_harness.latents.train.architecture import Architecture
from modeldiff_harness.latents.train.checkpoint import Checkpoint
from modeldiff_harness.latents.train.loss import (
    Auxiliary,
    LossTerms,
    inverse_widths,
    with_auxiliary,
)
from modeldiff_harness.latents.train.optimiser import Optimiser
from modeldiff_harness.latents.train.settings import TrainSettings

__all__ = ["TrainingRun", "stopped"]

_LOSS_MEMORY = 0.95
"""Weight of the past in the running mean that spikes are measured against."""


class TrainingRun:
    """One training from its first weights to the arrays of its dictionary."""

    def __init__(
        self,
        architecture: Architecture,
        stream: ActivationStream,
        replicate: int,
        kernels: StepKernels,
        device: str,
    ) -> None:
        settings = architecture.settings
        self.architecture, self.settings = architecture, settings
        self.stream, self.kernels = stream, kernels
        self.shuffle_seed = settings.seed * 1_000_003 + replicate
        first = next(stream.shuffled("train", settings.batch_tokens, seed=self.shuffle_seed))
        parameters = architecture.initial(
            stream.views, [a.to(device) for a in first.acts], seed=(settings.seed, replicate)
        )
        self.optimiser = Optimiser(
            stream.views,
            parameters,
            kernels,
            betas=(settings.adam_beta1, settings.adam_beta2),
            low_precision=low_precision_pays(settings.scoring, str(parameters.encoder_LC.device)),
        )
        widths = [view.width for view in stream.views]
        self.aux_k = settings.aux_k or max(1, sum(widths) // len(widths) // 2)
        self.dead_after = settings.dead_after_tokens or max(
            settings.batch_tokens, settings.steps * settings.batch_tokens // 20
        )
        self.idle_tokens_L = torch.zeros(settings.n_latents, dtype=torch.int64)
        """Training tokens since each latent was last selected."""
        self.step = 0
        self.history: dict[str, list[float]] = {}
        self._inverse_width_C = inverse_widths(widths, parameters.decoder_bias_C)
        self._loss_mean: float | None = None
        self._seconds_before = 0.0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall time of all sittings together."""
        return self._seconds_before + time.monotonic() - self._started

    def advance(self, acts_TC: Tensor) -> dict[str, float]:
        """Take one optimiser step; return its terms and counters.

        Raises RunError, before anything moves, when the loss is not finite or spikes.
        """
        settings, architecture = self.settings, self.architecture
        dead = (self.idle_tokens_L >= self.dead_after).nonzero().squeeze(1)
        batch = self.optimiser.batch(acts_TC)
        found = architecture.loss(batch, architecture.select(batch, self.step), self.step)
        if settings.aux_weight:
            auxiliary = Auxiliary(settings.aux_weight, self.aux_k, dead.to(acts_TC.device))
            found = with_auxiliary(batch, found, auxiliary)
        self._refuse_spike(found.terms)
        counters = {
            "l0": found.support.latent_N.shape[0] / settings.batch_tokens,
            "n_dead": float(dead.shape[0]),
            **architecture.schedule(self.step),
            "lr": settings.learning_rate_at(self.step),
        }
        counters["gradient_norm"] = self.optimiser.apply(
            found, acts_TC, learning_rate=counters["lr"], clip_norm=settings.clip_norm
        )
        self.idle_tokens_L += settings.batch_tokens
        self.idle_tokens_L[found.support.latent_N.to("cpu")] = 0
        self.step += 1
        return found.terms.logged() | counters

    def record(self, terms: dict[str, float], acts_TC: Tensor) -> None:
        """Keep the terms of the step just taken; adds "fve" to them."""
        # what `recon` would be if every view were predicted by the batch's mean
        spread = float((acts_TC.var(dim=0, correction=0) * self._inverse_width_C).sum())
        terms["fve"] = 1.0 - terms["recon"] / spread
        for name, value in ({"step": float(self.step)} | terms).items():
            self.history.setdefault(name, []).append(value)

    def checkpoint(self) -> Checkpoint:
        """Return everything that `restore` needs; the tensors are live, not copies."""
        tensors = self.optimiser.state()
        tensors["idle_tokens_L"] = self.idle_tokens_L
        state = {
            "loss_mean": self._loss_mean,
            "guess": self.optimiser.guess,
            "history": self.history,
            "seconds": self.seconds,
        }
        return Checkpoint(self.step, tensors, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from `checkpoint`, bit by bit."""
        self.optimiser.restore(
            checkpoint.tensors, n_updates=checkpoint.step, guess=checkpoint.state["guess"]
        )
        self.idle_tokens_L.copy_(checkpoint.tensors["idle_tokens_L"])
        self.step = checkpoint.step
        self._loss_mean = checkpoint.state["loss_mean"]
        self.history = checkpoint.state["history"]
        self._seconds_before = checkpoint.state["seconds"]

    def dictionary(self, **names: Any) -> TrainedDictionary:
        """Return the trained arrays as a dictionary whose θ and k are still to be set."""
        settings, parameters, views = self.settings, self.optimiser.parameters, self.stream.views
        widths = [view.width for view in views]
        encoders, decoders, biases = (
            [part.contiguous() for part in torch.split(tensor.detach().cpu(), widths, dim=-1)]
            for tensor in (
                parameters.encoder_LC,
                parameters.decoder_LC,
                parameters.decoder_bias_C,
            )
        )
        return TrainedDictionary(
            **names,
            learner=settings.learner,
            views=views,
            encoders=tuple(e.t().contiguous().numpy() for e in encoders),
            encoder_bias_L=parameters.encoder_bias_L.detach().cpu().numpy(),
            decoders=tuple(d.numpy() for d in decoders),
            decoder_biases=tuple(b.numpy() for b in biases),
            normalisers=self.stream.normalisers,
            threshold=0.0,
            k=0,
            n_train_tokens=settings.steps * settings.batch_tokens,
            n_steps=settings.steps,
            loss_history=self.history,
            learner_config=asdict(settings) | {"kernels": self.kernels.NAME},
            seconds=self.seconds,
        )

    def _refuse_spike(self, terms: LossTerms) -> None:
        total = terms.total
        mean = self._loss_mean
        if total != total or total == float("inf"):
            problem = "is not finite"
        elif mean is not None and total > self.settings.spike_factor * mean:
            problem = f"jumped to {total:.3g} from about {mean:.3g}"
        else:
            self._loss_mean = (
                total if mean is None else _LOSS_MEMORY * mean + (1 - _LOSS_MEMORY) * total
            )
            return
        raise stopped(f"the loss {problem}", self.step, self.settings)


def stopped(problem: str, step: int, settings: TrainSettings) -> RunError:
    """Return the error of a training that ends at `step` (0-based) with its last checkpoint."""
    return RunError(
        f"{settings.learner}: {problem} at step {step}; the last good checkpoint is kept.",
        hint=f"Lower its `lr` (now {settings.lr:g}).",
    )
