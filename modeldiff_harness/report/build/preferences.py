"""The preference arm of the report, from what `rank` found."""

from __future__ import annotations

from dataclasses import fields

from modeldiff_harness.artifacts import PreferenceDeltas, PreferencesReport

__all__ = ["preferences_report"]


def preferences_report(found: PreferenceDeltas) -> PreferencesReport:
    """Return the section: every field of the deltas under its own name."""
    values = {field.name: getattr(found, field.name) for field in fields(PreferenceDeltas)}
    return PreferencesReport(status="measured", **values)
