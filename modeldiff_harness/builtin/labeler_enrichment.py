"""The labeler `enrichment`: offline and deterministic, from counts of prompts alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from modeldiff_harness.artifacts import LatentEvidence, LatentLabel
from modeldiff_harness.stats.counts import enrichment_p
from modeldiff_harness.stats.multiplicity import benjamini_hochberg
from modeldiff_harness.taxonomy import load_taxonomy

__all__ = ["EnrichmentLabeler", "create"]


@dataclass(frozen=True)
class EnrichmentLabeler:
    """Labels a latent with the capability whose prompts are enriched where it is active.

    A capability qualifies when its prompts are over-represented among the active ones
    (hypergeometric p, Benjamini–Hochberg over capabilities), `min_prompt_lift` times the overall
    rate of activity or more, and when its texts hold at least `min_mass_share` of the activation
    mass and `min_mass_lift` times their share of the tokens.  p alone is not enough: a third of
    all latents is "enriched" for something, in null runs too (method §10).  Of several the one
    with the smallest p is taken, then the largest share of mass.  Template latents and latents
    without a qualifying capability are uninterpretable, with the reason.
    """

    max_q: float = 0.05
    min_prompt_lift: float = 1.5
    min_mass_lift: float = 2.0
    min_mass_share: float = 0.25
    max_template_share: float = 0.5
    n_tokens: int = 4
    name: str = "enrichment"

    def label(self, evidences: Iterable[LatentEvidence]) -> Iterator[LatentLabel]:
        """Yield one label an evidence, in order; the harness tests it."""
        for evidence in evidences:
            capability, reason = self._choose(evidence)
            yield LatentLabel(
                dictionary_id=evidence.dictionary_id,
                latent=evidence.latent,
                capability=capability,
                text=self._text(evidence, capability),
                labeler=self.name,
                reason=reason,
            )

    def _choose(self, evidence: LatentEvidence) -> tuple[str | None, str]:
        if evidence.template_share > self.max_template_share:
            share = 100 * evidence.template_share
            return None, f"template latent: {share:.0f} % of its activation is on control tokens"
        active_C = np.asarray(evidence.active_prompts_C, dtype=np.int64)
        n_C = np.asarray(evidence.n_prompts_C, dtype=np.int64)
        mass_C, tokens_C = np.asarray(evidence.mass_C), np.asarray(evidence.n_tokens_C)
        active, population = int(active_C.sum()), int(n_C.sum())
        if active == 0 or mass_C.sum() <= 0:
            return None, "not active on any prompt with a capability"
        p_C = enrichment_p(active_C, active, n_C, population)
        q_C = benjamini_hochberg(p_C)
        significant_C = q_C <= self.max_q
        if not significant_C.any():
            return None, (
                f"no capability is enriched among its {active} active prompts "
                f"(smallest q {q_C.min():.2g})"
            )
        mass_share_C = mass_C / mass_C.sum()
        token_share_C = np.maximum(tokens_C / tokens_C.sum(), 1.0 / tokens_C.sum())
        prompt_lift_C = (active_C / np.maximum(n_C, 1)) / (active / population)
        strong_C = (
            significant_C
            & (prompt_lift_C >= self.min_prompt_lift)
            & (mass_share_C >= self.min_mass_share)
            & (mass_share_C / token_share_C >= self.min_mass_lift)
        )
        order = np.lexsort((-mass_share_C, p_C))
        if not strong_C.any():
            best = order[0]
            return None, (
                f"only weakly enriched: {evidence.capabilities[best]} holds "
                f"{100 * mass_share_C[best]:.0f} % of its activation and "
                f"{prompt_lift_C[best]:.1f} times the overall rate of active prompts"
            )
        return evidence.capabilities[next(c for c in order if strong_C[c])], ""

    def _text(self, evidence: LatentEvidence, capability: str | None) -> str:
        tokens = [t for t, lift in evidence.token_lift.items() if lift > 0][: self.n_tokens]
        shown = ", ".join(repr(token) for token in tokens)
        activates = f"activates on {shown}" if tokens else "activates on no particular token"
        return activates if capability is None else f"{activates}; {_title(capability)}"


def create(
    *,
    max_q: float = 0.05,
    min_prompt_lift: float = 1.5,
    min_mass_lift: float = 2.0,
    min_mass_share: float = 0.25,
    max_template_share: float = 0.5,
    n_tokens: int = 4,
) -> EnrichmentLabeler:
    """Return the labeler `enrichment`; see `EnrichmentLabeler` for the thresholds."""
    return EnrichmentLabeler(
        max_q=max_q,
        min_prompt_lift=min_prompt_lift,
        min_mass_lift=min_mass_lift,
        min_mass_share=min_mass_share,
        max_template_share=max_template_share,
        n_tokens=n_tokens,
    )


def _title(capability: str) -> str:
    taxonomy = load_taxonomy()
    return taxonomy.capability(capability).title if capability in taxonomy else capability
