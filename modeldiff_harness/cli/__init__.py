"""`mdh`: a file per command; each parses, calls one function and prints.

Exit codes: 0 done, 1 gate failed, 2 usage, 3 gate inconclusive, 4 anything else, 130 interrupted
(143 by SIGTERM, 129 by SIGHUP).
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from functools import cache

import click
from rich.console import Console
from rich.markup import escape

from modeldiff_harness import __version__
from modeldiff_harness.cli.baseline import baseline
from modeldiff_harness.cli.compare import compare
from modeldiff_harness.cli.dictionaries import dictionaries
from modeldiff_harness.cli.doctor import doctor
from modeldiff_harness.cli.evaluate import evaluate
from modeldiff_harness.cli.flips import flips
from modeldiff_harness.cli.gate import gate
from modeldiff_harness.cli.history import history
from modeldiff_harness.cli.models import models
from modeldiff_harness.cli.plan import plan
from modeldiff_harness.cli.plugins import plugins
from modeldiff_harness.cli.quiet import quiet_libraries
from modeldiff_harness.cli.rank import rank
from modeldiff_harness.cli.redaction import redacted
from modeldiff_harness.cli.report import report
from modeldiff_harness.cli.runs import runs
from modeldiff_harness.cli.signals import ending_signals, ignore_signals
from modeldiff_harness.cli.stages import stage_commands
from modeldiff_harness.cli.store import gc, verify
from modeldiff_harness.cli.streams import standard_streams
from modeldiff_harness.cli.sums import reproducible_sums
from modeldiff_harness.cli.tasks import tasks
from modeldiff_harness.disk import DISK_ERRORS, disk_failure
from modeldiff_harness.errors import MdhError, first_line, is_interrupt
from modeldiff_harness.plugins import Broken, load_registry, plugin_of
from modeldiff_harness.report.render.plain_text import printable
from modeldiff_harness.store import default_store_folder

__all__ = ["cli", "main"]


@click.group(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda token: token.replace("-", "_"),
        "max_content_width": 100,
    }
)
@click.version_option(__version__, prog_name="mdh")
def cli() -> None:
    """Compare two language models: benchmarks, preferences and latents in one report.

    \b
    mdh evaluate --pair gemma-it,gemma-simpo     the whole comparison
    mdh evaluate --pair A,B --plan               what it would do, and cost
    mdh compare RESULTS_A RESULTS_B              two folders of existing results, no model
    mdh report latest                            the last report again

    Every delta is candidate − baseline.  `--debug` anywhere shows tracebacks.
    """


for _command in (
    evaluate,
    compare,
    flips,
    gate,
    plan,
    baseline,
    history,
    report,
    runs,
    models,
    tasks,
    plugins,
    dictionaries,
    doctor,
    verify,
    gc,
):
    cli.add_command(_command)
for _command in (*stage_commands(), rank):
    cli.add_command(_command)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the documented code."""
    given = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in given or os.environ.get("MDH_DEBUG") == "1"
    given = [token for token in given if token != "--debug"]
    if not debug:
        quiet_libraries()
    reproducible_sums()
    with standard_streams() as (out, _), ending_signals():
        code = _run(given, debug)
        out.flush()
        if out.lost is not None and not isinstance(out.lost, BrokenPipeError):
            _say(f"cannot write to standard output ({first_line(out.lost)}).", "")
            if given[:1] != ["gate"]:  # a verdict's code is the verdict's
                code = code or 4
    sys.exit(code)


def _run(given: list[str], debug: bool) -> int:
    try:
        cli.main(given, prog_name="mdh", standalone_mode=False, obj=_add_plugin_commands())
    except BaseException as error:
        # click makes Abort of an interrupt, and of an EOFError that is none
        cause = error.__cause__ if isinstance(error, click.Abort) else None
        if is_interrupt(cause or error):
            ignore_signals()
        return _explained(cause or error, debug)
    return 0


def _explained(error: BaseException, debug: bool) -> int:
    """Say in one line what ended the command; return its exit code."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.ClickException):
        _say(error.format_message(), "See `mdh --help`.")
        return 2
    if is_interrupt(error) or isinstance(error, click.Abort):
        _say("interrupted.", "Finished work is kept: run the same command to continue.")
        return getattr(error, "exit_code", 130)
    if debug:
        traceback.print_exception(error)
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        error = disk_failure(error, default_store_folder())
    if isinstance(error, MdhError):
        _say(error.message, error.hint)
        return error.exit_code
    text = f"{type(error).__name__}: {error}".strip(": ")
    if isinstance(error, SystemExit):
        text = f"code that is not ours called sys.exit({error.code!r})"
    if culprit := plugin_of(error, load_registry()):
        text = f"{culprit}: {text}"
    _say(f"{text}.", "Run with --debug for the traceback.")
    return 4


def _say(message: str, hint: str) -> None:
    line = printable(redacted(" ".join(f"{message} {hint}".split())))
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[bold red]mdh: error:[/] {escape(line)}")


@cache
def _add_plugin_commands() -> tuple[Broken, ...]:
    """Let plugins add commands, once a process; return what is broken, for `mdh plugins`."""
    from modeldiff_harness.cli.plugin_commands import add_plugin_commands

    return add_plugin_commands(cli, load_registry())
