"""The token windows that the report shows of a dictionary's latents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modeldiff_harness.artifacts import TokenWindow
from modeldiff_harness.artifacts.corpus import SPLITS
from modeldiff_harness.report.build.inputs import LatentFindings, MemberFindings

__all__ = ["EXAMPLES_PER_LATENT", "example_windows"]

EXAMPLES_PER_LATENT = 4
EXAMPLES_PER_REPORT = 2400
"""Windows in all, about 3 kB each: report.json stays below 10 MB however many latents there are."""


def example_windows(
    found: LatentFindings, member: MemberFindings, in_order: Sequence[int]
) -> dict[int, tuple[TokenWindow, ...]]:
    """Return the strongest windows; where latents are many, fewer each and the first ones only."""
    budget = EXAMPLES_PER_REPORT // len(found.members)
    most = max(1, min(EXAMPLES_PER_LATENT, budget // max(1, len(in_order))))
    wanted = set(in_order[:budget])
    examples = member.examples
    shown: dict[int, list[TokenWindow]] = {}
    for e in np.argsort(-examples.peak_E, kind="stable"):
        latent = int(examples.latent_E[e])
        windows = shown.setdefault(latent, [])
        if latent not in wanted or examples.kind_E[e] != 0 or len(windows) >= most:
            continue
        n = int(examples.document_E[e])
        document = found.corpus.documents[n]
        inside = examples.tokens_EW[e] >= 0
        windows.append(
            TokenWindow(
                doc_id=document.doc_id,
                tokens=tuple(found.decode(examples.tokens_EW[e][inside].tolist())),
                activations=tuple(round(float(a), 4) for a in examples.activations_EW[e][inside]),
                capability=document.capability,
                author=document.author,
                split=SPLITS[int(found.corpus.splits_N[n])],
                kind="top",
            )
        )
    return {latent: tuple(windows) for latent, windows in shown.items()}
