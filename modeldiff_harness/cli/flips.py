"""`mdh flips`: items lost and gained, with both answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modeldiff_harness.cli.compare import compare_options, request_of
from modeldiff_harness.cli.options import flags_given
from modeldiff_harness.cli.printing import print_json, printable
from modeldiff_harness.errors import UsageError
from modeldiff_harness.store import default_data_folder, resolve_run_folder

if TYPE_CHECKING:
    from modeldiff_harness.artifacts import AnswerFaults, BenchmarkItem, BenchmarkResults
    from modeldiff_harness.benchmarks.flips import FlipList, FlippedTask

__all__ = ["flips"]

_LONGEST = 400
_FAULT_COLUMNS = ("task", "model", "answers", "not extracted", "empty", "truncated", "refused",
                  "errors")  # fmt: skip


@click.command(short_help="List items lost and gained, with both answers.")
@click.argument("run_or_baseline")
@click.argument("candidate", required=False, type=click.Path(path_type=Path))
@click.option(
    "--task", "only", multiple=True, help="Name, group or pattern of a run's task; repeatable."
)
@click.option(
    "--direction",
    type=click.Choice(["both", "lost", "gained"]),
    default="both",
    show_default=True,
    help="Which items are listed; all are counted.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Items a task and direction.",
)
@click.option("--all", "everything", is_flag=True, help="Every item, whole texts.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
)
@compare_options
def flips(
    run_or_baseline: str,
    candidate: Path | None,
    only: tuple[str, ...],
    direction: Any,
    limit: int,
    everything: bool,
    output_format: str,
    **given: Any,
) -> None:
    """List what CANDIDATE lost and gained against the baseline, item by item.

    Give a run (a name of `mdh runs`, a folder, or `latest`), or two folders of results as
    `mdh compare` takes them.
    """
    from modeldiff_harness.benchmarks.flips import find_flips

    results = _results(run_or_baseline, candidate, given)
    found = find_flips(
        results, tasks=only, direction=direction, limit=None if everything else limit
    )
    longest = None if everything else _LONGEST
    if output_format == "json":
        print_json(_plain(found))
    elif output_format == "markdown":
        click.echo("\n".join(_markdown(found, longest)))
    else:
        click.echo("\n".join(_text(found, longest)))


def _results(first: str, candidate: Path | None, given: dict[str, Any]) -> BenchmarkResults:
    from modeldiff_harness.pipeline import compare as comparing

    if candidate is not None:
        return comparing.compare(request_of(Path(first), candidate, given)).results
    for name, flag in flags_given(click.get_current_context()).items():
        if name in given:
            raise UsageError(
                f"{flag} says how two results are paired; a run is paired already.",
                hint="Leave it out, or give two folders of results.",
            )
    return comparing.results_of_run(resolve_run_folder(default_data_folder(), first))


def _headline(task: FlippedTask) -> str:
    metric = task.metric if task.filter in ("", "none") else f"{task.metric}, {task.filter}"
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


def _text(found: FlipList, longest: int | None) -> list[str]:
    lines = []
    for task in found.tasks:
        lines.append(printable(_headline(task)))
        for flip in found.flips:
            item = flip.item
            if item.task != task.task:
                continue
            lines.append(printable(f"  {flip.direction} item {item.doc_id}{_change(item)}"))
            for name, text in _fields(item):
                shown = printable(_shortened(" ".join(text.split()), longest))
                lines.append(f"    {name:<10} {shown}")
        lines.append("")
    rows = [_FAULT_COLUMNS, *(_fault_cells(one) for one in found.faults)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_FAULT_COLUMNS))]
    if len(rows) > 1:
        lines.append("Answers that say little (–: not recorded)")
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
    return lines


def _fault_cells(one: AnswerFaults) -> tuple[str, ...]:
    task = one.task if one.filter in ("", "none") else f"{one.task}, {one.filter}"
    counts = (one.n_not_extracted, one.n_empty, one.n_truncated, one.n_refused, one.n_errors)
    shown = ["–" if count is None else f"{count:,}" for count in counts]
    return (printable(task), one.model, f"{one.n:,}", *shown)


def _markdown(found: FlipList, longest: int | None) -> list[str]:
    from modeldiff_harness.report.render.markdown import escape_markdown

    lines = ["# Items lost and gained", ""]
    for task in found.tasks:
        lines += [f"## {escape_markdown(_headline(task))}", ""]
        flips = [flip for flip in found.flips if flip.item.task == task.task]
        if flips:
            lines += [
                "| change | item | prompt | target | baseline | candidate |",
                "|" + "---|" * 6,
            ]
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
        lines += ["## Answers that say little", "", f"| {' | '.join(_FAULT_COLUMNS)} |"]
        lines.append("|" + "---|" * len(_FAULT_COLUMNS))
        lines += [
            f"| {' | '.join(escape_markdown(c) for c in _fault_cells(f))} |" for f in found.faults
        ]
    return lines


def _plain(found: FlipList) -> dict[str, Any]:
    from modeldiff_harness.artifacts.codec import to_plain

    return {
        "schema_version": 1,
        "tasks": to_plain(found.tasks),
        "flips": [{"direction": f.direction, **to_plain(f.item)} for f in found.flips],
        "answer_faults": to_plain(found.faults),
    }
