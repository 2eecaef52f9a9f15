"""Section `cheap-looks`: what can be seen without training a dictionary."""

from __future__ import annotations

from modeldiff_harness.artifacts import DifferenceEnergy, EnergyRow, Report, SimpleControl
from modeldiff_harness.contracts import RenderedSection, ReportTable
from modeldiff_harness.report.wording import ABSENT, capability_title, number, percent

__all__ = ["CheapLooksSection"]

_CONTROLS = {
    "mean_difference": "mean activation difference",
    "logistic_probe": "logistic probe",
    "word_counts": "word counts of the answers",
}
_READING = (
    "Difference energy is ‖x^c − x^b‖² / ‖x^b‖², how far the activations moved; the controls ask "
    "what a cheap method tells of the same held-out prompts. A latent that says no more than these "
    "is no finding.",
)


class CheapLooksSection:
    """Difference energy and simple controls."""

    name, order = "cheap-looks", 800

    def render(self, report: Report) -> RenderedSection | None:
        """Return difference energies by capability and author, and the simple controls."""
        section = report.latents
        if not section.difference_energy and not section.controls:
            return None
        tables = [_energy(energy) for energy in section.difference_energy]
        if section.controls:
            tables.append(_controls(section.controls))
        return RenderedSection(
            "cheap-looks", "Looks that cost no training", (), tuple(tables), reading=_READING
        )


def _energy(energy: DifferenceEnergy) -> ReportTable:
    first, *rest = energy.rows
    ordered = [first, *sorted(rest, key=lambda row: -row.relative_energy.estimate)]
    columns = ("capability", "author", "energy", "95 % interval", "prompts", "tokens")
    title = f"{energy.pair[1]} − {energy.pair[0]} at {energy.site}"
    return ReportTable(title, columns, tuple(_row(row) for row in ordered))


def _row(row: EnergyRow) -> tuple[str, ...]:
    found = row.relative_energy
    return (
        capability_title(row.capability) if row.capability else "all",
        row.author or "all",
        percent(found.estimate, 2),
        f"{percent(found.lower, 2)} to {percent(found.upper, 2)}",
        f"{row.n_prompts:,}",
        f"{row.n_tokens:,}",
    )


def _controls(controls: tuple[SimpleControl, ...]) -> ReportTable:
    names = tuple(dict.fromkeys(control.control for control in controls))
    found = {(control.capability, control.control): control for control in controls}
    rows = []
    for key in dict.fromkeys(control.capability for control in controls):
        own = [found.get((key, name)) for name in names]
        n_prompts = max(control.n_test_prompts for control in own if control is not None)
        rows.append((capability_title(key), *(_auroc(control) for control in own), str(n_prompts)))
    columns = ("capability", *(_CONTROLS.get(name, name) for name in names), "prompts")
    note = "AUROC with its 95 % interval on the label-test split; 0.5 is chance."
    return ReportTable("Simple controls", columns, tuple(rows), note)


def _auroc(control: SimpleControl | None) -> str:
    if control is None:
        return ABSENT
    found = control.auroc
    return f"{number(found.estimate, 2)} ({number(found.lower, 2)} to {number(found.upper, 2)})"
