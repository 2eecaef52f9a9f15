"""The labeler `enrichment`: offline and deterministic, from how strongly prompts activate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from modeldiff_harness.artifacts import LatentEvidence, LatentLabel
from modeldiff_harness.ranges import check_fields, within
from modeldiff_harness.stats.multiplicity import benjamini_hochberg
from modeldiff_harness.stats.ranks import rank_enrichment
from modeldiff_harness.taxonomy import load_taxonomy

__all__ = ["EnrichmentLabeler", "create"]

Share = Annotated[float, within(0, 1)]


@dataclass(frozen=True)
class EnrichmentLabeler:
    """Labels a latent with the capability whose prompts activate it most.

    A capability qualifies when its prompts rank above the others by mean activation (one-sided
    Mann–Whitney, Benjamini–Hochberg over capabilities) with an AUROC of at least `min_auroc`, and
    when its texts hold at least `min_mass_share` of the activation mass and `min_mass_lift` times
    their share of the tokens.  p alone is not enough: a third of all latents is "enriched" for
    something, in null runs too.  Of several the one with the largest AUROC is taken.  Template
    latents and latents without a qualifying capability are uninterpretable, with the reason.
    """

    max_q: Share = 0.05
    min_auroc: Share = 0.7
    min_mass_lift: Annotated[float, within(0, 1e6)] = 2.0
    min_mass_share: Share = 0.15
    max_template_share: Share = 0.5
    n_tokens: Annotated[int, within(0, 1000)] = 4
    name: str = "enrichment"

    def __post_init__(self) -> None:
        check_fields(self, f"labeler {self.name}")

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
        active = sum(evidence.active_prompts_C)
        mass_C, tokens_C = np.asarray(evidence.mass_C), np.asarray(evidence.n_tokens_C)
        if active == 0 or mass_C.sum() <= 0:
            return None, "not active on any prompt with a capability"
        auroc_C, p_C = rank_enrichment(evidence.level_prompts_CH)
        q_C = benjamini_hochberg(p_C)
        significant_C = q_C <= self.max_q
        if not significant_C.any():
            return None, (
                f"no capability activates it more than the others ({active} active prompts, "
                f"smallest q {q_C.min():.2g})"
            )
        mass_share_C = mass_C / mass_C.sum()
        token_share_C = np.maximum(tokens_C / tokens_C.sum(), 1.0 / tokens_C.sum())
        strong_C = (
            significant_C
            & (auroc_C >= self.min_auroc)
            & (mass_share_C >= self.min_mass_share)
            & (mass_share_C / token_share_C >= self.min_mass_lift)
        )
        order = np.lexsort((-mass_share_C, -auroc_C))
        if not strong_C.any():
            best = order[0]
            return None, (
                f"only weakly enriched: {evidence.capabilities[best]} holds "
                f"{100 * mass_share_C[best]:.0f} % of its activation and "
                f"AUROC {auroc_C[best]:.2f}"
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
    min_auroc: float = 0.7,
    min_mass_lift: float = 2.0,
    min_mass_share: float = 0.15,
    max_template_share: float = 0.5,
    n_tokens: int = 4,
) -> EnrichmentLabeler:
    """Return the labeler `enrichment`; see `EnrichmentLabeler` for the thresholds."""
    return EnrichmentLabeler(
        max_q=max_q,
        min_auroc=min_auroc,
        min_mass_lift=min_mass_lift,
        min_mass_share=min_mass_share,
        max_template_share=max_template_share,
        n_tokens=n_tokens,
    )


def _title(capability: str) -> str:
    taxonomy = load_taxonomy()
    return taxonomy.capability(capability).title if capability in taxonomy else capability
