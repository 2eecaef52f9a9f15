"""`mdh rank`: the preference of a pair, from a file of battles or as a stage of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modeldiff_harness.cli.options import (
    RUN_OPTIONS,
    ListCommand,
    flags_given,
    key_values,
    run_options,
)
from modeldiff_harness.cli.typed import OUTPUT_FILE
from modeldiff_harness.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from modeldiff_harness.artifacts import Battles, PreferenceDeltas
    from modeldiff_harness.plugins import Registry

__all__ = ["rank"]

_OF_A_RUN = {option.name for option in RUN_OPTIONS}


@click.command(
    name="rank",
    cls=ListCommand,
    short_help="Split the preference delta of a pair into style and substance.",
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option("--baseline", help="With FILE: the baseline's name in the file.")
@click.option("--candidate", help="With FILE: the candidate's name in the file.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "markdown", "html"]),
    help="With FILE: how to print (default: text); json is `preferences.deltas` of report.json.",
)
@click.option("--output", type=OUTPUT_FILE, help="With FILE: write it there.")
@click.option("--format_in", help="With FILE: importer of the battles (default: auto).")
@click.option("--format_args", help="With FILE: key=value,… for the importer.")
@click.option("--columns", help="With FILE: field=column,… of a flat file (importer table).")
@click.option("--winners", help="With FILE: word=model_a|model_b|tie|both_bad|invalid,…")
@click.option("--category", multiple=True, help="With FILE: only battles of this category.")
@click.option(
    "--style_coefficients",
    type=click.Path(path_type=Path),
    help="With FILE: take the style effects from this JSON file instead of fitting them.",
)
@click.option("--feature_set", help="With FILE: style features (default: lmarena-v1).")
@click.option(
    "--pair_only",
    is_flag=True,
    default=None,
    help="With FILE: ignore battles of other models instead of learning from them.",
)
@run_options
def rank(files: tuple[Path, ...], store: Path | None, **given: Any) -> None:
    """Split the preference delta of a pair into style and substance.

    With FILE: rank finished battles (LMArena, MT-bench, arena-hard, alpaca_eval, CSV, native …); no
    model is loaded and no run is made.  Several files of one format are read as one.

    Without FILE: the stage of a run that is called `rank`, with the options of `evaluate`.
    """
    from modeldiff_harness.plugins import others_code

    flags = flags_given(click.get_current_context())
    for name, flag in flags.items():
        if files and name in _OF_A_RUN:
            raise UsageError(
                f"{flag} is for a run; a file of battles is ranked without one.",
                hint="Leave it out, or leave out FILE.",
            )
        if not files and name not in _OF_A_RUN:
            raise UsageError(
                f"{flag} is for a file of battles, and none is given.",
                hint="Write `mdh rank FILE --baseline X --candidate Y`.",
            )
    if files:
        own = {name: value for name, value in given.items() if name not in _OF_A_RUN}
        with others_code():
            found = _ranked(files, own)
        _show(found, own)
    else:
        from modeldiff_harness.cli.stages import run_stage

        run_stage("rank", store, {k: v for k, v in given.items() if k in _OF_A_RUN})


def _ranked(files: Sequence[Path], own: Mapping[str, Any]) -> PreferenceDeltas:
    from modeldiff_harness.cli.progress import console_progress
    from modeldiff_harness.contracts import Runtime
    from modeldiff_harness.plugins import load_registry
    from modeldiff_harness.preferences.coefficients import read_style_coefficients
    from modeldiff_harness.preferences.rank import rank as rank_battles

    registry = load_registry()
    name = own["feature_set"] or "lmarena-v1"
    feature_set = registry.choose("feature_set", name).build()
    fixed = None
    if own["style_coefficients"] is not None:
        fixed = read_style_coefficients(own["style_coefficients"], feature_set.name)
    battles = _only(_read(files, own, registry), own["category"])
    baseline, candidate = _pair(battles, own)
    found = rank_battles(
        battles,
        baseline=baseline,
        candidate=candidate,
        feature_set=feature_set,
        style_coefficients=fixed,
        pair_only=bool(own["pair_only"]),
        runtime=Runtime(progress=console_progress()),
    )
    if own["category"]:
        from dataclasses import replace

        chosen = tuple(f"category:{category}" for category in own["category"])
        found = replace(found, flags=(*chosen, *found.flags))
    return found


def _read(files: Sequence[Path], own: Mapping[str, Any], registry: Registry) -> Battles:
    from modeldiff_harness.preferences.importers import import_files

    wanted = own["format_in"] or "auto"
    config = key_values(own["format_args"]) if own["format_args"] else {}
    if own["columns"] or own["winners"]:
        if wanted not in ("auto", "table"):
            raise UsageError(
                f"--columns and --winners are for the importer 'table', not {wanted!r}."
            )
        wanted = "table"
        for name in ("columns", "winners"):
            if own[name]:
                config[name] = {k: str(v) for k, v in key_values(own[name]).items()}
    if wanted == "auto" and config:
        raise UsageError(
            "--format_args needs the importer it is for.", hint="Name it with --format_in."
        )
    return import_files(files, registry.usable("battle_importer", wanted, config), wanted)


def _only(battles: Battles, categories: Sequence[str]) -> Battles:
    if not categories:
        return battles
    from dataclasses import replace

    known = {category for battle in battles.battles for category in battle.categories}
    for category in categories:
        if category not in known:
            raise UsageError(
                f"no battle has the category {category!r}.", hint=did_you_mean(category, known)
            )
    wanted = set(categories)
    kept = tuple(battle for battle in battles.battles if wanted & set(battle.categories))
    return replace(battles, battles=kept)


def _pair(battles: Battles, own: Mapping[str, Any]) -> tuple[str, str]:
    """Return baseline and candidate; where one is not named, say what there is."""
    if own["baseline"] and own["candidate"]:
        return own["baseline"], own["candidate"]
    from collections import Counter

    counts = Counter(m for battle in battles.battles for m in (battle.model_a, battle.model_b))
    most = counts.most_common(8)
    shown = ", ".join(f"{name} ({n:,})" for name, n in most)
    more = f" and {len(counts) - len(most)} more" if len(counts) > len(most) else ""
    raise UsageError(
        "a file of battles needs --baseline and --candidate.",
        hint=f"Its models, with their battles: {shown}{more}.",
    )


def _show(deltas: PreferenceDeltas, own: Mapping[str, Any]) -> None:
    from modeldiff_harness.artifacts.codec import to_plain
    from modeldiff_harness.cli.printing import json_text, show_section

    output_format = own["output_format"] or "text"
    if output_format == "json":
        text = json_text(to_plain(deltas))
    else:
        from modeldiff_harness.report.sections.preferences import render_preferences

        title = f"Preference: {own['baseline']} → {own['candidate']}"
        rendered = render_preferences(deltas, title)
        text = show_section(rendered, output_format, "mdh rank", to_file=own["output"] is not None)
    if own["output"] is None:
        click.echo(text, nl=False)
    else:
        from modeldiff_harness.disk import write_output

        write_output(own["output"], text)
        click.echo(str(own["output"]))
