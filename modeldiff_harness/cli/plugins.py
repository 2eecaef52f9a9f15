"""`mdh plugins`: what is installed, from where, and what is broken."""

from __future__ import annotations

import click

from modeldiff_harness.cli.printing import print_json, print_table
from modeldiff_harness.contracts import KINDS
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.plugins import OWN_DISTRIBUTION, Registered, load_registry

__all__ = ["plugins"]


@click.command(short_help="List what is installed, and what is broken.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option("--kind", help="Only this kind.")
def plugins(as_json: bool, kind: str | None) -> None:
    """List plugin components by kind and name; broken entry points are rows with their error."""
    if kind is not None and kind not in KINDS:
        raise UsageError(f"unknown plugin kind {kind!r}.", hint=did_you_mean(kind, KINDS))
    registry = load_registry()
    found = [r for r in registry.registered if kind in (None, r.component.kind)]
    found.sort(key=lambda r: (r.component.kind, r.component.name))
    if as_json:
        print_json(
            {
                "components": [
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
                ],
                "broken": [
                    {"plugin": b.plugin, "distribution": b.distribution, "error": b.error}
                    for b in registry.broken
                ],
            }
        )
        return
    rows = [(r.component.kind, r.component.name, _summary(r)) for r in found]
    rows += [("broken", b.plugin, f"{b.error} ({b.distribution})") for b in registry.broken]
    print_table("", ("kind", "name", "summary"), rows)


def _summary(registered: Registered) -> str:
    if registered.distribution == OWN_DISTRIBUTION:
        return registered.component.summary
    origin = f"{registered.distribution} {registered.distribution_version}"
    return f"{registered.component.summary} ({origin})"
