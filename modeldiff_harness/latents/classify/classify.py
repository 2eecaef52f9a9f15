"""`classify`: whose latent is it?  Roles and thresholds enter here, and nothing is rescanned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from modeldiff_harness.artifacts import OWNERS, LatentOwners, LatentScores, OwnerRule
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import UsageError
from modeldiff_harness.latents.classify.pairwise import (
    Guards,
    OrderedPair,
    PairwiseScores,
    read_pairwise,
)
from modeldiff_harness.latents.classify.rules import (
    DEFAULT_RULES,
    CalibratedRule,
    ClassifyRule,
    PublishedRule,
    RuleThresholds,
    SkippedRule,
)

__all__ = ["ROLE_ORDER", "classify"]

Doubles = NDArray[np.float64]
Owners = NDArray[np.uint8]

ROLE_ORDER = ("base", "baseline", "candidate")
"""Δnorm is oriented later − earlier in this order."""

_SHARED, _OTHER, _UNDETERMINED, _NEGATIVE, _DEAD = (
    OWNERS.index(name) for name in ("shared", "other", "undetermined", "negative", "dead")
)


def classify(
    scores: LatentScores,
    roles: Mapping[str, str],
    *,
    rules: Sequence[ClassifyRule] = DEFAULT_RULES,
    guards: Guards | None = None,
    null_scores: LatentScores | None = None,
    runtime: Runtime,
) -> LatentOwners:
    """Give every latent of one dictionary an owner under each rule.

    `roles` maps each of the dictionary's models to base, baseline or candidate.  `null_scores` are
    the scores of a null run with identical settings: its models are those of `scores` with one
    replaced by the null twin.

    Order of decisions a latent: dead; undetermined (too few active tokens or documents); beyond
    the Δnorm threshold of a model (against every other model): undetermined when β of that model
    is not clearly positive or a ν is undefined, negative when a ν is strongly negative, specific
    when both ν are below their thresholds, else other; not beyond: shared inside the band, else
    other.  All of it happens before orientation, so exchanging the roles of a pair exchanges
    owners exactly and maps Δnorm to 1 − Δnorm.

    For M > 2 the dictionary's Δnorm, cosine and ν columns of the result are those of the two
    latest roles and of the model with the largest decoder norm (largest ν over the others).

    Raises UsageError for roles that do not fit the models, missing score columns, or a null run
    of other models.
    """
    guards = guards or Guards()
    role_of = _check_roles(scores, roles)
    run = read_pairwise(scores, guards)
    null = None if null_scores is None else _null_as(run, read_pairwise(null_scores, guards))
    names = [rule.name for rule in rules]
    if len(set(names)) != len(names):
        raise UsageError(f"two classify rules share a name: {', '.join(names)}.")
    outcomes = tuple(_apply_rule(rule, run, null, guards, role_of) for rule in rules)
    for outcome in outcomes:
        runtime.progress.log(f"classify {scores.dictionary_id} {outcome.rule}: {_counts(outcome)}")
    earlier, later = sorted(run.models, key=lambda m: ROLE_ORDER.index(role_of[m]))[-2:]
    nu_eps_L, nu_r_L, nu_defined_L = _leading_nu(run)
    return LatentOwners(
        dictionary_id=scores.dictionary_id,
        roles=role_of,
        delta_norm_L=run.dominance[later, earlier],
        defined_L=run.alive_L,
        decoder_cosine_L=run.cosine[later, earlier],
        nu_eps_L=nu_eps_L,
        nu_r_L=nu_r_L,
        nu_defined_L=nu_defined_L,
        rules=outcomes,
        sensitivity=_sensitivity(run, null, rules, guards, role_of),
    )


def decide(
    run: PairwiseScores,
    limits: RuleThresholds,
    guards: Guards,
    owner_index: Mapping[str, int],
) -> Owners:
    """Apply thresholds: (L,) indices into OWNERS; `owner_index` gives the index of each model."""
    owner_L = np.full(run.n_latents, _OTHER, dtype=np.uint8)
    shared_L = np.ones(run.n_latents, dtype=bool)
    for pair, (low, high) in limits.shared.items():
        shared_L &= (run.dominance[pair] >= low) & (run.dominance[pair] <= high)
    owner_L[shared_L] = _SHARED
    for own in run.models:
        beyond_L = np.ones(run.n_latents, dtype=bool)
        clear_L, low_nu_L = beyond_L.copy(), beyond_L.copy()
        negative_L = np.zeros(run.n_latents, dtype=bool)
        for other in run.others(own):
            pair = (own, other)
            eps_L, r_L = run.nu_eps[pair], run.nu_r[pair]
            beyond_L &= run.dominance[pair] > limits.dominance[pair]
            clear_L &= run.beta_positive[pair] & run.nu_defined[pair]
            negative_L |= (eps_L < guards.negative_nu) | (r_L < guards.negative_nu)
            low_nu_L &= (eps_L < limits.nu_eps[pair]) & (r_L < limits.nu_r[pair])
        owner_L[beyond_L] = _OTHER
        owner_L[beyond_L & low_nu_L] = owner_index[own]
        owner_L[beyond_L & negative_L] = _NEGATIVE
        owner_L[beyond_L & ~clear_L] = _UNDETERMINED
    owner_L[~run.eligible_L] = _UNDETERMINED
    owner_L[~run.alive_L] = _DEAD
    return owner_L


def _apply_rule(
    rule: ClassifyRule,
    run: PairwiseScores,
    null: PairwiseScores | None,
    guards: Guards,
    roles: Mapping[str, str],
) -> OwnerRule:
    limits = rule.thresholds(run, null)
    if isinstance(limits, SkippedRule):
        owner_L = np.full(run.n_latents, _UNDETERMINED, dtype=np.uint8)
        return OwnerRule(rule.name, {}, owner_L, skipped=limits.reason)
    return OwnerRule(
        rule=rule.name,
        thresholds=_thresholds_by_role(limits, roles),
        owner_L=decide(run, limits, guards, _owner_index(roles)),
    )


def _thresholds_by_role(limits: RuleThresholds, roles: Mapping[str, str]) -> dict[str, float]:
    """Name every threshold by (own|other) role, so that a swap exchanges names and not values."""
    found: dict[str, float] = {}
    for own, other in sorted(limits.dominance, key=lambda p: (roles[p[0]], roles[p[1]])):
        key = f"[{roles[own]}|{roles[other]}]"
        found[f"dominance_above{key}"] = limits.dominance[own, other]
        found[f"nu_eps_below{key}"] = limits.nu_eps[own, other]
        found[f"nu_r_below{key}"] = limits.nu_r[own, other]
        found[f"shared_from{key}"], found[f"shared_to{key}"] = limits.shared[own, other]
    return found


def _leading_nu(run: PairwiseScores) -> tuple[Doubles, Doubles, NDArray[np.bool_]]:
    """ν of the model with the largest decoder norm; the largest over the others when M > 2."""
    leader_L = np.argmax([run.standing(own) for own in run.models], axis=0)
    nu_eps_L, nu_r_L = np.zeros(run.n_latents), np.zeros(run.n_latents)
    defined_L = run.alive_L.copy()
    for m, own in enumerate(run.models):
        mine_L = leader_L == m
        pairs = [(own, other) for other in run.others(own)]
        defined_L &= ~mine_L | np.all([run.nu_defined[p] for p in pairs], axis=0)
        nu_eps_L[mine_L] = np.max([run.nu_eps[p] for p in pairs], axis=0)[mine_L]
        nu_r_L[mine_L] = np.max([run.nu_r[p] for p in pairs], axis=0)[mine_L]
    return np.where(defined_L, nu_eps_L, 0.0), np.where(defined_L, nu_r_L, 0.0), defined_L


def _sensitivity(
    run: PairwiseScores,
    null: PairwiseScores | None,
    rules: Sequence[ClassifyRule],
    guards: Guards,
    roles: Mapping[str, str],
) -> dict[str, dict[str, list[float]]]:
    """Counts of specific latents while one threshold moves and the others stay.

    `delta_norm`, `nu_eps`, `nu_r` move those of `published`; `delta_norm_alone` does so with ν
    ignored; `calibrated_widths` moves the margin of `calibrated`.  A point is left out where the
    rule is skipped.
    """
    published = next((r for r in rules if isinstance(r, PublishedRule)), PublishedRule())
    calibrated = next((r for r in rules if isinstance(r, CalibratedRule)), CalibratedRule())
    no_nu = replace(published, nu_eps_below=np.inf, nu_r_below=np.inf)
    dominance = tuple(round(0.5 + 0.025 * i, 3) for i in range(1, 20))
    nu = tuple(round(0.1 * i, 1) for i in range(1, 13))
    widths = tuple(0.5 * i for i in range(2, 13))
    curves: dict[str, list[tuple[float, ClassifyRule]]] = {
        "delta_norm": [(x, replace(published, dominance_above=x)) for x in dominance],
        "delta_norm_alone": [(x, replace(no_nu, dominance_above=x)) for x in dominance],
        "nu_eps": [(x, replace(published, nu_eps_below=x)) for x in nu],
        "nu_r": [(x, replace(published, nu_r_below=x)) for x in nu],
        "calibrated_widths": [(x, replace(calibrated, n_widths=x)) for x in widths],
    }
    owner_index = _owner_index(roles)
    found: dict[str, dict[str, list[float]]] = {}
    for name, moved_rules in curves.items():
        points: dict[str, list[float]] = {"x": [], **{roles[m]: [] for m in run.models}}
        for x, moved in moved_rules:
            limits = moved.thresholds(run, null)
            if isinstance(limits, SkippedRule):
                continue
            owner_L = decide(run, limits, guards, owner_index)
            points["x"].append(x)
            for model in run.models:
                points[roles[model]].append(float((owner_L == owner_index[model]).sum()))
        found[name] = points
    return found


def _owner_index(roles: Mapping[str, str]) -> dict[str, int]:
    return {model: OWNERS.index(role) for model, role in roles.items()}


def _check_roles(scores: LatentScores, roles: Mapping[str, str]) -> dict[str, str]:
    missing = [model for model in scores.models if model not in roles]
    if missing:
        raise UsageError(
            f"dictionary {scores.dictionary_id} reads {', '.join(missing)}, which has no role.",
            hint="Give every model a role: base, baseline or candidate.",
        )
    found = {model: roles[model] for model in scores.models}
    unknown = sorted(set(found.values()) - set(ROLE_ORDER))
    if unknown or len(set(found.values())) != len(found):
        raise UsageError(
            f"roles {found} of dictionary {scores.dictionary_id} do not fit.",
            hint="Each of base, baseline and candidate can be given to one model.",
        )
    return found


def _null_as(run: PairwiseScores, null: PairwiseScores) -> PairwiseScores:
    """Rename the null run's models to those they stand for."""
    kept = set(run.models) & set(null.models)
    replaced = [m for m in run.models if m not in kept]
    twins = [m for m in null.models if m not in kept]
    if len(run.models) != len(null.models) or len(twins) > 1:
        raise UsageError(
            f"the null run reads {', '.join(null.models)}; classify needs the models of this "
            f"dictionary ({', '.join(run.models)}) with one replaced by its null twin.",
        )
    stands_for = {m: m for m in kept} | dict(zip(twins, replaced, strict=True))

    def renamed(pair: OrderedPair) -> OrderedPair:
        return stands_for[pair[0]], stands_for[pair[1]]

    return replace(
        null,
        models=run.models,
        dominance={renamed(p): v for p, v in null.dominance.items()},
        cosine={renamed(p): v for p, v in null.cosine.items()},
        nu_eps={renamed(p): v for p, v in null.nu_eps.items()},
        nu_r={renamed(p): v for p, v in null.nu_r.items()},
        nu_defined={renamed(p): v for p, v in null.nu_defined.items()},
        beta_positive={renamed(p): v for p, v in null.beta_positive.items()},
    )


def _counts(outcome: OwnerRule) -> str:
    if outcome.skipped:
        return f"skipped ({outcome.skipped})"
    counts = np.bincount(outcome.owner_L, minlength=len(OWNERS))
    return ", ".join(f"{n} {name}" for name, n in zip(OWNERS, counts, strict=True) if n)
