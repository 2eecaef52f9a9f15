"""Tables of dictionaries for the section `latents`: what every rule counts, and the quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modeldiff_harness.artifacts import DictionaryReport, LatentsReport
from modeldiff_harness.contracts import ReportTable
from modeldiff_harness.report.wording import ABSENT, number, percent

__all__ = ["SPECIFIC", "quality_table", "rules_table", "short_names"]

SPECIFIC = ("candidate", "baseline", "base")
"""Owners of a latent that belongs to one model, in the order of the tables."""


def short_names(dictionaries: Sequence[DictionaryReport]) -> dict[str, str]:
    """Return dictionary_id → its models' roles, with replicate and site where they differ.

    Names that would not be unique stay as they are.
    """
    sites = {d.sites for d in dictionaries}
    replicates = {d.replicate for d in dictionaries}
    names = {}
    for d in dictionaries:
        parts = [" vs ".join(d.roles)]
        parts += [", ".join(d.sites)] if len(sites) > 1 else []
        parts += [f"seed {d.replicate}"] if len(replicates) > 1 else []
        names[d.dictionary_id] = ", ".join(parts) if d.roles else d.dictionary_id
    unique = len(set(names.values())) == len(names)
    return names if unique else {name: name for name in names}


def rules_table(section: LatentsReport, short: Mapping[str, str]) -> ReportTable:
    """Return latents by rule, dictionary and owner, those of the null run in brackets."""
    owners = [o for o in SPECIFIC if any(o in _roles(d) for d in section.dictionaries)]
    rows, tones = [], []
    for dictionary in section.dictionaries:
        for rule in dict.fromkeys((*dictionary.thresholds, *dictionary.rules_skipped)):
            counts = dictionary.counts.get(rule)
            if counts is None:
                reason = dictionary.rules_skipped.get(rule, "not applied")
                cells = [ABSENT] * (len(owners) + 2) + [f"skipped: {reason}"]
            else:
                cells = [_with_null(dictionary, rule, owner) for owner in owners]
                cells += [f"{counts.get(owner, 0):,}" for owner in ("shared", "undetermined")]
                cells += [_thresholds(dictionary.thresholds.get(rule, {}))]
            rows.append((rule, short[dictionary.dictionary_id], *cells))
            tones.append("" if rule == section.rule else "muted")
    columns = ("rule", "dictionary", *owners, "shared", "undetermined", "thresholds")
    note = f"Number of latents; the run's rule is {section.rule}. In brackets: in the null run."
    return ReportTable("All rules side by side", columns, tuple(rows), note, tuple(tones))


def _with_null(dictionary: DictionaryReport, rule: str, owner: str) -> str:
    if owner not in _roles(dictionary):
        return ABSENT
    count = f"{dictionary.counts[rule].get(owner, 0):,}"
    null = (dictionary.null_counts or {}).get(rule)
    return count if null is None else f"{count} ({null.get(owner, 0):,})"


def _roles(dictionary: DictionaryReport) -> set[str]:
    """Return the owners this dictionary can have: a model it was not trained on is not zero."""
    return set(dictionary.roles) if dictionary.roles else set(SPECIFIC)


def _thresholds(thresholds: dict[str, float]) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in thresholds.items()) or ABSENT


def quality_table(section: LatentsReport, short: Mapping[str, str]) -> ReportTable:
    """Return how well every dictionary reconstructs, and how it was trained."""
    rows = tuple(
        (
            short[d.dictionary_id],
            _by_name(d.fve_delta),
            number(d.l0, 1),
            percent(d.dead_fraction, 1),
            f"{d.n_latents:,}",
            _by_name(d.fve),
            f"{d.n_train_tokens:,}",
            str(d.k),
            d.learner,
            number(d.null_adapter_scale, 2),
            d.dictionary_id,
        )
        for d in section.dictionaries
    )
    columns = (
        "dictionary",
        "FVE of the difference",
        "L0",
        "dead",
        "latents",
        "FVE",
        "train tokens",
        "k",
        "learner",
        "null scale",
        "id",
    )
    return ReportTable("Dictionaries", columns, rows)


def _by_name(found: Mapping[str, float]) -> str:
    """Return one number as it is, several with their names."""
    if len(found) == 1:
        return number(next(iter(found.values())))
    return ", ".join(f"{name.replace('|', ' − ')} {number(v)}" for name, v in found.items())
