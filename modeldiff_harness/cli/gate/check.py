"""`mdh gate check`, or `mdh gate` alone: the release verdict on a finished run."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modeldiff_harness.cli.gate.inputs import now, policy_of
from modeldiff_harness.cli.streams import print_workflow_command
from modeldiff_harness.disk import write_output
from modeldiff_harness.errors import GateFailed, Inconclusive, UsageError
from modeldiff_harness.store import default_data_folder

if TYPE_CHECKING:
    from modeldiff_harness.artifacts import Verdict

__all__ = ["check"]


@click.command(short_help="The verdict; meant when no command is named.")
@click.argument("run", default="latest")
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path),
    help="gate.yaml (default: 2 pt a benchmark, 1 pt in safety, 20 Elo of substance).",
)
@click.option(
    "--previous",
    type=click.Path(path_type=Path),
    help="gate.json of the last release, for the notice of policy changes (default: the "
    "last gate of this run or pair on this machine).",
)
@click.option(
    "--output_path",
    type=click.Path(path_type=Path),
    help="Write gate.json, gate.xml, gate.md and the report's pages here (default: beside "
    "the report).",
)
@click.option("--junit", type=click.Path(path_type=Path), help="Also write the JUnit XML here.")
@click.option(
    "--step_summary",
    type=click.Path(path_type=Path),
    envvar="GITHUB_STEP_SUMMARY",
    help="Append the Markdown summary to this file (default: $GITHUB_STEP_SUMMARY).",
)
@click.option(
    "--annotations/--no_annotations",
    default=None,
    help="Print workflow annotations (default: when $GITHUB_ACTIONS is true).",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["terminal", "json", "md"]),
    default="terminal",
    help="What standard output shows.",
)
@click.option(
    "--report_only",
    is_flag=True,
    help="End with 0 whatever the verdict; bad input still ends with 2 or 4.",
)
def check(
    run: str,
    policy_file: Path | None,
    previous: Path | None,
    output_path: Path | None,
    junit: Path | None,
    step_summary: Path | None,
    annotations: bool | None,
    output_format: str,
    report_only: bool,
) -> None:
    """Decide a release on the report of RUN (default: latest)."""
    from modeldiff_harness.gate.decide import gate_report
    from modeldiff_harness.gate.looks import next_look
    from modeldiff_harness.gate.schema import read_verdict
    from modeldiff_harness.gate.write import earlier_verdicts, previous_verdict, write_verdict
    from modeldiff_harness.plugins import load_registry
    from modeldiff_harness.report.stored import stored_report

    report, folder = stored_report(run)
    policy = policy_of(report, policy_file)
    written = output_path or folder
    runs = default_data_folder() / "runs"
    known = earlier_verdicts(report, written, runs)
    if previous is None:
        last = previous_verdict(report, written, runs)
    else:
        last = read_verdict(previous)
        known.append(last)
    look = next_look(report, policy, known)
    verdict = gate_report(report, policy, now=now(), previous=last, look=look)
    write_verdict(verdict, report, written, load_registry().sections())
    if annotations is None:
        annotations = os.environ.get("GITHUB_ACTIONS") == "true"
    _write_for_ci(verdict, junit, step_summary)
    with _no_workflow_commands(annotations and output_format != "json"):
        _print_verdict(verdict, written, output_format)
    if annotations:
        _annotate(verdict, errors=output_format == "json")
    if report_only:
        _say_code(verdict, output_format)
    elif verdict.outcome == "FAIL":
        raise GateFailed(f"the gate failed. {verdict.sentence}")
    elif verdict.outcome == "INCONCLUSIVE":
        raise Inconclusive(f"the gate is inconclusive. {verdict.sentence}")


def _write_for_ci(verdict: Verdict, junit: Path | None, step_summary: Path | None) -> None:
    from modeldiff_harness.gate.github import render_summary
    from modeldiff_harness.gate.junit import render_junit

    if junit is not None:
        write_output(junit, render_junit(verdict))
    if step_summary is not None:
        try:
            with open(step_summary, "a", encoding="utf-8") as stream:
                stream.write(render_summary(verdict) + "\n")
        except OSError as error:
            raise UsageError(
                f"cannot write the step summary {step_summary}: {error.strerror}."
            ) from error


@contextmanager
def _no_workflow_commands(inside_workflow: bool) -> Iterator[None]:
    """Keep a workflow from obeying what is printed: names of tasks come from files."""
    if not inside_workflow:
        yield
        return
    token = secrets.token_hex(16)
    print_workflow_command(f"::stop-commands::{token}")
    try:
        yield
    finally:
        print_workflow_command(f"::{token}::")


def _annotate(verdict: Verdict, *, errors: bool) -> None:
    """Print annotations, on standard error where standard output is JSON."""
    from modeldiff_harness.gate.github import workflow_commands

    for line in workflow_commands(verdict):
        print_workflow_command(line, err=errors)


def _print_verdict(verdict: Verdict, folder: Path, output_format: str) -> None:
    from rich.console import Console

    from modeldiff_harness.gate.github import render_summary
    from modeldiff_harness.gate.schema import verdict_json
    from modeldiff_harness.gate.terminal import print_verdict

    if output_format == "json":
        click.echo(verdict_json(verdict), nl=False)
    elif output_format == "md":
        click.echo(render_summary(verdict), nl=False)
    else:
        print_verdict(verdict, Console(highlight=False))
        click.echo(f"verdict: {folder / 'gate.json'}\nreport: {folder / 'report.html'}")


def _say_code(verdict: Verdict, output_format: str) -> None:
    text = f"report only: without --report_only the exit code would be {verdict.exit_code}."
    click.echo(text, err=output_format != "terminal")
