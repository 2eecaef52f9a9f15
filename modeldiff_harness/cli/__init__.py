"""`mdh`: a file per command; each parses, calls one function and prints.

Exit codes: 0 done, 1 gate failed, 2 usage, 3 gate inconclusive, 4 anything else, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

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
from modeldiff_harness.cli.report import report
from modeldiff_harness.cli.runs import runs
from modeldiff_harness.cli.stages import stage_commands
from modeldiff_harness.cli.store import gc, verify
from modeldiff_harness.cli.tasks import tasks
from modeldiff_harness.errors import MdhError
from modeldiff_harness.report.render.plain_text import printable
from modeldiff_harness.store import DISK_ERRORS, DISK_HINT, default_store_folder

if TYPE_CHECKING:
    from modeldiff_harness.plugins import Broken

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
    sys.exit(_run(given, debug))


def _run(given: list[str], debug: bool) -> int:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        cli.main(given, prog_name="mdh", standalone_mode=False, obj=_add_plugin_commands())
    except MdhError as error:
        if debug:
            traceback.print_exc()
        _say(console, error.message, error.hint)
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        _say(console, error.format_message(), "See `mdh --help`.")
        return 2
    except (KeyboardInterrupt, click.Abort):
        _say(console, "interrupted.", "Finished work is kept: run the same command to continue.")
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            where = error.filename or default_store_folder()
            _say(console, f"cannot write to {where} ({error.strerror}).", DISK_HINT)
            return 4
        text = " ".join(str(error).split()) or type(error).__name__
        _say(console, f"{type(error).__name__}: {text}", "Run with --debug for the traceback.")
        return 4
    return 0


def _say(console: Console, message: str, hint: str) -> None:
    line = printable(" ".join(f"{message} {hint}".split()))
    console.print(f"[bold red]mdh: error:[/] {escape(line)}")


@cache
def _add_plugin_commands() -> tuple[Broken, ...]:
    """Let plugins add commands, once a process; return what is broken, for `mdh plugins`."""
    from modeldiff_harness.cli.plugin_commands import add_plugin_commands
    from modeldiff_harness.plugins import load_registry

    return add_plugin_commands(cli, load_registry())
