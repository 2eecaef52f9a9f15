"""`mdh dictionaries`: those in the store, those of others, and ours for others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modeldiff_harness.cli.printing import print_json, print_table
from modeldiff_harness.errors import UsageError
from modeldiff_harness.report.render.plain_text import printable
from modeldiff_harness.store import Store, default_data_folder, default_store_folder

if TYPE_CHECKING:
    from modeldiff_harness.artifacts import TrainedDictionary

__all__ = ["dictionaries"]

_ROLES = ("base", "baseline", "candidate")
_SHORT_KEY = 12


@click.group(short_help="List, import and export dictionaries.")
def dictionaries() -> None:
    """List trained dictionaries, import published crosscoders, export ours."""


@dictionaries.command("list", short_help="The dictionaries in the store.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def list_dictionaries(as_json: bool) -> None:
    """List the trained dictionaries in the store by key."""
    from modeldiff_harness.latents.dictionaries.stored import stored_dictionaries

    found = list(stored_dictionaries(Store(default_store_folder())))
    if as_json:
        print_json(found)
        return
    cells = [
        (row["key"][:_SHORT_KEY], row["dictionary_id"], " | ".join(row["views"]), row["learner"],
         row["k"])
        for row in found
    ]  # fmt: skip
    print_table("", ("key", "dictionary", "views", "learner", "k"), cells)


@dictionaries.command("import", short_help="Make a published crosscoder ready for a run.")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--baseline", required=True, help="The baseline, as --pair names it.")
@click.option("--candidate", required=True, help="The candidate, as --pair names it.")
@click.option("--base", help="Their ancestor, when the file is over it too.")
@click.option("--order", help="Roles in the order of the file's rows; default: base,baseline,"
                              "candidate, those that are given.")  # fmt: skip
@click.option("--site", help="resid_post.i, 0-based; default: what the file's settings say.")
@click.option("--layout", default="auto", help="crosscoder_learning or ckkissane.")
@click.option("--scaling_factors", help="Of a ckkissane file, one a row, by comma; default: "
                                        "measured on the run's corpus.")  # fmt: skip
@click.option("--threshold", type=click.Choice(["file", "calibrate"]), default="file",
              help="θ as published, or set so that L0 = k on the run's corpus.")  # fmt: skip
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder to make.")
def import_dictionary(
    path: Path,
    baseline: str,
    candidate: str,
    base: str | None,
    order: str | None,
    site: str | None,
    layout: str,
    scaling_factors: str | None,
    threshold: str,
    output: Path,
) -> None:
    """Read a crosscoder that was published as safetensors and write it as a dictionary.

    PATH is a .safetensors file, or a folder with one and its config.json or cfg.json.  Nothing
    in it is executed; pickled .pt files are refused.
    """
    from modeldiff_harness.latents.dictionaries.imported import adopt, save_imported
    from modeldiff_harness.latents.dictionaries.interchange import read_public

    models = _in_file_order({"base": base, "baseline": baseline, "candidate": candidate}, order)
    public = read_public(path, layout=layout, scaling_factors=_numbers(scaling_factors))
    name = "-vs-".join(models)
    dictionary = adopt(public, models, site=site, dictionary_id=name, threshold=threshold)
    save_imported(dictionary, output)
    _print_summary(dictionary, public.layout, baseline, candidate)
    click.echo(
        f"{output}\nuse it: mdh evaluate --pair {baseline},{candidate} "
        f"--design {'via-base' if base else 'direct'} --sites {dictionary.views[0].site} "
        f"--learner imported --learner_args path={output}"
    )


@dictionaries.command("export", short_help="Write dictionaries in the formats of others.")
@click.argument("name")
@click.option("--format", "file_format", type=click.Choice(["sae", "crosscoder_learning"]),
              default="sae", help="What is written.")  # fmt: skip
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder to make.")
def export(name: str, file_format: str, output: Path) -> None:
    """Export the dictionary NAME: a key of `mdh dictionaries list`, a folder, or a run.

    Of a run all dictionaries are written, a folder each.  Every folder holds safetensors and a
    JSON configuration.
    """
    from modeldiff_harness.latents.dictionaries.interchange_export import export_dictionary
    from modeldiff_harness.latents.dictionaries.stored import named_dictionaries

    found = named_dictionaries(name, Store(default_store_folder()), default_data_folder())
    for dictionary in found:
        folder = output if len(found) == 1 else output / _safe(dictionary.dictionary_id)
        export_dictionary(dictionary, folder, file_format=file_format)
        click.echo(f"{printable(dictionary.dictionary_id)}\n  {folder}")


def _in_file_order(given: dict[str, str | None], order: str | None) -> tuple[str, ...]:
    named = {role: name for role, name in given.items() if name is not None}
    roles = (
        [role.strip() for role in order.split(",")] if order else [r for r in _ROLES if r in named]
    )
    if sorted(roles) != sorted(named):
        raise UsageError(
            f"--order {order} does not name {', '.join(named)} once each.",
            hint="Give the roles in the order of the file's rows.",
        )
    return tuple(named[role] for role in roles)


def _numbers(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--scaling_factors takes numbers by comma, not {text!r}.") from None


def _print_summary(
    dictionary: TrainedDictionary, layout: str, baseline: str, candidate: str
) -> None:
    from modeldiff_harness.latents.dictionaries.norms import relative_norms

    config = dictionary.learner_config
    delta_L = relative_norms(dictionary, baseline, candidate)
    measured = config["scale"] == "measure"
    rows = [
        ("layout", layout),
        ("rows", " | ".join(f"{v.model} at {v.site}, width {v.width}" for v in dictionary.views)),
        ("latents", f"{dictionary.n_latents:,}"),
        ("k", dictionary.k or "none: ReLU"),
        ("threshold", "calibrated in the run" if config["threshold"] == "calibrate"
         else f"{dictionary.threshold:g}"),
        ("space", "x·√D / mean ‖x‖, measured in the run" if measured else "the file's own"),
        ("Δnorm > 0.9", f"{int((delta_L > 0.9).sum()):,} candidate-only"),
        ("Δnorm < 0.1", f"{int((delta_L < 0.1).sum()):,} baseline-only"),
        ("Δnorm 0.4–0.6", f"{int(((delta_L >= 0.4) & (delta_L <= 0.6)).sum()):,} shared"),
    ]  # fmt: skip
    print_table("", ("", ""), rows)


def _safe(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in "-_.@" else "_" for c in name)
    return kept.strip(".") or "_"
