"""The built-in sections of the report, one component each: a run may leave any of them out."""

from __future__ import annotations

from modeldiff_harness.contracts import ReportSection
from modeldiff_harness.report.sections.builtin import BUILTIN_SECTIONS

__all__ = [
    "benchmarks",
    "capabilities",
    "cheap_looks",
    "items",
    "latent_shares",
    "latents",
    "limits",
    "models",
    "preferences",
    "provenance",
    "summary",
]

_BY_NAME = {section.name: section for section in BUILTIN_SECTIONS}


def summary() -> ReportSection:
    """Return the section of the stamp, the sentences and the state of the arms."""
    return _BY_NAME["summary"]


def models() -> ReportSection:
    """Return the section of identities and preflight checks."""
    return _BY_NAME["models"]


def benchmarks() -> ReportSection:
    """Return the section of deltas by task."""
    return _BY_NAME["benchmarks"]


def preferences() -> ReportSection:
    """Return the section of raw, substance, style and dispersion."""
    return _BY_NAME["preferences"]


def latent_shares() -> ReportSection:
    """Return the section of capability shares with the null band."""
    return _BY_NAME["latent-shares"]


def capabilities() -> ReportSection:
    """Return the section of capabilities through three lenses."""
    return _BY_NAME["capabilities"]


def latents() -> ReportSection:
    """Return the section of rules, latents, labels, tests and dictionaries."""
    return _BY_NAME["latents"]


def cheap_looks() -> ReportSection:
    """Return the section of difference energy and simple controls."""
    return _BY_NAME["cheap-looks"]


def items() -> ReportSection:
    """Return the section of items lost and gained."""
    return _BY_NAME["items"]


def limits() -> ReportSection:
    """Return the section of what the run cannot say."""
    return _BY_NAME["limits"]


def provenance() -> ReportSection:
    """Return the section of command, stages, configuration and versions."""
    return _BY_NAME["provenance"]
