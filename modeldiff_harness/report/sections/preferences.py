"""Section `preferences`: raw = style + substance (+ dispersion)."""

from __future__ import annotations

from modeldiff_harness.artifacts import Estimate, PreferenceDeltas, Report
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
        arm, title = report.preferences, "Preferences"
        if arm.deltas is None:
            return RenderedSection("preferences", title, (f"Not measured: {ended(arm.reason)}",))
        return render_preferences(arm.deltas, title)


def render_preferences(deltas: PreferenceDeltas, title: str) -> RenderedSection:
    """Return the section of one pair's preferences under `title`."""
    tables = [_split(deltas)]
    if deltas.style_effects:
        tables.append(_features(deltas))
    if deltas.categories:
        tables.append(_categories(deltas))
    if deltas.sensitivity:
        tables.append(_sensitivity(deltas))
    if deltas.dropped:
        dropped = tuple((reason, f"{n:,}") for reason, n in sorted(deltas.dropped.items()))
        tables.append(ReportTable("Rows not used", ("reason", "rows"), dropped, collapsed=True))
    features = deltas.feature_set
    reading = (
        f"Raw is the preference as judged. Style is what the measured style differences "
        f"({features}) would give by themselves, substance what is left at equal measured style, "
        "dispersion what the non-linear scale adds: raw = substance + style + dispersion."
    )
    return RenderedSection(
        "preferences",
        title,
        _text(deltas),
        tuple(tables),
        (preference_bar(deltas),),
        reading=(reading,),
    )


def _text(deltas: PreferenceDeltas) -> tuple[str, ...]:
    among, win = "", deltas.win_rate
    if deltas.n_models > 2:
        among = f" of {deltas.n_models} models, {deltas.n_direct:,} between these two,"
    facts = (
        f"{deltas.n_battles:,} comparisons{among} on {deltas.n_prompts:,} prompts by judge "
        f"{deltas.judge} ({deltas.judge_kind}); ties {percent(deltas.tie_rate)}; "
        f"{deltas.n_invalid:,} verdicts missing. The candidate wins {percent(win.estimate, 1)} "
        f"({percent(win.lower, 1)} to {percent(win.upper, 1)}), ties half."
    )
    if deltas.position_elo is not None:
        facts += f" Being shown first is worth {with_interval(deltas.position_elo)} Elo."
    if deltas.dropped:
        facts += f" {sum(deltas.dropped.values()):,} rows were not used."
    flags = [f"Note: {ended(describe_flag(flag))}" for flag in deltas.flags]
    gate = "" if deltas.gateable else "Not gateable."
    return tuple(text for text in (deltas.sentence, facts, *flags, gate) if text)


def _split(deltas: PreferenceDeltas) -> ReportTable:
    parts = (
        ("raw", deltas.raw_elo, deltas.raw_points),
        ("substance", deltas.substance_elo, deltas.substance_points),
        ("style", deltas.style_elo, deltas.style_points),
        ("dispersion", deltas.dispersion_elo, deltas.dispersion_points),
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


def _sensitivity(deltas: PreferenceDeltas) -> ReportTable:
    rows = tuple(
        (
            _CHOICES.get(name, name.replace("_", " ")),
            with_interval(raw),
            with_interval(deltas.sensitivity_substance.get(name)),
        )
        for name, raw in sorted(deltas.sensitivity.items())
    )
    columns = ("choice", "raw Elo", "substance Elo")
    return ReportTable("Under other choices", columns, rows, collapsed=True)


def _tone(part: Estimate | None) -> str:
    if part is None:
        return "muted"
    return "good" if part.lower > 0 else "bad" if part.upper < 0 else ""


def _features(deltas: PreferenceDeltas) -> ReportTable:
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
        for effect in deltas.style_effects
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


_UNDECIDED = "The rows are not shown to differ; nor are they shown to be alike."


def _categories(deltas: PreferenceDeltas) -> ReportTable:
    rows, tones = [], []
    for row in deltas.categories:
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
    if deltas.n_models > 2:
        note += " Of the battles between these two, with the style effects of all."
    if deltas.heterogeneity_p is not None:
        # The one test of all rows comes before any single row.
        alike = f"Test that all rows are alike: p = {number(deltas.heterogeneity_p)}. "
        note = (alike if deltas.heterogeneity_p < 0.05 else f"{alike}{_UNDECIDED} ") + note
    return ReportTable("By capability", columns, tuple(rows), note, tuple(tones))
