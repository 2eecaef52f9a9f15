"""Section `items`: a few items a task that the candidate lost or gained."""

from __future__ import annotations

from modeldiff_harness.artifacts import BenchmarkItem, Report
from modeldiff_harness.contracts import RenderedSection, ReportTable

__all__ = ["ItemsSection"]

_COLUMNS = ("change", "item", "target", "baseline's answer", "candidate's answer", "prompt")
_LONGEST_RESPONSE = 240


class ItemsSection:
    """A few items a task that the candidate lost or gained."""

    name, order = "items", 900

    def render(self, report: Report) -> RenderedSection | None:
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
                    (
                        "change",
                        "item",
                        "target",
                        "baseline's answer",
                        "candidate's answer",
                        "prompt",
                    ),
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
