"""Settings and schedules of the `batchtopk` learner; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from modeldiff_harness.errors import UsageError

__all__ = ["BatchTopKConfig"]


@dataclass(frozen=True)
class BatchTopKConfig:
    """Settings of `batchtopk`; the defaults trained well at 50–70 k tokens."""

    n_latents: int = 2304
    k: int = 32
    """Active latents a token, on average over a batch."""
    k_anneal_factor: float = 4.0
    """k starts at this multiple (at most n_latents) …"""
    k_anneal_fraction: float = 0.3
    """… and falls linearly to k over this share of the steps."""
    steps: int = 600
    batch_tokens: int = 1024
    lr: float = 4e-3
    warmup_fraction: float = 0.05
    """Share of the steps over which the learning rate rises linearly."""
    decay_fraction: float = 0.2
    """Share of the steps over which it falls linearly to zero at the end."""
    aux_weight: float = 1 / 32
    aux_k: int | None = None
    """Most dead latents a token in the auxiliary term; None: half the mean width."""
    dead_after_tokens: int | None = None
    """Unselected for so many training tokens = dead; None: 5 % of the run (10 M of 200 M)."""
    delta_weight: float = 0.0
    """λ on the squared difference of two models' residuals; needs models of one width."""
    clip_norm: float = 1.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    spike_factor: float = 10.0
    """The run stops when a step's loss exceeds this multiple of its running mean."""
    kernels: str = "auto"
    """Backend of the step: auto, reference, numba or triton."""
    scoring: str = "auto"
    """Type of the product that looks for candidates: auto, float32 or bfloat16; never changes
    what is selected."""
    log_every: int = 10
    checkpoint_every_seconds: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_latents", "k", "steps", "batch_tokens", "log_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"batchtopk: {name} is {getattr(self, name)}; give 1 or more.")
        if self.k > self.n_latents:
            raise UsageError(f"batchtopk: k = {self.k} exceeds n_latents = {self.n_latents}.")
        if self.k_anneal_factor < 1:
            raise UsageError("batchtopk: k_anneal_factor is below 1; k falls, it does not rise.")
        for name in ("k_anneal_fraction", "warmup_fraction", "decay_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"batchtopk: {name} must lie between 0 and 1.")

    def k_at(self, step: int) -> float:
        """Return the annealed k of step `step` (0-based)."""
        highest = min(self.k * self.k_anneal_factor, self.n_latents)
        length = self.k_anneal_fraction * self.steps
        left = max(0.0, 1.0 - step / length) if length else 0.0
        return self.k + (highest - self.k) * left

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of step `step` (0-based)."""
        warmup, decay = self.warmup_fraction * self.steps, self.decay_fraction * self.steps
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        fall = min(1.0, (self.steps - step) / decay) if decay else 1.0
        return self.lr * min(rise, fall)
