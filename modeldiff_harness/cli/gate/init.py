"""`mdh gate init`: a commented policy whose margins fit a run."""

from __future__ import annotations

from pathlib import Path

import click

from modeldiff_harness.cli.gate.inputs import now
from modeldiff_harness.disk import write_output
from modeldiff_harness.errors import UsageError

__all__ = ["init"]


@click.command(short_help="Write a commented policy whose margins fit a run.")
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
    from modeldiff_harness.report.stored import stored_report

    report, _ = stored_report(run)
    text = policy_text(report, now())
    if str(output) == "-":
        click.echo(text, nl=False)
        return
    if output.exists() and not force:
        raise UsageError(f"{output} is there already.", hint="Name another --output, or --force.")
    write_output(output, text)
    policy, sized = draft_policy(report, now())
    small = sum(c.margin_below_detectable for c in sized)
    optional = sum(not rule.required for rule in policy.criteria)
    click.echo(f"{output}: {len(policy.criteria)} criteria")
    if small:
        click.echo(f"{small} usual margins are below what this run can show; wider ones stand in.")
    if optional:
        click.echo(f"{optional} criteria are optional: too small to decide at a useful margin.")
