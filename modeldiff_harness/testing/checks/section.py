"""The check of `report_section`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

from modeldiff_harness.artifacts import Report
from modeldiff_harness.contracts import RenderedSection, ReportSection
from modeldiff_harness.report.render.html import render_html
from modeldiff_harness.report.render.markdown import render_markdown
from modeldiff_harness.report.schema import to_json
from modeldiff_harness.testing.checks.rules import Subject
from modeldiff_harness.testing.hostile import poisoned
from modeldiff_harness.testing.reports import sample_report

__all__ = ["check_section"]

_TONES = {"", "good", "bad", "muted"}


def check_section(
    factory: Callable[[], ReportSection],
    *,
    report: Report | None = None,
    name: str | None = None,
) -> None:
    """Check a section on `report` (default: a sample), its hostile twin and with no arm measured.

    order: a number; rendered: a RenderedSection or None, all text, tables rectangular; empty:
    it bears arms that were not measured; reading: the report is left as it was; figures: SVG that
    parses, with no script, handler or link; renderers: Markdown and HTML take it; determinism.
    Raises CheckFailed.
    """
    subject = Subject("report_section", factory, name)
    section = subject.make()
    number = isinstance(section.order, int | float) and not isinstance(section.order, bool)
    subject.require("order", number, f"order is {section.order!r}")
    sample = sample_report() if report is None else report
    for rule, shown in (("rendered", sample), ("empty", _unmeasured(sample)),
                        ("hostile", poisoned(sample))):  # fmt: skip
        before = to_json(shown)
        with subject.rule(rule):
            found = section.render(shown)
            again = subject.make().render(shown)
        subject.require("reading", to_json(shown) == before, "it changes the report")
        subject.require("determinism", found == again, "two instances differ")
        if found is None:
            continue
        _check_rendered(subject, found)
        for render in (render_markdown, render_html):
            with subject.rule("renderers"):
                render(shown, [section])


def _unmeasured(report: Report) -> Report:
    """Return the report of a run in which no arm was measured."""

    def nothing(arm: Any) -> Any:
        return type(arm)(status="not measured", reason="it was not asked for")

    return replace(
        report,
        summary=(),
        benchmarks=nothing(report.benchmarks),
        preferences=nothing(report.preferences),
        latents=nothing(report.latents),
        capabilities=(),
    )


def _check_rendered(subject: Subject, found: Any) -> None:
    subject.require("rendered", isinstance(found, RenderedSection), f"{found!r:.80}")
    texts = [found.key, found.title, *found.paragraphs, *found.commands, *found.reading]
    for field in ("paragraphs", "commands", "reading"):
        given = getattr(found, field)
        subject.require("rendered", not isinstance(given, str), f"{field} is one text, not several")
    for table in found.tables:
        texts += [table.title, table.note, *table.columns]
        for row in table.rows:
            fits = len(row) == len(table.columns)
            subject.require("rendered", fits, f"table {table.title!r} is not rectangular")
            texts += row
        toned = len(table.tones) in (0, len(table.rows)) and set(table.tones) <= _TONES
        subject.require("rendered", toned, f"table {table.title!r}: a tone a row, or none")
    subject.require("rendered", all(isinstance(t, str) for t in texts), "a cell is not text")
    for figure in found.figures:
        with subject.rule("figures"):
            root = ElementTree.fromstring(figure.svg)
        for element in root.iter():
            tag = element.tag.rpartition("}")[2].lower()
            subject.require("figures", tag not in ("script", "foreignobject"), f"<{tag}> in SVG")
            for attribute, value in element.attrib.items():
                bare = attribute.rpartition("}")[2].lower()
                outside = bare == "href" and not value.startswith("#")
                bad = bare.startswith("on") or outside or re.search(r"url\(\s*['\"]?[^#'\"]", value)
                subject.require("figures", not bad, f"{attribute}={value[:40]!r} in SVG")
