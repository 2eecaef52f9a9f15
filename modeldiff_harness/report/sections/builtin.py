"""The sections of a report: the one textual source that every renderer reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modeldiff_harness.artifacts import Report
from modeldiff_harness.contracts import RenderedSection, ReportSection
from modeldiff_harness.report.sections import benchmarks as section_benchmarks
from modeldiff_harness.report.sections import capabilities as section_capabilities
from modeldiff_harness.report.sections import latents as section_latents
from modeldiff_harness.report.sections import looks as section_looks
from modeldiff_harness.report.sections import models as section_models
from modeldiff_harness.report.sections import preferences as section_preferences
from modeldiff_harness.report.sections import provenance as section_provenance
from modeldiff_harness.report.sections import shares as section_shares
from modeldiff_harness.report.sections import summary as section_summary

__all__ = ["BUILTIN_SECTIONS", "Section", "render_sections"]


@dataclass
class Section:
    """A section made by a function; satisfies `ReportSection`."""

    name: str
    order: int
    function: Callable[[Report], RenderedSection | None]

    def render(self, report: Report) -> RenderedSection | None:
        """Return the section, or None when it has nothing to say about this report."""
        return self.function(report)


BUILTIN_SECTIONS = (
    Section("summary", 100, section_summary.render),
    Section("models", 200, section_models.render),
    Section("benchmarks", 300, section_benchmarks.render),
    Section("preferences", 400, section_preferences.render),
    Section("latent-shares", 500, section_shares.render),
    Section("capabilities", 600, section_capabilities.render),
    Section("latents", 700, section_latents.render),
    Section("cheap-looks", 800, section_looks.render),
    Section("items", 900, section_benchmarks.render_items),
    Section("limits", 1000, section_provenance.render_limits),
    Section("provenance", 1100, section_provenance.render),
)
"""In the order in which a release reviewer reads them."""


def render_sections(
    report: Report, sections: Sequence[ReportSection] | None = None
) -> tuple[RenderedSection, ...]:
    """Return the sections that have something to say, by (order, name).

    `sections` are the components of kind `report_section`; None takes the built-in ones.  A section
    that fails is shown as failed with its reason: it must not cost the report of a long run.
    """
    wanted: Sequence[ReportSection] = BUILTIN_SECTIONS if sections is None else sections
    rendered = []
    for section in sorted(wanted, key=lambda s: (s.order, _name(s))):
        try:
            found = section.render(report)
        except Exception as error:  # a stranger's code: its failure is a finding, not ours
            if isinstance(section, Section):
                raise
            found = RenderedSection(
                key=_name(section),
                title=_name(section),
                paragraphs=(f"This section failed: {type(error).__name__}: {error}.",),
            )
        if found is not None:
            rendered.append(found)
    return tuple(rendered)


def _name(section: ReportSection) -> str:
    return str(getattr(section, "name", type(section).__name__))
