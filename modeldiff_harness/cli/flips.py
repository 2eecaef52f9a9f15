"""`mdh flips`: items lost and gained, with both answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modeldiff_harness.cli.compare import compare_options, request_of
from modeldiff_harness.cli.options import flags_given
from modeldiff_harness.cli.printing import print_json
from modeldiff_harness.errors import UsageError
from modeldiff_harness.store import default_data_folder, resolve_run_folder

if TYPE_CHECKING:
    from modeldiff_harness.artifacts import BenchmarkResults

__all__ = ["flips"]

_LONGEST = 400


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
    from modeldiff_harness.report.flips import flips_markdown, flips_plain, flips_text

    results = _results(run_or_baseline, candidate, given)
    found = find_flips(
        results, tasks=only, direction=direction, limit=None if everything else limit
    )
    longest = None if everything else _LONGEST
    if output_format == "json":
        print_json(flips_plain(found))
    elif output_format == "markdown":
        click.echo(flips_markdown(found, longest))
    else:
        click.echo(flips_text(found, longest))


def _results(first: str, candidate: Path | None, given: dict[str, Any]) -> BenchmarkResults:
    from modeldiff_harness.pipeline import compare as comparing
    from modeldiff_harness.plugins import others_code

    if candidate is not None:
        with others_code():
            return comparing.compare(request_of(Path(first), candidate, given)).results
    for name, flag in flags_given(click.get_current_context()).items():
        if name in given:
            raise UsageError(
                f"{flag} says how two results are paired; a run is paired already.",
                hint="Leave it out, or give two folders of results.",
            )
    return comparing.results_of_run(resolve_run_folder(default_data_folder(), first))
