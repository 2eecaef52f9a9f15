"""The latent arm's section: dictionaries, and every latent that some rule gives to a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from modeldiff_harness.artifacts import (
    OWNERS,
    DictionaryReport,
    LatentLabel,
    LatentOwners,
    LatentReport,
    LatentsReport,
)
from modeldiff_harness.report.build.examples import example_windows
from modeldiff_harness.report.build.inputs import LatentFindings, MemberFindings

__all__ = ["latents_report"]

_SPECIFIC = ("baseline", "candidate", "base")
_UNLABELLED = LatentLabel("", -1, None, "", "", reason="not labelled")


def latents_report(found: LatentFindings) -> LatentsReport:
    """Return the section; latents are ordered by dictionary, owner and rank."""
    authors = Counter(document.author for document in found.corpus.documents)
    latents = [row for member in found.members for row in _latent_rows(found, member)]
    return LatentsReport(
        status="measured",
        rule=found.rule,
        dictionaries=tuple(_dictionary(member) for member in found.members),
        latents=tuple(latents),
        profile=found.profile,
        difference_energy=found.energies,
        controls=found.controls.rows if found.controls is not None else (),
        extra_columns=dict(found.extra_columns),
        n_corpus_tokens=found.corpus.n_tokens,
        corpus_authors=dict(authors.most_common()),
        how_run=dict(found.how_run),
    )


def _dictionary(member: MemberFindings) -> DictionaryReport:
    dictionary, quality = member.dictionary, member.scores.quality
    return DictionaryReport(
        dictionary_id=dictionary.dictionary_id,
        design=dictionary.design,
        learner=dictionary.learner,
        replicate=member.replicate,
        models=dictionary.models,
        sites=tuple(dict.fromkeys(view.site for view in dictionary.views)),
        n_latents=dictionary.n_latents,
        k=dictionary.k,
        n_train_tokens=dictionary.n_train_tokens,
        fve=quality.fve,
        fve_delta=quality.fve_delta,
        l0=quality.l0,
        dead_fraction=quality.dead_fraction,
        quality=quality,
        counts=_counts(member.owners),
        rules_skipped={r.rule: r.skipped for r in member.owners.rules if r.skipped},
        thresholds={r.rule: r.thresholds for r in member.owners.rules},
        null_counts=_counts(member.null_owners) if member.null_owners is not None else None,
        null_categories=_null_categories(member),
        null_adapter_scale=member.null_match.adapter_scale if member.null_match else None,
        roles=tuple(r for r in _SPECIFIC if r in member.owners.roles.values()),
    )


def _counts(owners: LatentOwners) -> dict[str, dict[str, int]]:
    return {
        rule.rule: {
            owner: int(np.count_nonzero(rule.owner_L == index))
            for index, owner in enumerate(OWNERS)
        }
        for rule in owners.rules
        if not rule.skipped
    }


def _null_categories(member: MemberFindings) -> dict[str, dict[str, int]]:
    """Count the labels of the null run's specific latents by rule and capability."""
    if member.null_owners is None or member.null_labels is None:
        return {}
    labels = member.null_labels.by_latent()
    found: dict[str, dict[str, int]] = {}
    for rule in member.null_owners.rules:
        if rule.skipped:
            continue
        specific = np.isin(rule.owner_L, [OWNERS.index(name) for name in _SPECIFIC])
        named = [labels[int(i)].capability for i in np.flatnonzero(specific) if int(i) in labels]
        found[rule.rule] = dict(Counter(name for name in named if name is not None))
    return found


def _latent_rows(found: LatentFindings, member: MemberFindings) -> list[LatentReport]:
    labels = member.labels.by_latent()
    owners_of = _owners_by_latent(member.owners)
    specific = [i for i, owners in owners_of.items() if set(owners.values()) & set(_SPECIFIC)]
    decoys = sorted(labels.keys() - set(specific))
    ranks = _ranks(member.owners, specific)
    in_order = sorted(specific, key=lambda i: ranks[i])
    examples = example_windows(found, member, in_order)
    rows = []
    for latent in [*in_order, *decoys]:
        label = labels.get(latent, _UNLABELLED)
        owners = owners_of.get(latent) or _owners_of_one(member.owners, latent)
        rows.append(
            LatentReport(
                dictionary_id=member.dictionary.dictionary_id,
                id=latent,
                owner=owners.get(found.rule, "undetermined"),
                owners=owners,
                delta_norm=_at(member.owners.delta_norm_L, member.owners.defined_L, latent),
                nu_eps=_at(member.owners.nu_eps_L, member.owners.nu_defined_L, latent),
                nu_r=_at(member.owners.nu_r_L, member.owners.nu_defined_L, latent),
                label=label.text,
                category=label.capability,
                reason=label.reason,
                test_metric=label.test_metric,
                test_score=label.test_score,
                rank=ranks.get(latent, 0),
                n_active_tokens=int(member.scores.column("n_active_tokens").values_L[latent]),
                decoy=latent not in ranks,
                columns=_columns(found.extra_columns, member, latent),
                examples=examples.get(latent, ()),
            )
        )
    return rows


def _owners_by_latent(owners: LatentOwners) -> dict[int, dict[str, str]]:
    """Return latent → rule → owner for latents that some rule gives to a model."""
    wanted = [OWNERS.index(name) for name in _SPECIFIC]
    active = [rule for rule in owners.rules if not rule.skipped]
    any_L = np.zeros(len(owners.delta_norm_L), dtype=bool)
    for rule in active:
        any_L |= np.isin(rule.owner_L, wanted)
    return {int(i): _owners_of_one(owners, int(i)) for i in np.flatnonzero(any_L)}


def _owners_of_one(owners: LatentOwners, latent: int) -> dict[str, str]:
    return {r.rule: OWNERS[int(r.owner_L[latent])] for r in owners.rules if not r.skipped}


def _ranks(owners: LatentOwners, specific: list[int]) -> dict[int, int]:
    """Rank 1 lies farthest from the shared mode (the median Δnorm of live latents), by side."""
    middle = float(np.median(owners.delta_norm_L[owners.defined_L]))
    ranks: dict[int, int] = {}
    for side in (1.0, -1.0):
        away = {i: side * (float(owners.delta_norm_L[i]) - middle) for i in specific}
        own = sorted(
            (i for i in specific if away[i] >= 0 and i not in ranks), key=lambda i: -away[i]
        )
        ranks.update({latent: place for place, latent in enumerate(own, start=1)})
    return ranks


def _columns(extra: Mapping[str, str], member: MemberFindings, latent: int) -> dict[str, float]:
    found = {}
    for name in extra:
        column = member.scores.column(name)
        if column.defined_L[latent]:
            found[name] = float(column.values_L[latent])
    return found


def _at(values_L: np.ndarray, defined_L: np.ndarray, latent: int) -> float | None:
    return float(values_L[latent]) if defined_L[latent] else None
