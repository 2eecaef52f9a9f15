"""`mdh history`: deltas, verdicts and moves over the stored reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modeldiff_harness.cli.options import split_list
from modeldiff_harness.cli.typed import OUTPUT_FILE
from modeldiff_harness.disk import write_output
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.store import default_data_folder

if TYPE_CHECKING:
    from modeldiff_harness.history.records import History

__all__ = ["history"]


@click.command(short_help="Show deltas, verdicts and drift over the stored reports.")
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="[FOLDER]...")
@click.option("--pair", metavar="BASELINE,CANDIDATE", help="Only this pair, or BASELINE alone.")
@click.option("--against", help="Report or saved reference that moves are told against.")
@click.option(
    "--format", "output_format", type=click.Choice(["text", "json", "html"]), default="text"
)
@click.option("--output", type=OUTPUT_FILE, help="Write it there.")
def history(
    folders: tuple[Path, ...],
    pair: str | None,
    against: str | None,
    output_format: str,
    output: Path | None,
) -> None:
    """Show what the stored reports of each pair say one after another.

    All runs with a report and all saved references (`mdh baseline save`) are taken, and the FOLDERs
    given: each a folder with a report.json.  A move is a delta that differs from that of the
    reference beyond 2.6 standard errors; without --against the reference is the oldest report.
    """
    from modeldiff_harness.artifacts.codec import to_plain
    from modeldiff_harness.cli.printing import json_text
    from modeldiff_harness.history.gather import gather_history, stored_reports

    names = split_list(pair or "")
    if len(names) > 2:
        raise UsageError(f"--pair needs one or two models, got {len(names)}.")
    stored = stored_reports(default_data_folder())
    for folder in folders:
        if not (folder / "report.json").is_file():
            raise UsageError(f"there is no report.json in {folder}.")
        stored.append((folder.name or str(folder), False, folder))
    found = gather_history(
        stored,
        baseline=names[0] if names else None,
        candidate=names[1] if len(names) > 1 else None,
        reference=against,
    )
    if not found.pairs and (names or not found.unreadable):
        what = f" of {' and '.join(names)}" if names else ""
        raise UsageError(
            f"there is no stored report{what}.", hint="Run `mdh evaluate`, or see `mdh runs`."
        )
    if against is not None:
        entries = [entry for one in found.pairs for entry in one.entries]
        known = {n for entry in entries for n in (entry.name, entry.saved_as) if n is not None}
        if against not in known:
            raise UsageError(f"no report is called {against!r}.", hint=did_you_mean(against, known))
    if output_format == "json":
        text = json_text(to_plain(found))
    else:
        text = _shown(found, output_format, to_file=output is not None)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_output(output, text)
        click.echo(str(output))


def _shown(found: History, output_format: str, *, to_file: bool) -> str:
    from modeldiff_harness.cli.printing import show_section
    from modeldiff_harness.history.section import history_sections

    sections = history_sections(found)
    if output_format == "html":
        from modeldiff_harness.report.render.html import sections_html

        return sections_html(sections, "History of reports", "mdh history")
    return "".join(show_section(section, "text", "", to_file=to_file) for section in sections)
