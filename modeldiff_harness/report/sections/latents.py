"""Section `latents`: all rules side by side, the latents themselves, the dictionaries."""

from __future__ import annotations

from collections.abc import Mapping

from modeldiff_harness.artifacts import (
    Estimate,
    LatentReport,
    LatentsReport,
    Report,
)
from modeldiff_harness.contracts import ExampleGroup, RenderedSection, ReportTable
from modeldiff_harness.report.sections.dictionary_tables import (
    SPECIFIC,
    quality_table,
    rules_table,
    short_names,
)
from modeldiff_harness.report.wording import ABSENT, capability_title, ended, number

__all__ = ["LatentsSection"]

ROWS_SHOWN = 12
"""Latents of one model that stand open; the others follow in a closed table."""
EXAMPLES_SHOWN = 24
"""Latents whose token windows are shown; report.json has those of all."""

_READING = (
    "Labels were proposed on the score split and tested on documents the labeler never saw; "
    "without a passed test a latent is uninterpretable and stays in the totals. Rank 1 lies "
    "farthest from the shared latents.",
    "FVE: fraction of variance explained on held-out tokens; that of the difference is the one "
    "that matters here. Null scale: factor on the null twin's adapter that matched its "
    "difference energy.",
)


class LatentsSection:
    """Rules side by side, latents with labels and tests, examples."""

    name, order = "latents", 700

    def render(self, report: Report) -> RenderedSection:
        """Return counts by rule, quality, latents by owner with labels and tests, and examples."""
        section = report.latents
        if section.status != "measured":
            text = (f"Not measured: {ended(section.reason)}",)
            return RenderedSection("latents", "Latents", text)
        names = {"candidate": report.pair.candidate.name, "baseline": report.pair.baseline.name}
        if report.pair.base is not None:
            names["base"] = report.pair.base.name
        short = short_names(section.dictionaries)
        tables = [rules_table(section, short)]
        shown: list[LatentReport] = []
        for owner in SPECIFIC:
            own = [row for row in section.latents if row.owner == owner and not row.decoy]
            own.sort(key=lambda row: (row.category is None, row.rank, row.dictionary_id))
            shown += own
            tables += _owner_tables(
                f"Specific to {names.get(owner, owner)} ({owner})", own, section, short
            )
        elsewhere = [r for r in section.latents if r.owner not in SPECIFIC and not r.decoy]
        decoys = [row for row in section.latents if row.decoy]
        if elsewhere:
            title = f"Specific only under a rule other than {section.rule}"
            tables.append(_latents(title, elsewhere, section, short, collapsed=True))
        if decoys:
            title = "Decoys: shared latents that went through the same labelling"
            tables.append(_latents(title, decoys, section, short, collapsed=True))
        tables.append(quality_table(section, short))
        examples = tuple(_example(row) for row in shown if row.examples)[:EXAMPLES_SHOWN]
        return RenderedSection(
            "latents",
            "Latents",
            _text(section, decoys),
            tuple(tables),
            examples=examples,
            reading=_READING,
        )


def _text(section: LatentsReport, decoys: list[LatentReport]) -> tuple[str, ...]:
    authors = ", ".join(f"{name} {count:,}" for name, count in section.corpus_authors.items())
    corpus = f"Corpus: {section.n_corpus_tokens:,} tokens; documents by author: {authors}."
    labelled = sum(row.category is not None for row in decoys)
    checked = ""
    if decoys:
        checked = (
            f"{labelled} of {len(decoys)} decoys (shared latents labelled the same way) passed a "
            "label test."
        )
    return tuple(text for text in (corpus, _how_run(section), checked) if text)


def _how_run(section: LatentsReport) -> str:
    """Say how the activations were made; in full where models differ, and warn of bfloat16."""
    found = section.how_run
    if not found:
        return ""
    ways = sorted(set(found.values()))
    if len(ways) == 1:
        text = f"Activations: {ways[0]}."
    else:
        text = f"Activations: {'; '.join(f'{name} {how}' for name, how in found.items())}."
    if any(how.startswith(("bfloat16", "float16")) for how in ways):
        text += " Forward passes of half precision move single tokens by up to 25 %."
    return text


def _owner_tables(
    title: str, rows: list[LatentReport], section: LatentsReport, short: Mapping[str, str]
) -> list[ReportTable]:
    if not rows:
        return []
    tables = [_latents(f"{title}: {len(rows):,}", rows[:ROWS_SHOWN], section, short)]
    if len(rows) > ROWS_SHOWN:
        rest = rows[ROWS_SHOWN:]
        tables.append(
            _latents(f"{title}: {len(rest):,} more", rest, section, short, collapsed=True)
        )
    return tables


def _latents(
    title: str,
    rows: list[LatentReport],
    section: LatentsReport,
    short: Mapping[str, str],
    *,
    collapsed: bool = False,
) -> ReportTable:
    several = len({row.dictionary_id for row in rows}) > 1
    columns = ["latent", "label", "category", "test AUROC", "Δnorm", "ν_ε", "ν_r", "rank", "tokens"]
    columns += ["rules", *section.extra_columns]
    columns += ["dictionary"] if several else []
    cells = []
    for row in rows:
        line = [
            str(row.id),
            row.label or row.reason or ABSENT,
            capability_title(row.category) if row.category else "uninterpretable",
            _test(row.test_metric, row.test_score),
            number(row.delta_norm),
            number(row.nu_eps, 2),
            number(row.nu_r, 2),
            str(row.rank) if row.rank else ABSENT,
            f"{row.n_active_tokens:,}",
            _rules_of(row),
            *(number(row.columns.get(name)) for name in section.extra_columns),
        ]
        cells.append(tuple([*line, short[row.dictionary_id]] if several else line))
    tones = tuple("muted" if row.category is None else "" for row in rows)
    note = "; ".join(f"{name}: {meaning}" for name, meaning in section.extra_columns.items())
    return ReportTable(title, tuple(columns), tuple(cells), note, tones, collapsed)


def _rules_of(row: LatentReport) -> str:
    """Return the rules that give this latent to a model."""
    return ", ".join(rule for rule, owner in row.owners.items() if owner in SPECIFIC) or ABSENT


def _test(metric: str, score: Estimate | None) -> str:
    if score is None:
        return ABSENT
    name = "" if metric == "auroc" else f"{metric} "
    ends = f"{number(score.lower, 2)} to {number(score.upper, 2)}"
    return f"{name}{number(score.estimate, 2)} ({ends})"


def _example(row: LatentReport) -> ExampleGroup:
    label = row.label or row.reason or "no label"
    return ExampleGroup(f"{row.owner} latent {row.id}: {label}", row.examples)
