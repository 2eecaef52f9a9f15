"""`mdh models`: the aliases that --pair understands."""

from __future__ import annotations

import dataclasses

import click

from modeldiff_harness.cli.printing import print_json, print_table

__all__ = ["models"]


@click.command(short_help="List model aliases.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def models(as_json: bool) -> None:
    """List model aliases with where they come from, their base and their null twin."""
    from modeldiff_harness.models.registry import load_model_registry
    from modeldiff_harness.plugins import load_registry

    registry = load_model_registry(load_registry())
    refs = registry.aliases()
    if as_json:
        print_json([dataclasses.asdict(ref) for ref in refs.values()])
        return
    rows = [
        (
            alias,
            ref.base or "",
            ref.null_twin or "",
            ref.summary or f"{ref.path} ({registry.origin(alias)})",
        )
        for alias, ref in refs.items()
    ]
    print_table("", ("alias", "base", "null twin", "what"), rows)
