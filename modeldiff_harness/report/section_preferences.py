"""Section `preferences`: raw = style + substance (+ dispersion)."""

from __future__ import annotations

from modeldiff_harness.artifacts import Estimate, PreferencesSection, Report
from modeldiff_harness.contracts import RenderedSection, ReportTable
from modeldiff_harness.preferences.flags import describe_flag
from modeldiff_harness.report.figures import preference_bar
from modeldiff_harness.report.wording import (
    capability_title,
    ended,
    interval,
    number,
    percent,
    probability,
    signed,
    with_interval,
)

__all__ = ["render"]


def render(report: Report) -> RenderedSection:
    """Return the split in Elo, the style features, the capabilities and the flags."""
    section = report.preferences
    if section.status != "measured":
        text = (f"Not measured: {ended(section.reason)}",)
        return RenderedSection("preferences", "Preferences", text)
    tables = [_split(section)]
    if section.style_effects:
        tables.append(_features(section))
    if section.categories:
        tables.append(_categories(section))
    if section.sensitivity:
        rows = tuple((name, with_interval(e)) for name, e in sorted(section.sensitivity.items()))
        tables.append(
            ReportTable("Raw Elo under other choices", ("choice", "Elo"), rows, collapsed=True)
        )
    bar = preference_bar(section)
    features = section.feature_set or "none measured"
    reading = (
        f"Raw is the preference as judged. Style is what the measured style differences "
        f"({features}) would give by themselves, substance what is left at equal measured style, "
        "dispersion what the non-linear scale adds: raw = substance + style + dispersion."
    )
    return RenderedSection(
        "preferences",
        "Preferences",
        _text(section),
        tuple(tables),
        (bar,) if bar else (),
        reading=(reading,),
    )


def _text(section: PreferencesSection) -> tuple[str, ...]:
    facts = (
        f"{section.n_battles:,} comparisons of {section.n_prompts:,} prompts by judge "
        f"{section.judge} ({section.judge_kind}); ties {percent(section.tie_rate)}; "
        f"{section.n_invalid:,} verdicts missing."
    )
    if section.win_rate is not None:
        win = section.win_rate
        facts += (
            f" The candidate wins {percent(win.estimate, 1)} "
            f"({percent(win.lower, 1)} to {percent(win.upper, 1)}), ties half."
        )
    flags = [f"Note: {ended(describe_flag(flag))}" for flag in section.flags]
    gate = "" if section.gateable else "Not gateable."
    return tuple(text for text in (facts, *flags, gate) if text)


def _split(section: PreferencesSection) -> ReportTable:
    parts = (
        ("raw", section.raw_elo),
        ("substance", section.substance_elo),
        ("style", section.style_elo),
        ("dispersion", section.dispersion_elo),
    )
    rows = tuple(
        (name, signed(part.estimate, 0), interval(part.lower, part.upper, 0))
        if part is not None
        else (name, "not separated", "")
        for name, part in parts
    )
    tones = tuple(_tone(part) if name != "dispersion" else "muted" for name, part in parts)
    return ReportTable(
        "Elo, candidate − baseline", ("part", "Elo", "95 % interval"), rows, tones=tones
    )


def _tone(part: Estimate | None) -> str:
    if part is None:
        return "muted"
    return "good" if part.lower > 0 else "bad" if part.upper < 0 else ""


def _features(section: PreferencesSection) -> ReportTable:
    rows = tuple(
        (
            effect.feature,
            signed(effect.elo.estimate, 0),
            interval(effect.elo.lower, effect.elo.upper, 0),
            signed(effect.mean_shift, 3),
            signed(effect.coefficient, 3),
        )
        for effect in section.style_effects
    )
    columns = ("style feature", "Elo", "95 % interval", "mean shift", "log-odds per RMS")
    note = "Mean shift: normalised difference (a − b)/(a + b + 1), candidate − baseline."
    return ReportTable("Style by feature", columns, rows, note, collapsed=True)


def _categories(section: PreferencesSection) -> ReportTable:
    rows, tones = [], []
    for row in section.categories:
        best = row.substance_elo or row.raw_elo
        rows.append(
            (
                capability_title(row.capability),
                with_interval(row.substance_elo),
                with_interval(row.raw_elo),
                f"{row.n_prompts:,}",
                probability(row.q_value),
                percent(row.tie_rate),
            )
        )
        tones.append("muted" if row.few else _tone(best))
    columns = ("capability", "substance Elo", "raw Elo", "prompts", "q", "ties")
    note = "Grey: fewer than 100 prompts. Rows do not add up."
    if section.heterogeneity_p is not None:
        note += f" Test that all capabilities are alike: p = {number(section.heterogeneity_p)}."
    return ReportTable("By capability", columns, tuple(rows), note, tuple(tones))
