"""Section `capabilities`: every capability through three lenses, conflicts first."""

from __future__ import annotations

from modeldiff_harness.artifacts import CapabilityRow, LatentsReport, Lens, Report
from modeldiff_harness.contracts import RenderedSection, ReportTable
from modeldiff_harness.report.wording import ABSENT, capability_title, class_title, signed

__all__ = ["CapabilitiesSection"]

_SIGNS = {"up": "▲", "down": "▼", "unclear": "·", None: ""}
_TONES = {"conflict": "bad", "agree": "good", "unclear": "", "not measured": "muted"}
_READING = (
    "Benchmarks and preference substance say whether the candidate does better; their signs are "
    "compared where the interval, corrected for the number of capabilities of its arm, excludes "
    "zero. A share of latents is emphasis: it is compared with behaviour only where the taxonomy "
    "takes both to go the same way, else it stands without a mark.",
    "Several tasks of one capability: paired mean over all their items. Metrics that are not "
    "between 0 and 1 are left out of it.",
)
_COLUMNS = (
    "capability",
    "mark",
    "benchmark",
    "preference",
    "latents",
    "class",
    "why",
)


class CapabilitiesSection:
    """Every capability through three lenses, conflicts first."""

    name, order = "capabilities", 600

    def render(self, report: Report) -> RenderedSection:
        """Return a row for every capability that some lens has something to say about."""
        labelled = _labelled(report.latents)
        seen: list[CapabilityRow] = []
        unseen: list[CapabilityRow] = []
        for row in report.capabilities:
            behaviour = "measured" in (row.benchmark.status, row.preference.status)
            (seen if behaviour or row.capability in labelled else unseen).append(row)
        reading: tuple[str, ...] = _READING
        if unseen:
            names = ", ".join(capability_title(row.capability) for row in unseen)
            reading += (f"Neither task nor prompt nor specific latent: {names}.",)
        note = (
            "▲ corrected interval above zero, ▼ below, · includes zero, – not measured. "
            f"{_agreements(seen)}"
        )
        table = ReportTable(
            "Three lenses",
            _COLUMNS,
            tuple(_cells(row) for row in seen),
            note,
            tones=tuple(_TONES[row.agreement] for row in seen),
        )
        return RenderedSection(
            "capabilities",
            "Capabilities through three lenses",
            () if seen else ("No capability was seen by any arm.",),
            (table,) if seen else (),
            reading=reading,
        )


def _agreements(rows: list[CapabilityRow]) -> str:
    """Return "1 conflict, 2 agree, 5 of 8 compared are undecided": no conflict is no agreement."""
    compared = [row.agreement for row in rows if row.agreement != "not measured"]
    if not compared:
        return "No capability was measured by two arms that can be compared."
    conflicts, agree = compared.count("conflict"), compared.count("agree")
    told = f"{conflicts or 'no'} conflict{'s' if conflicts > 1 else ''}, {agree} agree"
    return f"{told}, {compared.count('unclear')} of {len(compared)} compared are undecided."


def _labelled(section: LatentsReport) -> set[str]:
    """Return the capabilities that some specific latent is labelled with."""
    rows = section.profile.rows if section.profile is not None else ()
    return {r.key for r in rows if r.comparison.n_baseline or r.comparison.n_candidate}


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
