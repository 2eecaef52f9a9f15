"""The three sentences a reviewer reads first."""

from __future__ import annotations

from statistics import NormalDist

from modeldiff_harness.artifacts import (
    BenchmarkRow,
    BenchmarksSection,
    LatentsSection,
    PreferencesSection,
)

__all__ = ["summarise"]


def summarise(
    benchmarks: BenchmarksSection, preferences: PreferencesSection, latents: LatentsSection
) -> tuple[str, ...]:
    """Return the largest confirmed loss and gain, style's part of the preference, and the latents.

    The largest of many is biased, so losses and gains are confirmed by simultaneous intervals
    (Bonferroni over the primary rows).
    """
    return (*_losses_and_gains(benchmarks), _style(preferences), _latents(latents))


def _losses_and_gains(section: BenchmarksSection) -> tuple[str, ...]:
    if section.status != "measured":
        return (f"Benchmarks were not measured: {section.reason}.",)
    rows = [row for row in section.rows if row.primary]
    if not rows:
        return ("No benchmark gave a primary metric.",)
    z = NormalDist().inv_cdf(1 - 0.05 / (2 * len(rows)))
    widened = z / NormalDist().inv_cdf(0.975)
    gains = [(row, *_simultaneous(row, widened)) for row in rows]
    losses = sorted((g for g in gains if g[3] < 0), key=lambda g: g[1])
    wins = sorted((g for g in gains if g[2] > 0), key=lambda g: -g[1])
    note = f"simultaneous 95 % interval over {len(rows)} tasks"
    smoke = "" if section.gateable else " (limited run: smoke, not gateable)"
    lost = (
        f"Largest confirmed loss: {_told(losses[0])}, {note}{smoke}."
        if losses
        else f"No benchmark loss is confirmed ({note}){smoke}."
    )
    won = (
        f"Largest confirmed gain: {_told(wins[0])}, {note}{smoke}."
        if wins
        else f"No benchmark gain is confirmed ({note}){smoke}."
    )
    return lost, won


def _simultaneous(row: BenchmarkRow, widened: float) -> tuple[float, float, float]:
    """Return (delta, lower, upper), better = positive, with the interval widened about delta."""
    sign = 1.0 if row.higher_is_better else -1.0
    ends = sorted(
        sign * (row.delta + (end - row.delta) * widened) for end in (row.lower, row.upper)
    )
    return sign * row.delta, ends[0], ends[1]


def _told(found: tuple[BenchmarkRow, float, float, float]) -> str:
    row, delta, lower, upper = found
    return f"{row.task} {row.metric} {delta:+.3f} ({lower:+.3f} to {upper:+.3f}, n = {row.n:,})"


def _style(section: PreferencesSection) -> str:
    if section.status != "measured" or section.raw_elo is None:
        return f"Preferences were not measured: {section.reason or 'no estimate'}."
    raw = section.raw_elo
    start = (
        f"Preference ({section.judge}, {section.n_prompts:,} prompts): raw {raw.estimate:+.0f} Elo "
        f"({raw.lower:+.0f} to {raw.upper:+.0f})"
    )
    if section.substance_elo is None or section.style_elo is None:
        return f"{start}; how much of it is style could not be separated."
    substance, style = section.substance_elo, section.style_elo
    return (
        f"{start}, of which substance {substance.estimate:+.0f} "
        f"({substance.lower:+.0f} to {substance.upper:+.0f}) and style {style.estimate:+.0f} "
        f"({style.lower:+.0f} to {style.upper:+.0f})."
    )


def _latents(section: LatentsSection) -> str:
    if section.status != "measured":
        return f"Latents were not measured: {section.reason}."
    first = [d for d in section.dictionaries if d.replicate == 0]

    def count(rule: str, owner: str) -> int | None:
        if any(rule not in dictionary.counts for dictionary in first):
            return None
        return sum(dictionary.counts[rule][owner] for dictionary in first)

    parts = []
    for rule in dict.fromkeys(rule for d in first for rule in (*d.counts, *d.rules_skipped)):
        own, theirs = count(rule, "candidate"), count(rule, "baseline")
        parts.append(f"{rule} skipped" if own is None else f"{rule} {own} and {theirs}")
    return (
        "Latents specific to candidate and baseline (exploratory), by rule: "
        + "; ".join(parts)
        + "."
    )
