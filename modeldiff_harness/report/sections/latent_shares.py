"""Section `latent-shares`: which capabilities the model-specific latents are about."""

from __future__ import annotations

from modeldiff_harness.artifacts import CapabilityProfile, ProfileRow, Report
from modeldiff_harness.contracts import RenderedSection, ReportTable
from modeldiff_harness.report.figures import share_chart
from modeldiff_harness.report.wording import (
    ABSENT,
    capability_title,
    class_title,
    ended,
    interval,
    percent,
    probability,
    signed,
)

__all__ = ["LatentSharesSection"]

_COUNTS = "Counts: candidate : baseline. Grey: inside the null band."
_READING = (
    "Shares of each model's own specific latents. A share of model-specific latents labelled X is "
    "emphasis, not ability in X. Differences inside the null band also appear between two "
    "trainings of one recipe. q: Benjamini–Hochberg within the level."
)


class LatentSharesSection:
    """Capabilities of the specific latents, with the null band."""

    name, order = "latent-shares", 500

    def render(self, report: Report) -> RenderedSection:
        """Return the shares by class and capability with the null twin's band; exploratory."""
        section = report.latents
        title = "What the specific latents are about"
        if section.status != "measured" or section.profile is None:
            text = (f"Not measured: {ended(section.reason or 'no profile')}",)
            return RenderedSection("latent-shares", title, text)
        profile = section.profile
        classes = tuple(row for row in profile.rows if row.level == "class" and _seen(row))
        capabilities = tuple(
            row for row in profile.rows if row.level == "capability" and _seen(row)
        )
        tables = []
        if capabilities:
            tables.append(_table("By capability", capabilities, profile))
        if classes:
            tables.append(_table("By class", classes, profile))
        chart = share_chart(capabilities)
        return RenderedSection(
            "latent-shares",
            title,
            _text(profile),
            tuple(tables),
            (chart,) if chart else (),
            reading=(_READING,),
        )


def _seen(row: ProfileRow) -> bool:
    return bool(row.comparison.n_baseline or row.comparison.n_candidate)


def _text(profile: CapabilityProfile) -> tuple[str, ...]:
    totals = next(
        ((r.comparison.total_candidate, r.comparison.total_baseline) for r in profile.rows), (0, 0)
    )
    unlabelled = ", ".join(
        f"{owner} {count:,}" for owner, count in sorted(profile.n_uninterpretable.items())
    )
    found = [
        f"Rule {profile.rule}: {totals[0]:,} latents specific to the candidate, {totals[1]:,} to "
        "the baseline; exploratory, never gating."
    ]
    if unlabelled:
        found.append(f"Uninterpretable, counted in the totals: {unlabelled}.")
    if not any(row.null_lower is not None for row in profile.rows):
        found.append("There is no null band: no null run was made, or it gave a model no latent.")
    return tuple(found)


def _table(title: str, rows: tuple[ProfileRow, ...], profile: CapabilityProfile) -> ReportTable:
    columns = ["capability" if title == "By capability" else "class"]
    columns += [
        "Δ share",
        "95 % interval",
        "null band",
        "counts",
        "q",
        "change of ratio",
        "by mass",
    ]
    if profile.sign_stability:
        columns.append("sign stability")
    cells = tuple(_cells(row, profile) for row in rows)
    tones = tuple(_tone(row) for row in rows)
    collapsed = title != "By capability"
    return ReportTable(title, tuple(columns), cells, _COUNTS, tones, collapsed)


def _cells(row: ProfileRow, profile: CapabilityProfile) -> tuple[str, ...]:
    counts = row.comparison
    difference, change = counts.share_difference, counts.relative_change_percent
    ratio = counts.suppressed or ABSENT
    if change is not None:
        ratio = f"{signed(change.estimate, 0)} % ({interval(change.lower, change.upper, 0)})"
    name = class_title(row.key) if row.level == "class" else capability_title(row.key)
    cells = [
        name,
        ABSENT if difference is None else signed(difference.estimate, 2),
        ABSENT if difference is None else interval(difference.lower, difference.upper, 2),
        interval(row.null_lower, row.null_upper, 2),
        f"{counts.n_candidate:,}/{counts.total_candidate:,} : "
        f"{counts.n_baseline:,}/{counts.total_baseline:,}",
        probability(counts.q_value),
        ratio,
        signed(row.mass_share_difference, 2),
    ]
    if profile.sign_stability:
        cells.append(percent(profile.sign_stability.get(row.key)))
    return tuple(cells)


def _tone(row: ProfileRow) -> str:
    """Muted when the difference lies inside the null band; a share is never good or bad."""
    difference = row.comparison.share_difference
    if difference is None or row.null_lower is None or row.null_upper is None:
        return ""
    return "muted" if row.null_lower <= difference.estimate <= row.null_upper else ""
