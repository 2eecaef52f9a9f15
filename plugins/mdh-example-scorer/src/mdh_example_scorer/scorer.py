"""The accumulator: two running sums a latent, added up over the score pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from modeldiff_harness import (
    ROLES,
    ScoreColumn,
    ScoreContext,
    TokenisedCorpus,
    TrainedDictionary,
)


class AssistantShare:
    """`assistant_share`: Σ f·w over assistant tokens / Σ f·w over all tokens."""

    splits = ("score",)

    def start(self, dictionary: TrainedDictionary, corpus: TokenisedCorpus) -> None:
        """Allocate the sums, float64, one a latent."""
        self.is_assistant_T = torch.from_numpy(corpus.roles_T == ROLES.index("assistant"))
        self.assistant_L = torch.zeros(dictionary.n_latents, dtype=torch.float64)
        self.total_L = torch.zeros_like(self.assistant_L)

    def update(self, context: ScoreContext) -> None:
        """Add one batch of sparse codes."""
        codes = context.codes
        mass_N = codes.activation_N.double().cpu()
        latent_N = codes.latent_N.cpu()
        own_N = self.is_assistant_T[context.rows_T.cpu()][codes.token_N.cpu()]
        self.total_L.index_add_(0, latent_N, mass_N)
        self.assistant_L.index_add_(0, latent_N, mass_N * own_N)

    def merge(self, other: AssistantShare) -> None:
        """Add another worker's sums."""
        self.total_L += other.total_L
        self.assistant_L += other.assistant_L

    def finish(self) -> Sequence[ScoreColumn]:
        """Return the one column; latents that never fired are undefined."""
        share_L = self.assistant_L / self.total_L.clamp_min(torch.finfo(torch.float64).tiny)
        meaning = "share of activation mass on assistant tokens"
        defined_L = (self.total_L > 0).numpy()
        return [ScoreColumn("assistant_share", "fraction", meaning, share_L.numpy(), defined_L)]
