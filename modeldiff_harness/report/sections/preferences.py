"""Section `preferences`: raw = style + substance (+ dispersion)."""

from __future__ import annotations

from modeldiff_harness.artifacts import Estimate, PreferencesReport, Report
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

__all__ = ["PreferencesSection", "render_preferences"]

_CHOICES = {
    "both_bad_dropped": "votes that both are bad dropped",
    "direct_battles_only": "battles between these two only",
    "missing_as_ties": "missing verdicts as ties",
    "ties_dropped": "ties dropped",
}


class PreferencesSection:
    """Raw = substance + style + dispersion, in Elo."""

    name, order = "preferences", 400

    def render(self, report: Report) -> RenderedSection:
        """Return the split in Elo, the style features, the capabilities and the flags."""
        return render_preferences(report.preferences, "Preferences")


def render_preferences(section: PreferencesReport, title: str) -> RenderedSection:
    """Return the section of one pair's preferences under `title`."""
    if section.status != "measured":
        text = (f"Not measured: {ended(section.reason)}",)
        return RenderedSection("preferences", title, text)
    tables = [_split(section)]
    if section.style_effects:
        tables.append(_features(section))
    if section.categories:
        tables.append(_categories(section))
    if section.sensitivity:
        tables.append(_sensitivity(section))
    if section.dropped:
        dropped = tuple((reason, f"{n:,}") for reason, n in sorted(section.dropped.items()))
        tables.append(ReportTable("Rows not used", ("reason", "rows"), dropped, collapsed=True))
    bar = preference_bar(section)
    features = section.feature_set or "none measured"
    reading = (
        f"Raw is the preference as judged. Style is what the measured style differences "
        f"({features}) would give by themselves, substance what is left at equal measured style, "
        "dispersion what the non-linear scale adds: raw = substance + style + dispersion."
    )
    return RenderedSection(
        "preferences",
        title,
        _text(section),
        tuple(tables),
        (bar,) if bar else (),
        reading=(reading,),
    )


def _text(section: PreferencesReport) -> tuple[str, ...]:
    among = ""
    if section.n_models > 2:
        among = f" of {section.n_models} models, {section.n_direct:,} between these two,"
    facts = (
        f"{section.n_battles:,} comparisons{among} on {section.n_prompts:,} prompts by judge "
        f"{section.judge} ({section.judge_kind}); ties {percent(section.tie_rate)}; "
        f"{section.n_invalid:,} verdicts missing."
    )
    if section.win_rate is not None:
        win = section.win_rate
        facts += (
            f" The candidate wins {percent(win.estimate, 1)} "
            f"({percent(win.lower, 1)} to {percent(win.upper, 1)}), ties half."
        )
    if section.position_elo is not None:
        facts += f" Being shown first is worth {with_interval(section.position_elo)} Elo."
    if section.dropped:
        facts += f" {sum(section.dropped.values()):,} rows were not used."
    flags = [f"Note: {ended(describe_flag(flag))}" for flag in section.flags]
    gate = "" if section.gateable else "Not gateable."
    return tuple(text for text in (section.sentence, facts, *flags, gate) if text)


def _split(section: PreferencesReport) -> ReportTable:
    parts = (
        ("raw", section.raw_elo, section.raw_points),
        ("substance", section.substance_elo, section.substance_points),
        ("style", section.style_elo, section.style_points),
        ("dispersion", section.dispersion_elo, section.dispersion_points),
    )
    rows = tuple(
        (name, signed(part.estimate, 0), interval(part.lower, part.upper, 0), _points(points))
        if part is not None
        else (name, "not separated", "", "")
        for name, part, points in parts
    )
    tones = tuple(_tone(part) if name != "dispersion" else "muted" for name, part, _ in parts)
    columns = ("part", "Elo", "95 % interval", "win-rate points")
    return ReportTable("Elo, candidate − baseline", columns, rows, tones=tones)


def _points(part: Estimate | None) -> str:
    return "" if part is None else with_interval(part, 1)


def _sensitivity(section: PreferencesReport) -> ReportTable:
    rows = tuple(
        (
            _CHOICES.get(name, name.replace("_", " ")),
            with_interval(raw),
            with_interval(section.sensitivity_substance.get(name)),
        )
        for name, raw in sorted(section.sensitivity.items())
    )
    columns = ("choice", "raw Elo", "substance Elo")
    return ReportTable("Under other choices", columns, rows, collapsed=True)


def _tone(part: Estimate | None) -> str:
    if part is None:
        return "muted"
    return "good" if part.lower > 0 else "bad" if part.upper < 0 else ""


def _features(section: PreferencesReport) -> ReportTable:
    rows = tuple(
        (
            effect.feature,
            signed(effect.elo.estimate, 0),
            interval(effect.elo.lower, effect.elo.upper, 0),
            signed(effect.mean_shift, 3),
            signed(effect.coefficient, 3),
            signed(effect.per_unit, 3),
            number(effect.vif, 1),
        )
        for effect in section.style_effects
    )
    columns = (
        "style feature",
        "Elo",
        "95 % interval",
        "mean shift",
        "log-odds per RMS",
        "log-odds per unit",
        "VIF",
    )
    note = "Mean shift: mean of the normalised difference, candidate − baseline."
    return ReportTable("Style by feature", columns, rows, note, collapsed=True)


def _categories(section: PreferencesReport) -> ReportTable:
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
    note = "Grey: fewer than 100 prompts. Rows may overlap and do not add up."
    if section.n_models > 2:
        note += " Of the battles between these two, with the style effects of all."
    if section.heterogeneity_p is not None:
        # The one test of all rows comes before any single row.
        alike = f"Test that all rows are alike: p = {number(section.heterogeneity_p)}. "
        note = (alike if section.heterogeneity_p < 0.05 else f"{alike}No row stands out. ") + note
    return ReportTable("By capability", columns, tuple(rows), note, tuple(tones))
