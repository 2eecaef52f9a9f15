"""`mdh models`: the aliases that --pair understands."""

from __future__ import annotations

import dataclasses

import click

from modeldiff_harness.cli.printing import print_json, print_table

__all__ = ["models"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def models(as_json: bool) -> None:
    """List model aliases with where they come from, their base and their null twin."""
    from modeldiff_harness.models.registry import alias_registry
    from modeldiff_harness.plugins import load_registry

    refs = alias_registry(load_registry())
    if as_json:
        print_json([dataclasses.asdict(ref) for ref in refs.values()])
        return
    rows = [
        (ref.name, ref.path, ref.adapter or "", ref.base or "", ref.summary)
        for ref in refs.values()
    ]
    print_table("", ("alias", "weights", "adapter", "base", "what"), rows)
