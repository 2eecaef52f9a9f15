"""`mdh report`: a finished run's report again, in another format."""

from __future__ import annotations

from pathlib import Path

import click

from modeldiff_harness.cli.printing import print_report
from modeldiff_harness.cli.typed import OUTPUT_FILE
from modeldiff_harness.disk import write_output
from modeldiff_harness.errors import UsageError

__all__ = ["report"]


@click.command(short_help="Show a finished run's report again.")
@click.argument("run", default="latest")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["terminal", "json", "md", "html"]),
    default="terminal",
)
@click.option("--output", type=OUTPUT_FILE, help="File for html.")
def report(run: str, output_format: str, output: Path | None) -> None:
    """Show the report of RUN: a name of `mdh runs`, a folder, or `latest`.

    The verdict of `mdh gate` on this report, if there is one, comes first.
    """
    if output is not None and output_format != "html":
        raise UsageError(
            f"--output is for html, and --format is {output_format}.",
            hint="Add --format html, or write standard output to a file.",
        )
    from modeldiff_harness.gate.section import with_verdict
    from modeldiff_harness.gate.write import verdict_of
    from modeldiff_harness.plugins import load_registry
    from modeldiff_harness.report.render.html import render_html
    from modeldiff_harness.report.stored import stored_report

    found, folder = stored_report(run)
    verdict = verdict_of(found, folder)
    installed = load_registry().sections()
    sections = with_verdict(verdict, installed) if verdict else installed
    if output_format == "html" and output is not None:
        write_output(output, render_html(found, sections))
        click.echo(str(output))
        return
    print_report(found, sections, output_format, folder)
