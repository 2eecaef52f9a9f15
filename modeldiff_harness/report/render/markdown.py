"""report.md: GitHub-flavoured Markdown, every text escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from modeldiff_harness.artifacts import Report, TokenWindow
from modeldiff_harness.contracts import (
    ExampleGroup,
    RenderedSection,
    ReportSection,
    ReportTable,
)
from modeldiff_harness.report.render.plain_text import one_line
from modeldiff_harness.report.render.sections import render_sections

__all__ = ["escape_markdown", "render_markdown", "section_markdown"]

_SPECIAL = re.compile(r"([\\`*_\[\]|~$])")
_BLOCK_START = re.compile(r"^(\s*\d*)([-=+#.)])(?=[-=+#\s]|$)")
STRONG = 0.5
"""Share of a window's largest activation above which a token is marked in bold."""


def render_markdown(report: Report, sections: Sequence[ReportSection]) -> str:
    """Return the report as Markdown; `sections` as in `render_sections`."""
    pair = report.pair
    lines = [f"# {_line(f'{pair.baseline.name} → {pair.candidate.name}')}", ""]
    for section in render_sections(report, sections):
        lines += _section(section)
    return "\n".join(lines).rstrip("\n") + "\n"


def section_markdown(section: RenderedSection) -> str:
    """Return one section as Markdown."""
    return "\n".join(_section(section)).rstrip("\n") + "\n"


def escape_markdown(text: str) -> str:
    """Return untrusted text as one line that Markdown shows as it is.

    HTML, links, code, emphasis, tables, mentions and bare addresses lose their meaning.
    """
    text = one_line(text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _SPECIAL.sub(r"\\\1", text)
    text = _BLOCK_START.sub(r"\1\\\2", text)
    # Zero-width joints would be invisible changes; entities keep the text and break the autolink.
    return text.replace("://", "&#58;//").replace("@", "&#64;").replace("www.", "www&#46;")


def _line(text: str) -> str:
    """Return untrusted text as a line of its own: leading spaces would make it code."""
    return escape_markdown(text).strip()


def _section(section: RenderedSection) -> list[str]:
    lines = [f"## {_line(section.title)}", ""]
    for paragraph in section.paragraphs:
        lines += [_line(paragraph), ""]
    for text in section.reading:
        lines += [f"*{_line(text)}*", ""]
    for command in section.commands:
        lines += _fenced(command)
    for table in section.tables:
        lines += _table(table)
    if section.examples:
        lines += ["<details><summary>Examples</summary>", ""]
        for group in section.examples:
            lines += _examples(group)
        lines += ["</details>", ""]
    return lines


def _fenced(command: str) -> list[str]:
    """Return a code block whose fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", command)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}sh", *(one_line(part) for part in command.splitlines()), fence, ""]


def _table(table: ReportTable) -> list[str]:
    title = _line(table.title)
    lines = [f"<details><summary>{title}</summary>" if table.collapsed else f"**{title}**", ""]
    lines.append(_row(table.columns))
    lines.append("|" + "---|" * len(table.columns))
    lines += [_row(row) for row in table.rows]
    if table.note:
        lines += ["", _line(table.note)]
    return [*lines, "", *(["</details>", ""] if table.collapsed else [])]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_line(cell) for cell in cells) + " |"


def _examples(group: ExampleGroup) -> list[str]:
    lines = [f"- {_line(group.title)}"]
    for window in group.windows:
        place = " ".join(part for part in (window.author, window.capability or "") if part)
        lines.append(f"  - {escape_markdown(place)}: {_window(window)}")
    return [*lines, ""]


def _window(window: TokenWindow) -> str:
    top = max(window.activations, default=0.0)
    parts = []
    for token, activation in zip(window.tokens, window.activations, strict=True):
        shown = escape_markdown(token)
        strong = top > 0 and activation > STRONG * top and shown.strip()
        parts.append(f"<b>{shown}</b>" if strong else shown)
    return "".join(parts).strip()
