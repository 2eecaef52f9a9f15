"""`mdh gate`: the release verdict on a finished run; `init` and `simulate` beside it."""

from __future__ import annotations

import click

from modeldiff_harness.cli.gate.check import check
from modeldiff_harness.cli.gate.init import init
from modeldiff_harness.cli.gate.simulate import simulate

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


for _command in (check, init, simulate):
    gate.add_command(_command)
