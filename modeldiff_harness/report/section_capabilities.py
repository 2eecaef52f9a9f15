"""Section `capabilities`: every capability through three lenses, conflicts first."""

from __future__ import annotations

from modeldiff_harness.artifacts import CapabilityRow, Lens, Report
from modeldiff_harness.contracts import RenderedSection, ReportTable
from modeldiff_harness.report.wording import ABSENT, capability_title, class_title, signed

__all__ = ["render"]

_SIGNS = {"up": "▲", "down": "▼", "unclear": "·", None: ""}
_TONES = {"conflict": "bad", "agree": "good", "unclear": "", "not measured": "muted"}
_COLUMNS = (
    "capability",
    "mark",
    "benchmark",
    "preference",
    "latents",
    "class",
    "why",
)


def render(report: Report) -> RenderedSection:
    """Return the table and, collapsed, the capabilities that no arm measured."""
    seen = tuple(row for row in report.capabilities if _measured(row))
    unseen = [capability_title(row.capability) for row in report.capabilities if not _measured(row)]
    rule = (
        "Benchmarks and preference substance say whether the candidate does better; their signs are "
        "compared where the interval excludes zero. A share of latents is emphasis: it is compared "
        "with behaviour only where the taxonomy takes both to go the same way, else it stands "
        "without a mark."
    )
    key = "▲ interval above zero, ▼ below, · includes zero, – not measured."
    text = [rule, key]
    if unseen:
        text.append(f"Not measured by any arm: {', '.join(unseen)}.")
    tables = ()
    if seen:
        note = "Several tasks of one capability: inverse-variance mean of their deltas."
        tables = (
            ReportTable(
                "Three lenses",
                _COLUMNS,
                tuple(_cells(row) for row in seen),
                note,
                tuple(_TONES[row.agreement] for row in seen),
            ),
        )
    return RenderedSection("capabilities", "Capabilities through three lenses", tuple(text), tables)


def _measured(row: CapabilityRow) -> bool:
    return any(lens.status == "measured" for lens in (row.benchmark, row.preference, row.latents))


def _cells(row: CapabilityRow) -> tuple[str, ...]:
    return (
        capability_title(row.capability),
        ABSENT if row.agreement == "not measured" else row.agreement,
        _lens(row.benchmark, 3, ""),
        _lens(row.preference, 0, " Elo"),
        _lens(row.latents, 2, " share"),
        class_title(row.class_key),
        row.reading,
    )


def _lens(lens: Lens, digits: int, unit: str) -> str:
    if lens.status != "measured":
        return ABSENT
    return f"{_SIGNS[lens.sign]} {signed(lens.effect, digits)}{unit}"
