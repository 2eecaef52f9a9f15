"""The long version of the demo: both designs, three seeds, and what was found of what was planted.

    python docs/showcase/showcase.py --output build/showcase

Writes a report a design and README.md with the table of planted behaviours.  Everything is stored:
a broken-off run continues by the same command.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import DictionaryReport, LatentReport, Report
from modeldiff_harness.cli.progress import console_progress
from modeldiff_harness.pipeline import evaluate
from modeldiff_harness.store import write_atomically

__all__ = ["DESIGNS", "PLANTED", "findings", "showcase_page"]

PAIR = ("smollm2-sft", "smollm2-simpo")
DESIGNS = ("direct", "via-base")
RULES = ("published", "calibrated", "above_null")
PLANTED = {
    "markdown_formatting": "up",
    "structured_output": "up",
    "template_following": "up",
    "refusal": "up",
    "multilingual": "up",
    "self_reference": "down",
    "uncertainty_expression": "down",
}
"""What SimPO was trained to do more or less of (see the model card of smollm2-simpo)."""


@dataclass(frozen=True)
class Finding:
    """One planted behaviour in one design under one rule."""

    behaviour: str
    rule: str
    seeds_found: int
    """Dictionaries' seeds with at least one confirmed latent of this category."""
    n_seeds: int
    n_candidate: int
    """Confirmed latents of the candidate with this category, all seeds."""
    n_baseline: int
    n_null: int | None
    """The same category among the null run's flagged latents, all seeds; None where not defined."""
    best: LatentReport | None
    """The confirmed latent of best rank."""


def findings(report: Report) -> list[Finding]:
    """Return what each rule shows of each planted behaviour, over all seeds of one report."""
    seeds = {d.dictionary_id: d.replicate for d in report.latents.dictionaries}
    n_seeds = len(set(seeds.values()))
    rows = []
    for behaviour in PLANTED:
        for rule in RULES:
            own = [
                latent
                for latent in report.latents.latents
                if latent.category == behaviour
                and latent.owners.get(rule) in ("candidate", "baseline")
            ]
            rows.append(
                Finding(
                    behaviour=behaviour,
                    rule=rule,
                    seeds_found=len({seeds[latent.dictionary_id] for latent in own}),
                    n_seeds=n_seeds,
                    n_candidate=sum(x.owners[rule] == "candidate" for x in own),
                    n_baseline=sum(x.owners[rule] == "baseline" for x in own),
                    n_null=_in_null(report.latents.dictionaries, rule, behaviour),
                    best=min(own, key=lambda latent: latent.rank, default=None),
                )
            )
    return rows


def _in_null(dictionaries: Sequence[DictionaryReport], rule: str, behaviour: str) -> int | None:
    known = [d.null_categories[rule] for d in dictionaries if rule in d.null_categories]
    return sum(counts.get(behaviour, 0) for counts in known) if known else None


def showcase_page(reports: dict[str, Report]) -> str:
    """Return README.md: per design and rule, what was found and what was not."""
    lines = [
        "# Showcase: what the latents of smollm2-simpo show",
        "",
        "Made by `make showcase`.  Every latent counted here carries a category that was",
        "confirmed on held-out prompts.  Rank 1 lies farthest from the shared mode; ν near 0 means",
        "that the other model lacks the latent.  The null column counts the same category among",
        "the latents that the rule flags in a run where nothing meaningful changed.",
        "[How to read this](reading.md).",
        "",
    ]
    for design, report in reports.items():
        lines += [*_design_part(design, report), ""]
    first = next(iter(reports.values()))
    lines += [*_energy_part(first), "", *_controls_part(first), ""]
    return "\n".join(lines)


