"""Items lost and gained as text, Markdown and plain data: every prompt with both answers."""

from __future__ import annotations

from typing import Any

from modeldiff_harness.artifacts import BenchmarkItem
from modeldiff_harness.artifacts.codec import to_plain
from modeldiff_harness.benchmarks.flips import FlipList, FlippedTask
from modeldiff_harness.report.render.markdown import escape_markdown
from modeldiff_harness.report.render.plain_text import printable
from modeldiff_harness.report.wording import ABSENT, FAULT_COLUMNS, fault_cells, filtered

__all__ = ["flips_markdown", "flips_plain", "flips_text"]

_FLIP_COLUMNS = ("change", "item", "prompt", "target", "baseline", "candidate")
_FAULTS = "Answers that say little"


def flips_text(found: FlipList, longest: int | None) -> str:
    """Return the flips as lines; texts of more than `longest` characters are cut in the middle."""
    lines = []
    for task in found.tasks:
        lines.append(printable(_headline(task)))
        for flip in found.of(task):
            lines.append(
                printable(f"  {flip.direction} item {flip.item.doc_id}{_change(flip.item)}")
            )
            for name, text in _fields(flip.item):
                shown = printable(_shortened(" ".join(text.split()), longest))
                lines.append(f"    {name:<10} {shown}")
        lines.append("")
    if found.faults:
        rows = [FAULT_COLUMNS, *(tuple(map(printable, fault_cells(f))) for f in found.faults)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(FAULT_COLUMNS))]
        lines.append(f"{_FAULTS} ({ABSENT}: not recorded)")
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
    return "\n".join(lines)


def flips_markdown(found: FlipList, longest: int | None) -> str:
    """Return the flips as Markdown, a table a task; every text is escaped."""
    lines = ["# Items lost and gained", ""]
    for task in found.tasks:
        lines += [f"## {escape_markdown(_headline(task))}", ""]
        flips = found.of(task)
        if flips:
            lines += _head(_FLIP_COLUMNS)
        for flip in flips:
            item = flip.item
            answers = [
                f"{answer} ⟨{generation}⟩" if generation else answer
                for answer, generation in (
                    (item.baseline_response, item.baseline_generation),
                    (item.candidate_response, item.candidate_generation),
                )
            ]
            cells = [f"{flip.direction}{_change(item)}", str(item.doc_id), item.prompt, item.target]
            shown = [escape_markdown(_shortened(c, longest)).strip() for c in (*cells, *answers)]
            lines.append(f"| {' | '.join(shown)} |")
        lines.append("")
    if found.faults:
        lines += [f"## {_FAULTS}", "", *_head(FAULT_COLUMNS)]
        lines += [
            f"| {' | '.join(escape_markdown(c) for c in fault_cells(f))} |" for f in found.faults
        ]
    return "\n".join(lines)


def flips_plain(found: FlipList) -> dict[str, Any]:
    """Return the flips as JSON values, every text whole."""
    return {
        "schema_version": 1,
        "tasks": to_plain(found.tasks),
        "flips": [{"direction": f.direction, **to_plain(f.item)} for f in found.flips],
        "answer_faults": to_plain(found.faults),
    }


def _headline(task: FlippedTask) -> str:
    metric = filtered(task.metric, task.filter)
    noise = ""
    if task.noise_flip_rate is not None:
        noise = f"; {task.noise_flip_rate:.1%} change between two runs of the baseline"
    return (
        f"{task.task} ({metric}): {task.n_lost:,} lost, {task.n_gained:,} gained of "
        f"{task.n:,} items{noise}"
    )


def _fields(item: BenchmarkItem) -> list[tuple[str, str]]:
    """The texts of one item, the generation beside the answer where they differ."""
    fields = [("prompt", item.prompt), ("target", item.target)]
    for who, answer, generation in (
        ("baseline", item.baseline_response, item.baseline_generation),
        ("candidate", item.candidate_response, item.candidate_generation),
    ):
        fields.append((who, answer))
        if generation:
            fields.append(("  in full", generation))
    return fields


def _shortened(text: str, longest: int | None) -> str:
    """Cut in the middle: the end of a prompt holds the question, that of an answer the result."""
    if longest is None or len(text) <= longest:
        return text
    return f"{text[: longest // 2]} […] {text[-longest // 2 :]}"


def _change(item: BenchmarkItem) -> str:
    if {item.baseline, item.candidate} <= {0.0, 1.0}:
        return ""
    return f"  {item.baseline:.4g} → {item.candidate:.4g}"


def _head(columns: tuple[str, ...]) -> list[str]:
    return [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
