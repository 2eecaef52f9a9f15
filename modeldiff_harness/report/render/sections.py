"""The sections of a report: the one textual source that every renderer reads."""

from __future__ import annotations

from collections.abc import Sequence

from modeldiff_harness.artifacts import Report
from modeldiff_harness.contracts import (
    ExampleGroup,
    Figure,
    RenderedSection,
    ReportSection,
    ReportTable,
)
from modeldiff_harness.errors import is_interrupt
from modeldiff_harness.plugins import others_code

__all__ = ["render_sections"]

_TONES = {"", "good", "bad", "muted"}


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
        with others_code():
            found = section.render(report)
        if found is not None:
            _check(found)
    except BaseException as error:  # a plugin's code: its failure is a finding, not the report's
        if is_interrupt(error):
            raise
        name = str(getattr(section, "name", type(section).__name__))
        return RenderedSection(
            name, name, (f"This section failed: {type(error).__name__}: {error}.",)
        )
    return found


def _check(found: object) -> None:
    """Raise for what no renderer could show, before any of them has begun."""
    if not isinstance(found, RenderedSection):
        raise TypeError(f"render gave {type(found).__name__}, not a RenderedSection")
    if not all(isinstance(text, str) for text in (found.key, found.title)):
        raise TypeError("key and title must be text")
    for name in ("paragraphs", "commands", "reading"):
        texts = getattr(found, name)
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise TypeError(f"{name} must be a list of texts, not {texts!r:.80}")
    for name, kind in (("tables", ReportTable), ("figures", Figure), ("examples", ExampleGroup)):
        if not all(isinstance(part, kind) for part in getattr(found, name)):
            raise TypeError(f"{name} holds something that is no {kind.__name__}")
    for table in found.tables:
        if not all(isinstance(text, str) for text in (table.title, table.note, *table.columns)):
            raise TypeError(f"table {table.title!r:.80} has names that are not text")
        if any(len(row) != len(table.columns) for row in table.rows):
            raise ValueError(f"table {table.title!r} has rows of another length than its columns")
        if table.tones and len(table.tones) != len(table.rows):
            raise ValueError(f"table {table.title!r} needs one tone a row, or none")
        if unknown := set(table.tones) - _TONES:
            raise ValueError(f"table {table.title!r} has an unknown tone {min(unknown)!r}")
        if not all(isinstance(cell, str) for row in table.rows for cell in row):
            raise TypeError(f"table {table.title!r} has cells that are not text")
