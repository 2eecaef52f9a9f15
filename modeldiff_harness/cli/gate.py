"""`mdh gate`: the release verdict on a finished run; `init` and `simulate` beside it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modeldiff_harness.cli.printing import print_json, print_table, printable
from modeldiff_harness.clock import utc_now
from modeldiff_harness.errors import GateFailed, Inconclusive, UsageError
from modeldiff_harness.store import default_data_folder, resolve_run_folder, write_atomically

if TYPE_CHECKING:
    from modeldiff_harness.artifacts import Report, Verdict
    from modeldiff_harness.gate.policy import Policy

__all__ = ["gate"]

_DEFAULT = "check"


class _GateGroup(click.Group):
    """A group whose command `check` is meant when none is named: `mdh gate RUN`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `check` in front unless a command, or help, is asked for."""
        first = args[0] if args else ""
        if first not in self.commands and first not in ctx.help_option_names:
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the options of `check` with the group's own."""
        self.commands[_DEFAULT].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


@click.group(
    cls=_GateGroup,
    short_help="Decide a release: PASS, FAIL or INCONCLUSIVE.",
    options_metavar="",
    subcommand_metavar="[RUN] [OPTIONS] | COMMAND [ARGS]…",
)
def gate() -> None:
    """Decide a release on the report of RUN, under a policy.

    \b
    mdh gate latest --policy gate.yaml     the verdict; also `mdh gate check …`
    mdh gate init latest                   a commented policy whose margins fit the run
    mdh gate simulate latest               how often such a gate is right

    RUN is a name of `mdh runs`, a folder, a report.json, or `latest`.  Exit codes: 0 PASS, 1 FAIL,
    2 usage, 3 INCONCLUSIVE, 4 anything else.
    """


@gate.command(name=_DEFAULT, short_help="The verdict; meant when no command is named.")
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
    from modeldiff_harness.gate.schema import read_verdict
    from modeldiff_harness.gate.write import previous_verdict, write_verdict
    from modeldiff_harness.plugins import load_registry

    report, folder = _report(run)
    policy = _policy(policy_file, report)
    written = output_path or folder
    if previous is None:
        last = previous_verdict(report, written, default_data_folder() / "runs")
    else:
        last = read_verdict(previous)
    verdict = gate_report(report, policy, now=utc_now(), previous=last)
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


@gate.command(short_help="Write a commented policy whose margins fit a run.")
@click.argument("run", default="latest")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("gate.yaml"),
    show_default=True,
    help="File to write; - prints it.",
)
@click.option("--force", is_flag=True, help="Replace a policy that is there.")
def init(run: str, output: Path, force: bool) -> None:
    """Write a policy with a criterion for everything RUN measured.

    Margins are 2 pt, 1 pt in safety and 20 Elo where the run can show such a loss, else the
    smallest that it can show.  Only sizes and standard errors are read, never a difference.
    """
    from modeldiff_harness.gate.policy_draft import draft_policy, policy_text

    report, _ = _report(run)
    text = policy_text(report, utc_now())
    if str(output) == "-":
        click.echo(text, nl=False)
        return
    if output.exists() and not force:
        raise UsageError(f"{output} is there already.", hint="Name another --output, or --force.")
    _write(output, text)
    policy, sized = draft_policy(report, utc_now())
    small = sum(c.margin_below_detectable for c in sized)
    optional = sum(not rule.required for rule in policy.criteria)
    click.echo(f"{output}: {len(policy.criteria)} criteria")
    if small:
        click.echo(f"{small} usual margins are below what this run can show; wider ones stand in.")
    if optional:
        click.echo(f"{optional} criteria are optional: too small to decide at a useful margin.")


@gate.command(short_help="How often such a gate is right.")
@click.argument("run", required=False)
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="gate.yaml of RUN.")
@click.option("--items", help="Without a run: items a benchmark; several by comma.")
@click.option(
    "--discordance",
    help="Share of items on which the models differ.",
    default="0.10",
    show_default=True,
)
@click.option("--margin", default="0.02", show_default=True, help="Margins, as shares of 1.")
@click.option("--prompts", help="Without a run: judged prompts, two orders each.")
@click.option("--margin_elo", default="20", show_default=True, help="Margins of substance.")
@click.option(
    "--criteria",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Criteria of that kind in the gate.",
)
@click.option(
    "--simulations",
    type=click.IntRange(100, 1_000_000),
    default=20_000,
    show_default=True,
    help="Simulated gates.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the simulation.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def simulate(run: str | None, policy_file: Path | None, as_json: bool, **given: Any) -> None:
    """Print the operating characteristics of a gate: PASS and FAIL rates at true differences.

    With RUN, those of its own sizes under its policy.  With --items or --prompts, those of a gate
    that does not exist yet: every row is one size and margin, decided exactly as the gate does.
    """
    from modeldiff_harness.cli import gate_tables

    if given["items"] or given["prompts"]:
        rows = gate_tables.planned_rows(given)
        k = given["criteria"]
        title = f"One of {k} criteria worse, the others equal" if k > 1 else "One criterion"
        columns: Sequence[str] = gate_tables.PLANNED_COLUMNS
    else:
        from modeldiff_harness.gate.decide import gate_report

        report, _ = _report(run or "latest")
        verdict = gate_report(report, _policy(policy_file, report), now=utc_now())
        rows = gate_tables.verdict_rows(verdict)
        title = f"{verdict.baseline} → {verdict.candidate}, policy {verdict.policy_name}"
        columns = gate_tables.VERDICT_COLUMNS
    if as_json:
        print_json([dict(row) for row in rows])
        return
    shown = [[gate_tables.cell(row, column) for column in columns] for row in rows]
    print_table(printable(title), [gate_tables.HEADS.get(c, c) for c in columns], shown)
    click.echo("PASS / FAIL rates if the candidate truly lost nothing, half, one, two margins.")


# ── parts ────────────────────────────────────────────────────────────────────────────────────


def _report(run: str) -> tuple[Report, Path]:
    """Return the report of RUN and the folder it lies in."""
    from modeldiff_harness.report.schema import read_report

    path = Path(run)
    if not path.is_file():
        path = resolve_run_folder(default_data_folder(), run) / "report.json"
    return read_report(path), path.parent


def _policy(path: Path | None, report: Report) -> Policy:
    from modeldiff_harness.gate.policy import default_policy
    from modeldiff_harness.gate.policy_file import read_policy

    if path is not None:
        return read_policy(path)
    policy = default_policy(report)
    if not policy.criteria:
        raise UsageError(
            "the report has neither benchmarks nor preferences to gate.",
            hint="Run `mdh evaluate` with --tasks.",
        )
    return policy


def _write_for_ci(verdict: Verdict, junit: Path | None, step_summary: Path | None) -> None:
    from modeldiff_harness.gate.github import render_summary
    from modeldiff_harness.gate.junit import render_junit

    if junit is not None:
        _write(junit, render_junit(verdict))
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
    click.echo(f"::stop-commands::{token}")
    try:
        yield
    finally:
        click.echo(f"::{token}::")


def _annotate(verdict: Verdict, *, errors: bool) -> None:
    """Print annotations, on standard error where standard output is JSON."""
    from modeldiff_harness.gate.github import workflow_commands

    for line in workflow_commands(verdict):
        click.echo(line, err=errors)


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


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}.") from error
