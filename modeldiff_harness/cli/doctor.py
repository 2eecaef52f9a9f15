"""`mdh doctor`: what this machine has and what is missing."""

from __future__ import annotations

import click

from modeldiff_harness.cli.printing import print_table

__all__ = ["doctor"]


@click.command()
def doctor() -> None:
    """Check versions, device, memory, store, network and keys (named, never shown)."""
    from modeldiff_harness.models.doctor import diagnose

    print_table("", ("check", "status", "detail"), diagnose())
