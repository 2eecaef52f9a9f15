"""`mdh evaluate`: the whole comparison of a pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modeldiff_harness.cli.options import ListCommand, build_config, run_options
from modeldiff_harness.cli.printing import print_plan, print_report
from modeldiff_harness.cli.progress import console_progress

__all__ = ["evaluate"]


@click.command(cls=ListCommand, short_help="Compare two models, all three arms.")
@run_options
@click.option("--plan", is_flag=True, help="Print stages, cost and what is there; run nothing.")
@click.option(
    "--output_path", type=click.Path(path_type=Path), help="Also write the report and results here."
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["terminal", "json", "md"]),
    default="terminal",
    help="What standard output shows.",
)
def evaluate(
    plan: bool, output_path: Path | None, output_format: str, store: Path | None, **given: Any
) -> None:
    """Compare BASELINE and CANDIDATE: benchmarks, preferences and latents in one report.

    Run the same command again to continue after an interruption; a finished run repeats in seconds.
    """
    from modeldiff_harness import pipeline
    from modeldiff_harness.plugins import load_registry, others_code

    config, as_passed = build_config(given)
    registry = load_registry()
    with others_code():
        session = pipeline.open_session(
            config,
            as_passed=as_passed,
            store_folder=store,
            progress=console_progress(),
            registry=registry,
        )
        planned = session.plan() if plan else None
        finished = None if plan else session.run(output_path=output_path)
    if planned is not None:
        print_plan(planned)
    if finished is None:
        return
    print_report(finished.report, registry.sections(), output_format, finished.folder)
