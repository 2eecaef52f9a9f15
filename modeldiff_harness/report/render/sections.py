"""The sections of a report: the one textual source that every renderer reads."""

from __future__ import annotations

from collections.abc import Sequence

from modeldiff_harness.artifacts import Report
from modeldiff_harness.contracts import RenderedSection, ReportSection

__all__ = ["render_sections"]


def render_sections(
    report: Report, sections: Sequence[ReportSection]
) -> tuple[RenderedSection, ...]:
    """Return those of `sections` that have something to say, by their `order`.

    `sections` are those of a registry (`Registry.sections`), some of them, or more.  A section that
    fails is shown as failed with its reason: it must not cost the report of a long run.
    """
    ordered = sorted(sections, key=lambda section: section.order)
    rendered = (_rendered(section, report) for section in ordered)
    return tuple(found for found in rendered if found is not None)


def _rendered(section: ReportSection, report: Report) -> RenderedSection | None:
    try:
        found = section.render(report)
        if not isinstance(found, RenderedSection | None):
            raise TypeError(f"render gave {type(found).__name__}, not a RenderedSection")
    except Exception as error:  # a plugin's code: its failure is a finding, not the report's
        name = str(getattr(section, "name", type(section).__name__))
        return RenderedSection(
            name, name, (f"This section failed: {type(error).__name__}: {error}.",)
        )
    return found
