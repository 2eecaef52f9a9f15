"""`mdh plugins`: what is installed and what is broken; `mdh plugins new` begins a plugin."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from modeldiff_harness.cli.printing import print_json, print_table
from modeldiff_harness.contracts import KINDS
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.plugins import OWN_DISTRIBUTION, Broken, Registered, load_registry

__all__ = ["plugins"]


@click.group(invoke_without_command=True, short_help="List what is installed, and what is broken.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option("--kind", help="Only this kind.")
@click.pass_context
def plugins(context: click.Context, as_json: bool, kind: str | None) -> None:
    """List plugin components by kind and name; what is broken is a row with its cause."""
    if context.invoked_subcommand is not None:
        return
    if kind is not None and kind not in KINDS:
        raise UsageError(f"unknown plugin kind {kind!r}.", hint=did_you_mean(kind, KINDS))
    registry = load_registry()
    broken: tuple[Broken, ...] = (*registry.broken, *(context.obj or ()))
    found = [r for r in registry.registered if kind in (None, r.component.kind)]
    found.sort(key=lambda r: (r.component.kind, r.component.name))
    if as_json:
        components = [
            {
                "kind": r.component.kind,
                "name": r.component.name,
                "summary": r.component.summary,
                "version": r.component.version,
                "config": dict(r.component.config),
                "distribution": r.distribution,
                "distribution_version": r.distribution_version,
                "plugin": r.plugin,
            }
            for r in found
        ]
        print_json({"components": components, "broken": [asdict(b) for b in broken]})
        return
    rows = [(r.component.kind, r.component.name, _summary(r)) for r in found]
    rows += [("broken", b.plugin, f"{b.error} ({b.distribution})") for b in broken]
    print_table("", ("kind", "name", "summary"), rows)


@plugins.command(short_help="Begin a plugin: a distribution with its tests.")
@click.argument("kind")
@click.argument("component", metavar="NAME")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write; default: mdh-NAME here.",
)
def new(kind: str, component: str, output: Path | None) -> None:
    """Write an installable distribution with one component of KIND, called NAME, and its tests.

    The tests run the check of the kind and pass at once; then put your own code in.
    """
    from modeldiff_harness.plugins.new import new_plugin, write_plugin

    plugin = new_plugin(kind, component)
    folder = output or Path(plugin.distribution)
    write_plugin(plugin, folder)
    click.echo(f"{folder}\n  python -m pytest {folder}\n  pip install --editable {folder}")


def _summary(registered: Registered) -> str:
    if registered.distribution == OWN_DISTRIBUTION:
        return registered.component.summary
    origin = f"{registered.distribution} {registered.distribution_version}"
    return f"{registered.component.summary} ({origin})"
