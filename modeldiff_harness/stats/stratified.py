"""A group's paired difference from its sub-tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from modeldiff_harness.errors import UsageError
from modeldiff_harness.stats.estimates import PairedEstimate, Undetermined, two_sided_p

Weighting = Literal["items", "equal"]


def stratified_difference(
    parts: Sequence[PairedEstimate | Undetermined], weighting: Weighting = "items"
) -> PairedEstimate | Undetermined:
    """Σ w_k δ_k over sub-tasks, with w by items or equal, treated as independent strata.

    SE = √Σ w_k² se_k². The interval recovers each stratum's own distances to its ends (MOVER, Zou
    and Donner 2008), so that skewed or adjusted intervals of small sub-tasks keep their shape. p
    uses t with Welch-Satterthwaite degrees of freedom where strata have them. One undetermined
    sub-task makes the group undetermined: leaving it out would change what is estimated. Raises
    `UsageError` for no parts or intervals of different confidence.
    """
    if not parts:
        raise UsageError("a group needs at least one sub-task")
    determined = [part for part in parts if isinstance(part, PairedEstimate)]
    if len(determined) < len(parts):
        missing = len(parts) - len(determined)
        n_items = sum(part.n for part in determined)
        return Undetermined(f"{missing} of {len(parts)} sub-tasks are undetermined", n_items)
    if len({part.confidence for part in determined}) > 1:
        raise UsageError("sub-tasks have intervals of different confidence; recompute them alike")
    n = sum(part.n for part in determined)
    weights = [part.n / n if weighting == "items" else 1.0 / len(determined) for part in determined]
    pairs = list(zip(weights, determined, strict=True))
    delta = sum(w * part.delta for w, part in pairs)
    variances = [(w * part.se) ** 2 for w, part in pairs]
    se = math.sqrt(sum(variances))
    below = math.sqrt(sum((w * max(0.0, part.delta - part.lower)) ** 2 for w, part in pairs))
    above = math.sqrt(sum((w * max(0.0, part.upper - part.delta)) ** 2 for w, part in pairs))
    df = _welch_satterthwaite(variances, [part.df for part in determined])
    return PairedEstimate(
        n=n,
        baseline=sum(w * part.baseline for w, part in pairs),
        candidate=sum(w * part.candidate for w, part in pairs),
        delta=delta,
        se=se,
        lower=delta - below,
        upper=delta + above,
        p_value=two_sided_p(delta, se, df),
        method=f"stratified over {len(determined)} sub-tasks, weights by {weighting}",
        confidence=determined[0].confidence,
        df=df,
        unpaired_se=_combined_unpaired(pairs),
        fixed=_total([part.fixed for part in determined]),
        broken=_total([part.broken for part in determined]),
        both_right=_total([part.both_right for part in determined]),
        both_wrong=_total([part.both_wrong for part in determined]),
        flags=tuple(sorted({flag for part in determined for flag in part.flags})),
    )


def _welch_satterthwaite(variances: Sequence[float], dfs: Sequence[float | None]) -> float | None:
    spread = sum(v**2 / df for v, df in zip(variances, dfs, strict=True) if df is not None)
    return sum(variances) ** 2 / spread if spread > 0.0 else None


def _combined_unpaired(pairs: Sequence[tuple[float, PairedEstimate]]) -> float | None:
    parts = [(w, part.unpaired_se) for w, part in pairs]
    if any(se is None for _, se in parts):
        return None
    return math.sqrt(sum((w * (se or 0.0)) ** 2 for w, se in parts))


def _total(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
