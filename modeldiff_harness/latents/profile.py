"""`profile`: the share of model-specific latents labelled with each capability and class."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from modeldiff_harness.artifacts import (
    CapabilityProfile,
    Estimate,
    Interval,
    LatentLabels,
    LatentOwners,
    LatentScores,
    ProfileRow,
    ShareComparison,
)
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import UsageError
from modeldiff_harness.latents.label.capability_counts import latent_mass
from modeldiff_harness.stats.counts import newcombe_difference, share_shift
from modeldiff_harness.stats.estimates import Undetermined
from modeldiff_harness.stats.multiplicity import benjamini_hochberg
from modeldiff_harness.taxonomy import Taxonomy, load_taxonomy

__all__ = ["LabelledDictionary", "profile"]

MIN_REPLICATES = 3
"""Seeds below which the stability of a sign means nothing."""


@dataclass(frozen=True)
class LabelledDictionary:
    """One dictionary with its owners, tested labels and scores (for activation mass)."""

    owners: LatentOwners
    labels: LatentLabels
    scores: LatentScores


@dataclass(frozen=True)
class _Latent:
    capability: str | None
    mass: float


_Sets = Mapping[str, Sequence[_Latent]]
"""Role (baseline, candidate) → its own set of specific latents."""


def profile(
    replicates: Sequence[Sequence[LabelledDictionary]],
    *,
    rule: str,
    null: Sequence[LabelledDictionary] = (),
    null_rule: str | None = None,
    runtime: Runtime,
) -> CapabilityProfile:
    """Compare the two models' own sets of specific latents, capability by capability.

    `replicates`: for each dictionary seed the dictionaries of one design (two for via-base, one
    for direct or joint); the first is the one whose rows are reported, the others only say how
    stable the sign of a difference is.  `null`: the dictionaries of a null run, the null twin in
    the place of the model it replaces; the Newcombe interval of its share difference is the band.
    `null_rule` is the rule it was classified under (default: `rule`; a null run has no null of
    its own, so `above_null` needs another).

    Primary is the difference of shares (Newcombe), the ratio is suppressed below 5 latents, p is
    Fisher's and descriptive since latents are not independent; q by Benjamini–Hochberg within the
    7 classes and within the 30 capabilities, over rows with a latent.  N of a model counts all its
    specific latents, uninterpretable ones too.  Rows speak of the share of model-specific latents
    labelled X, not of how well a model does X.

    Raises UsageError when no dictionary is given, a rule was not run, or a specific latent has no
    label.
    """
    if not replicates or not replicates[0]:
        raise UsageError("profile needs at least one labelled dictionary.")
    taxonomy = load_taxonomy()
    seeds = [_own_sets(dictionaries, rule) for dictionaries in replicates]
    null_sets = _own_sets(null, null_rule or rule) if null else None
    rows: list[ProfileRow] = []
    for level, keys in (("class", taxonomy.class_keys), ("capability", taxonomy.keys)):
        rows += _with_q([_row(level, key, seeds[0], null_sets, taxonomy) for key in keys])
    found = CapabilityProfile(
        rule=rule,
        dictionary_ids=tuple(d.owners.dictionary_id for d in replicates[0]),
        rows=tuple(rows),
        n_uninterpretable={
            role: sum(latent.capability is None for latent in seeds[0][role])
            for role in ("baseline", "candidate")
        },
        sign_stability=_sign_stability(seeds, taxonomy),
    )
    sizes = ", ".join(f"{len(seeds[0][role])} {role}" for role in ("baseline", "candidate"))
    runtime.progress.log(f"profile under {rule}: {sizes} latents")
    return found


def _own_sets(dictionaries: Sequence[LabelledDictionary], rule: str) -> _Sets:
    sets: dict[str, list[_Latent]] = {"baseline": [], "candidate": []}
    for dictionary in dictionaries:
        owners, labels = dictionary.owners, dictionary.labels.by_latent()
        if all(outcome.rule != rule for outcome in owners.rules):
            known = ", ".join(outcome.rule for outcome in owners.rules)
            raise UsageError(
                f"dictionary {owners.dictionary_id} was not classified under {rule!r}.",
                hint=f"Known: {known}.",
            )
        mass_L = latent_mass(dictionary.scores.firing_counts)
        for role, members in sets.items():
            for latent in owners.latents_of(role, rule).tolist():
                if latent not in labels:
                    raise UsageError(
                        f"latent {latent} of {owners.dictionary_id} is specific under {rule!r} but "
                        "has no label.",
                        hint="Label the dictionary under this rule first.",
                    )
                members.append(_Latent(labels[latent].capability, float(mass_L[latent])))
    return sets


def _member(level: str, key: str, taxonomy: Taxonomy) -> Callable[[_Latent], bool]:
    keys = {key}
    if level == "class":
        keys = {c.key for c in taxonomy.capability_class(key).capabilities}
    return lambda latent: latent.capability in keys


def _counts(sets: _Sets, belongs: Callable[[_Latent], bool]) -> tuple[int, int, int, int]:
    """(baseline's members, its total, candidate's members, its total)."""
    base, cand = sets["baseline"], sets["candidate"]
    return sum(map(belongs, base)), len(base), sum(map(belongs, cand)), len(cand)


def _row(
    level: str, key: str, sets: _Sets, null_sets: _Sets | None, taxonomy: Taxonomy
) -> ProfileRow:
    belongs = _member(level, key, taxonomy)
    counts = _counts(sets, belongs)
    band = None if null_sets is None else _null_band(_counts(null_sets, belongs), counts)
    return ProfileRow(
        level=level,
        key=key,
        class_key=key if level == "class" else taxonomy.class_of(key).key,
        comparison=_comparison(counts),
        mass_share_difference=_mass_share_difference(sets, belongs),
        null_lower=None if band is None else band.lower,
        null_upper=None if band is None else band.upper,
    )


def _null_band(
    null: tuple[int, int, int, int], counts: tuple[int, int, int, int]
) -> Interval | None:
    """Where the difference of a new pair of this size lies with 95 %, if nothing of note changed.

    A prediction band: the null run's own Newcombe interval and that of a draw of the row's size
    with the null run's shares, joined by squares (G. Y. Zou and A. Donner, MOVER, 2008).  The
    interval of the null run alone says where its difference lies, not where the next one may fall.
    """
    if not all((null[1], null[3], counts[1], counts[3])):
        return None
    known = newcombe_difference(*null)
    drawn = (round(null[0] / null[1] * counts[1]), counts[1],
             round(null[2] / null[3] * counts[3]), counts[3])  # fmt: skip
    new = newcombe_difference(*drawn)
    return Interval(
        max(
            -1.0,
            known.estimate - math.hypot(known.estimate - known.lower, new.estimate - new.lower),
        ),
        min(
            1.0, known.estimate + math.hypot(known.upper - known.estimate, new.upper - new.estimate)
        ),
    )


def _comparison(counts: tuple[int, int, int, int]) -> ShareComparison:
    n_baseline, total_baseline, n_candidate, total_candidate = counts
    if not (total_baseline and total_candidate):
        empty = "candidate" if total_baseline else "baseline"
        if not total_baseline and not total_candidate:
            empty = "baseline and candidate"
        return ShareComparison(*counts, None, None, suppressed=f"no specific latent of {empty}")
    shift = share_shift(*counts)
    change, suppressed = None, ""
    if isinstance(shift.ratio, Undetermined):
        suppressed = f"{shift.ratio.reason}: a count is below 5"
    elif shift.ratio.ratio is not None and shift.ratio.upper is not None:
        change = Estimate(
            100.0 * (shift.ratio.ratio - 1.0),
            100.0 * (shift.ratio.lower - 1.0),
            100.0 * (shift.ratio.upper - 1.0),
            method="score",
        )
    return ShareComparison(
        *counts,
        share_difference=shift.difference,
        relative_change_percent=change,
        suppressed=suppressed,
        p_value=shift.p_value if n_baseline + n_candidate else None,
    )


def _mass_share_difference(sets: _Sets, belongs: Callable[[_Latent], bool]) -> float | None:
    shares = []
    for role in ("baseline", "candidate"):
        total = sum(latent.mass for latent in sets[role])
        if total <= 0:
            return None
        shares.append(sum(latent.mass for latent in sets[role] if belongs(latent)) / total)
    return float(shares[1] - shares[0])


def _with_q(rows: list[ProfileRow]) -> list[ProfileRow]:
    tested = [i for i, row in enumerate(rows) if row.comparison.p_value is not None]
    if not tested:
        return rows
    q_values = benjamini_hochberg([rows[i].comparison.p_value or 0.0 for i in tested])
    for i, q in zip(tested, q_values, strict=True):
        rows[i] = replace(rows[i], comparison=replace(rows[i].comparison, q_value=float(q)))
    return rows


def _sign_stability(seeds: Sequence[_Sets], taxonomy: Taxonomy) -> dict[str, float]:
    """Share of seeds whose share difference has the sign of the pooled counts' difference.

    A seed in which a model has no specific latent, or the difference is 0, agrees with nobody;
    capabilities without a pooled difference are left out.
    """
    if len(seeds) < MIN_REPLICATES:
        return {}
    found: dict[str, float] = {}
    for level, keys in (("class", taxonomy.class_keys), ("capability", taxonomy.keys)):
        for key in keys:
            belongs = _member(level, key, taxonomy)
            counts_S4 = np.array([_counts(sets, belongs) for sets in seeds])
            pooled = _sign(counts_S4.sum(axis=0))
            if pooled:
                found[key] = float(np.mean([_sign(counts) == pooled for counts in counts_S4]))
    return found


def _sign(counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> int:
    n_baseline, total_baseline, n_candidate, total_candidate = (int(x) for x in counts)
    # Cross-multiplied: shares compared without rounding; an empty set gives 0.
    return int(np.sign(n_candidate * total_baseline - n_baseline * total_candidate))
