"""`mdh verify` and `mdh gc`: the store's health and size."""

from __future__ import annotations

import click

from modeldiff_harness.cli.printing import print_table
from modeldiff_harness.disk import remove
from modeldiff_harness.errors import RunError
from modeldiff_harness.store import (
    Store,
    default_data_folder,
    default_store_folder,
    named_objects,
)

__all__ = ["gc", "verify"]


@click.command()
@click.option("--fix", is_flag=True, help="Remove damaged objects; the next run rebuilds them.")
def verify(fix: bool) -> None:
    """Re-read stored objects, converted models and task suites against their digests."""
    from modeldiff_harness.benchmarks.own_folders import suite_problems
    from modeldiff_harness.models.converted import cache_problems

    store = Store(default_store_folder())
    n_objects = sum(1 for _ in store.finished())
    problems = [(p, store.folder(p.verb, p.key)) for p in store.verify()]
    problems += suite_problems(store.root) + cache_problems(store.root / "models")
    if not problems:
        click.echo(f"{n_objects} objects, all intact.")
        return
    print_table("", ("stage", "key", "problem"), [(p.verb, p.key, p.problem) for p, _ in problems])
    damaged = sorted({path for _, path in problems})
    if not fix:
        raise RunError(
            f"damaged: {len(damaged)} of {n_objects} objects and what is cached beside them.",
            hint="`mdh verify --fix` removes them; the next run rebuilds them.",
        )
    for path in damaged:
        remove(path)
    click.echo(f"removed {len(damaged)} damaged objects.")


@click.command(short_help="Remove objects that no run names.")
@click.option("--dry_run", is_flag=True, help="Only say what would go.")
def gc(dry_run: bool) -> None:
    """Remove objects that no run names and leftovers of broken-off work."""
    try:
        named = named_objects(default_data_folder(), default_store_folder())
    except RunError as error:
        raise RunError(
            f"nothing was removed: {error.message}",
            hint="What that run made is not known: remove its folder to give it up.",
        ) from error
    removed, n_bytes = Store(default_store_folder()).collect_garbage(named, dry_run=dry_run)
    word = "would remove" if dry_run else "removed"
    click.echo(f"{word} {len(removed)} objects, {n_bytes / 2**20:,.1f} MiB.")
