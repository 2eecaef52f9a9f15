"""Sections `benchmarks` (the forest of deltas) and `items` (what was lost and gained)."""

from __future__ import annotations

from modeldiff_harness.artifacts import BenchmarkItem, BenchmarkRow, BenchmarksSection, Report
from modeldiff_harness.contracts import RenderedSection, ReportTable
from modeldiff_harness.report.figures import forest_plot
from modeldiff_harness.report.wording import (
    ABSENT,
    capability_title,
    interval,
    number,
    probability,
    signed,
)

__all__ = ["render", "render_items"]

_COLUMNS = (
    "task",
    "Δ",
    "95 % interval",
    "q",
    "baseline",
    "candidate",
    "n",
    "fixed / broken",
    "MDE",
    "metric",
    "p",
    "capability",
    "paired se",
    "method",
)
_LONGEST_RESPONSE = 240


def render(report: Report) -> RenderedSection:
    """Return one row a task for its primary metric; the other metrics are collapsed."""
    section = report.benchmarks
    if section.status != "measured":
        text = (f"Not measured: {section.reason}.",)
        return RenderedSection("benchmarks", "Benchmarks", text, _failures(section))
    primary = tuple(row for row in section.rows if row.primary)
    others = tuple(row for row in section.rows if not row.primary)
    tables = []
    if primary:
        note = (
            "Green and red: q < 0.05 (Benjamini–Hochberg over the tasks). MDE: smallest difference "
            "that this n shows with 80 % power. Fixed / broken: items gained / lost."
        )
        tables.append(
            ReportTable(
                "Deltas by task",
                _COLUMNS,
                tuple(_cells(row) for row in primary),
                note,
                tuple(_tone(row) for row in primary),
            )
        )
    if others:
        tables.append(
            ReportTable(
                "Other metrics", _COLUMNS, tuple(_cells(row) for row in others), collapsed=True
            )
        )
    figures = (forest_plot(primary),) if primary else ()
    return RenderedSection(
        "benchmarks", "Benchmarks", _text(section), (*tables, *_failures(section)), figures
    )


def _text(section: BenchmarksSection) -> tuple[str, ...]:
    paired = "Both models answered the same items; intervals and tests are paired by item."
    limit = ""
    if section.limit is not None:
        limit = f"Limited to {section.limit:g} items a task: smoke, not gateable."
        if section.limit < 1:
            limit = f"Limited to {100 * section.limit:g} % of the items: smoke, not gateable."
    differing = sorted({row.task for row in section.rows if row.prompts_differ})
    prompts = f"The models saw different prompts in: {', '.join(differing)}." if differing else ""
    return tuple(text for text in (paired, limit, prompts, *section.notes) if text)


def _cells(row: BenchmarkRow) -> tuple[str, ...]:
    arrow = "" if row.higher_is_better else " ↓"
    metric = row.metric if row.filter in ("", "none") else f"{row.metric}, {row.filter}"
    flipped = ABSENT if row.fixed is None else f"{row.fixed:,} / {row.broken or 0:,}"
    return (
        row.task,
        signed(row.delta) + arrow,
        interval(row.lower, row.upper),
        probability(row.q),
        number(row.baseline),
        number(row.candidate),
        f"{row.n:,}",
        flipped,
        number(row.mde),
        metric,
        probability(row.p),
        capability_title(row.capability),
        number(row.se, 4),
        row.method,
    )


def _tone(row: BenchmarkRow) -> str:
    if row.q is None or row.q >= 0.05 or row.delta == 0:
        return ""
    return "good" if (row.delta > 0) == row.higher_is_better else "bad"


def _failures(section: BenchmarksSection) -> tuple[ReportTable, ...]:
    if not section.failures:
        return ()
    rows = tuple((failure.task, failure.reason) for failure in section.failures)
    return (ReportTable("Tasks that failed", ("task", "reason"), rows, tones=("bad",) * len(rows)),)


def render_items(report: Report) -> RenderedSection | None:
    """Return a few items a task that the candidate lost or gained."""
    section = report.benchmarks
    if not section.flipped:
        return None
    better = {(r.task, r.metric, r.filter): r.higher_is_better for r in section.rows}
    tables = []
    for task in dict.fromkeys(item.task for item in section.flipped):
        items = [item for item in section.flipped if item.task == task]
        marked = [(_gained(item, better), item) for item in items]
        marked.sort(key=lambda pair: pair[0])
        tables.append(
            ReportTable(
                task,
                ("change", "item", "target", "baseline's answer", "candidate's answer", "prompt"),
                tuple(_item(gained, item) for gained, item in marked),
                tones=tuple("good" if gained else "bad" for gained, _ in marked),
                collapsed=True,
            )
        )
    text = "At most five of each a task, losses first; the store keeps every item."
    return RenderedSection("items", "Items lost and gained", (text,), tuple(tables))


def _gained(item: BenchmarkItem, better: dict[tuple[str, str, str], bool]) -> bool:
    rises = item.candidate > item.baseline
    return rises == better.get((item.task, item.metric, item.filter), True)


def _item(gained: bool, item: BenchmarkItem) -> tuple[str, ...]:
    return (
        "gained" if gained else "lost",
        str(item.doc_id),
        _short(item.target),
        _short(item.baseline_response),
        _short(item.candidate_response),
        _short(item.prompt),
    )


def _short(text: str) -> str:
    """Shorten in the middle: the end of a prompt holds the question."""
    if len(text) <= _LONGEST_RESPONSE:
        return text
    half = _LONGEST_RESPONSE // 2
    return f"{text[:half]} […] {text[-half:]}"
