"""`mdh plan`: the sizes a decision needs, before anything is run."""

from __future__ import annotations

import click

from modeldiff_harness.cli.options import ListCommand, split_list
from modeldiff_harness.errors import UsageError, did_you_mean

__all__ = ["plan"]


@click.command(
    cls=ListCommand, short_help="Say how many items, prompts and seeds a decision needs."
)
@click.option("--tasks", help="Tasks to plan for (default with --run: all of the run).")
@click.option(
    "--margin",
    default="2",
    help="Tolerated loss in points: 2, or 2,mmlu=1 for one task's own (default: 2).",
)
@click.option("--elo_margin", type=float, default=20.0, help="Of substance (default: 20).")
@click.option("--run", "run", help="Take discordance and variances from this run or folder.")
@click.option("--discordance", type=float, help="Share of items that change (default: 0.10).")
@click.option("--power", type=float, default=0.80, help="Default: 0.8.")
@click.option("--confidence", type=float, default=0.90, help="Of the gate's interval (0.9).")
@click.option(
    "--sign_consistency",
    type=float,
    default=0.9,
    help="Chance that one dictionary seed shows the true sign (default: 0.9).",
)
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text")
def plan(
    tasks: str | None,
    margin: str,
    elo_margin: float,
    run: str | None,
    discordance: float | None,
    power: float,
    confidence: float,
    sign_consistency: float,
    output_format: str,
) -> None:
    """Say how many items, prompts and dictionary seeds a decision needs.

    A candidate that is equal to the baseline passes with the asked power when the run has these
    sizes.  Discordance (how often two models differ on an item) is what decides: measured with
    --run, else 10 % is assumed.
    """
    from modeldiff_harness.artifacts.codec import to_plain
    from modeldiff_harness.benchmarks.task_sizes import items_of_task
    from modeldiff_harness.cli.printing import json_text, show_section
    from modeldiff_harness.gate.sample_size import SizeQuestion, needed_sizes
    from modeldiff_harness.gate.sample_size_section import render_sizes
    from modeldiff_harness.report.stored import stored_report

    names = tuple(dict.fromkeys(split_list(tasks or "")))
    if tasks is not None and not names:
        raise UsageError("--tasks names nothing.", hint="Give it values, or leave it out.")
    if not names and run is None:
        raise UsageError("nothing to plan.", hint="Name --tasks, or a finished run with --run.")
    general, own = _margins(margin)
    report = stored_report(run)[0] if run is not None else None
    measured = {row.task for row in report.benchmarks.rows} if report is not None else set()
    _refuse_unknown([name for name in names if name not in measured])
    found = needed_sizes(
        SizeQuestion(
            names, general, own, elo_margin, discordance, power, confidence, sign_consistency
        ),
        {name: items_of_task(name) for name in names},
        report,
    )
    if output_format == "json":
        click.echo(json_text(to_plain(found)), nl=False)
    else:
        click.echo(show_section(render_sizes(found), "text", "mdh plan"), nl=False)


def _refuse_unknown(names: list[str]) -> None:
    """Raise UsageError for a name that --tasks of a run would not know either."""
    from modeldiff_harness.benchmarks.task_sizes import items_of_task

    if all(items_of_task(name) is not None for name in names):
        return
    from modeldiff_harness.benchmarks.tasks import open_catalog  # reads lm-eval's index

    known = open_catalog().names()
    for name in names:
        if name not in known:
            raise UsageError(f"unknown task {name!r}.", hint=did_you_mean(name, known))


def _margins(text: str) -> tuple[float, dict[str, float]]:
    """Parse `2,mmlu=1`: the general margin and those of single tasks."""
    general, own = 2.0, {}
    for part in (part.strip() for part in text.split(",")):
        name, equals, raw = part.rpartition("=")
        try:
            value = float(raw)
        except ValueError:
            raise UsageError(f"--margin has {part!r}, which is no number.") from None
        if equals:
            own[name.strip()] = value
        else:
            general = value
    return general, own
