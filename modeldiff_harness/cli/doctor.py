"""`mdh doctor`: what this machine has and what is missing."""

from __future__ import annotations

import click

from modeldiff_harness.cli.printing import print_table
from modeldiff_harness.cli.redaction import redacted
from modeldiff_harness.errors import RunError
from modeldiff_harness.store import default_store_folder

__all__ = ["doctor"]


@click.command(short_help="Check this machine and what is installed.")
@click.option("--offline", is_flag=True, help="Do not look at the Hub.")
def doctor(offline: bool) -> None:
    """Check versions, device, memory, store, network and keys (named, never shown)."""
    from modeldiff_harness.models.doctor import diagnose

    rows = diagnose(default_store_folder(), offline=offline)
    shown = [(row.check, row.status, redacted(row.detail)) for row in rows]
    print_table("", ("check", "status", "detail"), shown)
    wrong = [row.check for row in rows if row.status == "error"]
    if wrong:
        raise RunError(f"not in order: {', '.join(wrong)}.", hint="See the table above.")