def _design_part(design: str, report: Report) -> list[str]:
    machine = ", ".join(f"{k} {v}" for k, v in report.provenance.machine.items())
    minutes = sum(stage.seconds for stage in report.provenance.stages) / 60
    took = f"all stages together {minutes:.0f} minutes, benchmarks and battles included"
    lines = [f"## Design `{design}`", "", f"{machine}; {took}.", ""]
    lines += [
        "| dictionary | FVE | FVE of the difference | L0 | dead | null scale | flagged (null) |"
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for d in report.latents.dictionaries:
        fve = ", ".join(f"{model} {value:.3f}" for model, value in d.fve.items())
        delta = ", ".join(f"{value:.3f}" for value in d.fve_delta.values())
        scale = "" if d.null_adapter_scale is None else f"{d.null_adapter_scale:.2f}"
        flagged = "; ".join(f"{rule} {_flagged(d, rule)}" for rule in RULES)
        lines.append(
            f"| `{d.dictionary_id}` | {fve} | {delta} | {d.l0:.1f} | {d.dead_fraction:.1%} "
            f"| {scale} | {flagged} |"
        )
    lines += [
        "",
        "| planted | direction | rule | seeds | candidate | baseline | null | best latent |",
    ]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for f in findings(report):
        null = "–" if f.n_null is None else str(f.n_null)
        seeds = f"{f.seeds_found}/{f.n_seeds}" if f.seeds_found else "**not found**"
        lines.append(
            f"| {f.behaviour} | {PLANTED[f.behaviour]} | {f.rule} | {seeds} | {f.n_candidate} "
            f"| {f.n_baseline} | {null} | {_best(f.best)} |"
        )
    return lines


def _flagged(dictionary: DictionaryReport, rule: str) -> str:
    if rule not in dictionary.counts:
        return "skipped"
    own = sum(dictionary.counts[rule][owner] for owner in ("candidate", "baseline"))
    if dictionary.null_counts is None or rule not in dictionary.null_counts:
        return str(own)
    null = sum(dictionary.null_counts[rule][owner] for owner in ("candidate", "baseline"))
    return f"{own} ({null})"


def _best(latent: LatentReport | None) -> str:
    if latent is None:
        return ""
    score = "" if latent.test_score is None else f", AUROC {latent.test_score.estimate:.2f}"
    nus = [
        f"{name} {value:.2f}"
        for name, value in (("ν_ε", latent.nu_eps), ("ν_r", latent.nu_r))
        if value is not None
    ]
    delta = "" if latent.delta_norm is None else f", Δnorm {latent.delta_norm:.2f}"
    return f"#{latent.id}, rank {latent.rank}{delta}, {', '.join(nus)}{score}"


def _energy_part(report: Report) -> list[str]:
    lines = ["## Difference energy: the look that costs no training", ""]
    lines += ["‖x^candidate − x^baseline‖² / ‖x^baseline‖² in percent, by author of the text.", ""]
    for energy in report.latents.difference_energy:
        authors = sorted({row.author for row in energy.rows if row.author and row.capability})
        lines += [f"| {energy.site} | " + " | ".join(authors) + " |"]
        lines += ["|---" * (len(authors) + 1) + "|"]
        for behaviour in PLANTED:
            cells = []
            for author in authors:
                found = [
                    row.relative_energy
                    for row in energy.rows
                    if row.capability == behaviour and row.author == author
                ]
                cells.append(f"{100 * found[0].estimate:.1f}" if found else "–")
            lines.append(f"| {behaviour} | " + " | ".join(cells) + " |")
    return lines


def _controls_part(report: Report) -> list[str]:
    lines = ["## Simple controls on the same held-out prompts (AUROC)", ""]
    names = sorted({row.control for row in report.latents.controls})
    lines += ["| planted | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for behaviour in PLANTED:
        cells = []
        for name in names:
            found = [
                row.auroc
                for row in report.latents.controls
                if row.control == name and row.capability == behaviour
            ]
            cells.append(
                f"{found[0].estimate:.2f} ({found[0].lower:.2f}–{found[0].upper:.2f})"
                if found
                else "–"
            )
        lines.append(f"| {behaviour} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Run both designs and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--preset", default="showcase")
    args = parser.parse_args()
    reports: dict[str, Report] = {}
    for design in DESIGNS:
        settings: dict[str, Any] = {"latents": {"design": design}, "runtime": {"offline": True}}
        reports[design] = evaluate(
            PAIR,
            preset=args.preset,
            output_path=args.output / design,
            progress=console_progress(),
            **settings,
        )
        write_atomically(args.output / "README.md", showcase_page(reports))


if __name__ == "__main__":
    main()
