"""Section `benchmarks`: the forest of deltas."""

from __future__ import annotations

from modeldiff_harness.artifacts import AnswerFaults, BenchmarkRow, BenchmarksReport, Report
from modeldiff_harness.contracts import RenderedSection, ReportTable
from modeldiff_harness.report.figures import forest_plot
from modeldiff_harness.report.wording import (
    ABSENT,
    FAULT_COLUMNS,
    capability_title,
    ended,
    fault_cells,
    filtered,
    interval,
    number,
    probability,
    signed,
    tone_of,
)

__all__ = ["BenchmarksSection"]

_COLUMNS = (
    "task",
    "Δ",
    "95 % interval",
    "q",
    "MDE",
    "n",
    "baseline",
    "candidate",
    "fixed / broken",
    "metric",
    "capability",
)
_DETAIL_COLUMNS = (
    "task",
    "metric",
    "Δ",
    "95 % interval",
    "p",
    "exact p",
    "q",
    "both right / both wrong",
    "paired se",
    "simultaneous interval",
    "effect",
    "clusters",
    "unpaired se, baseline",
    "unpaired se, candidate",
    "unmatched",
    "few-shot",
    "version",
    "method",
)
_READING = (
    "Both models answered the same items; intervals and tests are paired by item. Colour: q < "
    "0.05, Benjamini–Hochberg over the tasks. MDE: the smallest difference that this n shows with "
    "80 % power. Fixed / broken: items gained / lost."
)


class BenchmarksSection:
    """Deltas by task with intervals and tests."""

    name, order = "benchmarks", 300

    def render(self, report: Report) -> RenderedSection:
        """Return one row a task for its primary metric; the other metrics are collapsed."""
        section = report.benchmarks
        if section.status != "measured":
            text = (f"Not measured: {ended(section.reason)}",)
            return RenderedSection("benchmarks", "Benchmarks", text, _failures(section))
        primary = tuple(row for row in section.rows if row.primary)
        tables = []
        if primary:
            tables.append(
                ReportTable(
                    "Deltas by task",
                    _COLUMNS,
                    tuple(_cells(row) for row in primary),
                    "↓ after a task: lower is better."
                    if any(not r.higher_is_better for r in primary)
                    else "",
                    tuple(tone_of(row) for row in primary),
                )
            )
        tables += _failures(section)
        title = "All metrics, with tests and errors"
        details = tuple(_details(row) for row in section.rows)
        tables.append(ReportTable(title, _DETAIL_COLUMNS, details, collapsed=True))
        tables += [*_noise(section), *_alignments(section), *_faults(section)]
        figure = forest_plot(primary)
        return RenderedSection(
            "benchmarks",
            "Benchmarks",
            _text(section),
            tuple(tables),
            (figure,) if figure else (),
            reading=(_READING,),
        )


def _text(section: BenchmarksReport) -> tuple[str, ...]:
    limit = ""
    if section.limit is not None:
        limit = f"Limited to {section.limit:g} items a task: smoke, not gateable."
        if section.limit < 1:
            limit = f"Limited to {100 * section.limit:g} % of the items: smoke, not gateable."
    differing = sorted({row.task for row in section.rows if row.prompts_differ})
    prompts = f"The models saw different prompts in: {', '.join(differing)}." if differing else ""
    return tuple(text for text in (limit, prompts, *section.notes) if text)


def _cells(row: BenchmarkRow) -> tuple[str, ...]:
    counts = row.counts
    flipped = ABSENT if counts is None else f"{counts.fixed:,} / {counts.broken:,}"
    return (
        row.task + ("" if row.higher_is_better else " ↓"),
        signed(row.delta),
        interval(row.lower, row.upper),
        probability(row.q),
        number(row.mde),
        f"{row.n:,}",
        number(row.baseline),
        number(row.candidate),
        flipped,
        _metric(row),
        capability_title(row.capability),
    )


