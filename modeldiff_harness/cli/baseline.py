"""`mdh baseline`: finished reports kept under a name, for later comparison."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import click

from modeldiff_harness.cli.printing import print_json, print_table
from modeldiff_harness.clock import timestamp
from modeldiff_harness.errors import RunError, UsageError, did_you_mean
from modeldiff_harness.store import default_data_folder, resolve_run_folder, write_atomically

__all__ = ["baseline"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_KEPT = ("report.json", "gate.json")


@click.group()
def baseline() -> None:
    """Keep finished reports under a name; `mdh history` tells moves against them."""


@baseline.command()
@click.argument("run", default="latest")
@click.option("--name", required=True, help="Letters, digits, dots, dashes, underscores.")
@click.option("--replace", is_flag=True, help="Overwrite a reference of that name.")
def save(run: str, name: str, replace: bool) -> None:
    """Keep the report of RUN (a name of `mdh runs`, a folder, or `latest`) as NAME.

    Its verdict is kept with it.  `mdh gc` never removes saved references.
    """
    from modeldiff_harness.report.schema import read_report

    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a reference.",
            hint="Use letters, digits, dots, dashes and underscores, 80 at most.",
        )
    folder = resolve_run_folder(default_data_folder(), run)
    read_report(folder / "report.json")  # what cannot be read later is not kept
    target = _folder() / name
    if target.exists() and not replace:
        raise UsageError(f"there is a reference {name!r} already.", hint="Add --replace.")
    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / "gate.json").unlink(missing_ok=True)
        for file in reversed(_KEPT):
            if (folder / file).is_file():
                write_atomically(target / file, (folder / file).read_text(encoding="utf-8"))
        write_atomically(target / "saved.txt", f"{timestamp()} from {folder.name}\n")
    except OSError as error:
        raise RunError(f"cannot keep the report in {target}: {error.strerror}.") from error
    click.echo(str(target))


@baseline.command("list")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def list_saved(as_json: bool) -> None:
    """List the saved references."""
    from modeldiff_harness.history.gather import gather_history

    stored = [(f.parent.name, True, f.parent) for f in sorted(_folder().glob("*/report.json"))]
    history = gather_history(stored)
    rows = [entry for pair in history.pairs for entry in pair.entries]
    if as_json:
        from modeldiff_harness.artifacts.codec import to_plain

        print_json([to_plain(row) for row in rows])
        return
    cells = [
        (row.name, f"{row.baseline} → {row.candidate}", row.date[:10], row.outcome or "no gate")
        for row in rows
    ]
    cells += [(Path(folder).name, "unreadable", "", why) for folder, why in
              sorted(history.unreadable.items())]  # fmt: skip
    print_table("", ("name", "pair", "date", "gate"), cells)


@baseline.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove the saved reference NAME."""
    known = [path.name for path in _folder().glob("*") if path.is_dir()]
    if name not in known:
        raise UsageError(f"there is no reference {name!r}.", hint=did_you_mean(name, known))
    try:
        shutil.rmtree(_folder() / name)
    except OSError as error:
        raise RunError(f"cannot remove the reference {name!r}: {error.strerror}.") from error
    click.echo(f"removed {name}")


def _folder() -> Path:
    return default_data_folder() / "baselines"