def _details(row: BenchmarkRow) -> tuple[str, ...]:
    counts, together, clusters = row.counts, row.simultaneous, row.clusters
    return (
        row.task,
        _metric(row),
        signed(row.delta, 4),
        interval(row.lower, row.upper, 4),
        probability(row.p),
        probability(row.p_exact),
        probability(row.q),
        ABSENT if counts is None else f"{counts.both_right:,} / {counts.both_wrong:,}",
        number(row.se, 4),
        ABSENT if together is None else interval(together.lower, together.upper, 4),
        ABSENT if row.effect is None else f"{signed(row.effect.size)} {row.effect.name}",
        ABSENT if clusters is None else f"{clusters.n:,} by {clusters.key or 'item'}",
        number(row.unpaired.baseline, 4),
        number(row.unpaired.candidate, 4),
        f"{row.n_unmatched:,}",
        ABSENT if row.num_fewshot is None else str(row.num_fewshot),
        row.version,
        row.method,
    )


def _noise(section: BenchmarksReport) -> list[ReportTable]:
    """Beside every delta what two runs of the baseline alone differ by."""
    rows = [(row, row.noise) for row in section.rows if row.noise is not None]
    if not rows:
        return []
    cells = tuple(
        (
            row.task,
            _metric(row),
            signed(row.delta, 4),
            number(row.se, 4),
            number(noise.se, 4),
            ABSENT if noise.flip_rate is None else f"{100 * noise.flip_rate:.1f} %",
            str(noise.n_reruns),
        )
        for row, noise in rows
    )
    columns = ("task", "metric", "Δ", "paired se", "noise se", "items that flip", "reruns")
    note = (
        "Reruns of the baseline with another batch size and, for sampled answers, another seed. "
        "Noise se: standard error of the difference of two such runs; the gate adds it."
    )
    return [ReportTable("Noise floor", columns, cells, note)]


def _alignments(section: BenchmarksReport) -> list[ReportTable]:
    """Tasks whose items are not all paired as they stand."""
    found = [
        one
        for one in section.alignments
        if one.n_only_baseline + one.n_only_candidate + one.n_changed + one.n_duplicates
        or one.n_not_numbers
    ]
    if not found:
        return []
    cells = tuple(
        (
            filtered(one.task, one.filter),
            f"{one.n_paired:,}",
            f"{one.n_only_baseline:,}",
            f"{one.n_only_candidate:,}",
            f"{one.n_changed:,}",
            f"{one.n_duplicates:,}",
            f"{one.n_not_numbers:,}",
            "; ".join(one.named),
        )
        for one in found
    )
    columns = (
        "task", "paired", "only baseline", "only candidate", "changed", "repeated rows",
        "without a number", "which",
    )  # fmt: skip
    return [ReportTable("Items that are not compared", columns, cells, collapsed=True)]


def _faults(section: BenchmarksReport) -> list[ReportTable]:
    """Answers that were not extracted, truncated, refused or failed, by model."""
    told = {(one.task, one.filter) for one in section.answer_faults if _is_faulty(one)}
    if not told:
        return []
    cells = tuple(
        fault_cells(one) for one in section.answer_faults if (one.task, one.filter) in told
    )
    note = f"{ABSENT}: not recorded, which is not zero. They are scored as the task scores them."
    return [ReportTable("Answers that say little", FAULT_COLUMNS, cells, note)]


def _is_faulty(one: AnswerFaults) -> bool:
    return any((one.n_not_extracted, one.n_empty, one.n_truncated, one.n_refused, one.n_errors))


def _metric(row: BenchmarkRow) -> str:
    return filtered(row.metric, row.filter)


def _failures(section: BenchmarksReport) -> tuple[ReportTable, ...]:
    if not section.failures:
        return ()
    rows = tuple((failure.task, failure.reason) for failure in section.failures)
    return (ReportTable("Tasks that failed", ("task", "reason"), rows, tones=("bad",) * len(rows)),)
