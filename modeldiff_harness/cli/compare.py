"""`mdh compare`: two folders of existing results, no model."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from modeldiff_harness.cli.options import split_list
from modeldiff_harness.cli.printing import print_report
from modeldiff_harness.cli.progress import console_progress
from modeldiff_harness.cli.typed import SEED
from modeldiff_harness.disk import writable_folder
from modeldiff_harness.errors import UsageError

__all__ = ["compare", "compare_options", "request_of"]

_FORMATS = ["text", "json", "markdown", "html"]


def compare_options(function: Any) -> Any:
    """Decorate a command with the options that say what is paired and how."""
    for option in reversed(
        (
            click.option("--format_in", default="auto", show_default=True,
                         help="lm-eval, inspect, lighteval, or a plugin's importer."),
            click.option("--tasks", help="Names, groups or patterns by comma; default: all."),
            click.option("--names", metavar="BASELINE,CANDIDATE",
                         help="What to call the models; default: their names in the results."),
            click.option("--rerun", "reruns", multiple=True,
                         type=click.Path(path_type=Path),
                         help="Results of another run of the baseline, for the noise floor; "
                              "repeatable."),
            click.option("--metric", "metrics", multiple=True, metavar="TASK=METRIC[,FILTER]",
                         help="The task's (or group's) primary metric; repeatable."),
            click.option("--lower_is_better", multiple=True, metavar="[TASK:]METRIC",
                         help="Turn a metric's direction; repeatable."),
            click.option("--higher_is_better", multiple=True, metavar="[TASK:]METRIC",
                         help="The same the other way; repeatable."),
            click.option("--cluster", "clusters", multiple=True, metavar="TASKS=KEY",
                         help="Items that share KEY are one cluster: a field of the document such "
                              "as passage, idx.0 or link+number; none: no clusters."),
            click.option("--allow_unmatched", is_flag=True,
                         help="Go on when more than 1 % of a task's items have no partner."),
            click.option("--average_repeats", is_flag=True,
                         help="Several answers to one item are samples of it: average them."),
            click.option("--seed", type=SEED, default=0, show_default=True,
                         help="Of resampling."),
        )
    ):  # fmt: skip
        function = option(function)
    return function


def request_of(baseline: Path, candidate: Path, given: dict[str, Any]) -> Any:
    """Return the CompareRequest of the options' values."""
    from modeldiff_harness.benchmarks.pairing.cluster_keys import check_expression
    from modeldiff_harness.benchmarks.pairing.task import PairingOptions
    from modeldiff_harness.pipeline.compare import CompareRequest

    names = None
    if given["names"]:
        names = tuple(part.strip() for part in given["names"].split(","))
        if len(names) != 2 or not all(names) or names[0] == names[1]:
            raise UsageError("--names needs two different names.", hint="Write --names OLD,NEW.")
    clusters = _pairs("--cluster", given["clusters"])
    directions = dict.fromkeys(given["lower_is_better"], False)
    for metric in given["higher_is_better"]:
        if metric in directions:
            raise UsageError(f"{metric!r} cannot be better both ways.")
        directions[metric] = True
    return CompareRequest(
        baseline=baseline,
        candidate=candidate,
        reruns=tuple(given["reruns"]),
        format_in=given["format_in"],
        names=names,
        tasks=tuple(split_list(given["tasks"] or "")),
        metrics=_pairs("--metric", given["metrics"]),
        options=PairingOptions(
            allow_unmatched=given["allow_unmatched"],
            average_repeats=given["average_repeats"],
            clusters={tasks: check_expression(key) for tasks, key in clusters.items()},
            directions=directions,
            seed=given["seed"],
        ),
    )


def _pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise UsageError(f"{option} takes NAME=VALUE, not {text!r}.")
        found[name.strip()] = value.strip()
    return found


@click.command(short_help="Compare two folders of existing results.")
@click.argument("baseline", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@compare_options
@click.option(
    "--format",
    "output_format",
    type=click.Choice(_FORMATS),
    default="text",
    show_default=True,
    help="What standard output shows.",
)
@click.option(
    "--output_path",
    type=click.Path(path_type=Path),
    help="Also write the report (json, md, html) and every item here.",
)
def compare(
    baseline: Path, candidate: Path, output_format: str, output_path: Path | None, **given: Any
) -> None:
    """Compare the results of BASELINE and CANDIDATE item by item; no model is needed.

    Each is a folder or file of lm-eval (--log_samples), Inspect (.eval or .json logs) or lighteval
    (details). The report has the schema of `mdh evaluate`; every delta is candidate − baseline.
    """
    from modeldiff_harness.pipeline import compare as comparing
    from modeldiff_harness.plugins import load_registry, others_code

    registry = load_registry()
    sections = registry.sections()
    request = request_of(baseline, candidate, given)
    if output_path is not None:
        writable_folder(output_path, "--output_path")
    with others_code():
        found = comparing.compare(
            request,
            command=shlex.join(["mdh", *sys.argv[1:]]),
            registry=registry,
            progress=console_progress(),
        )
    if output_path is not None:
        comparing.write_comparison(found, output_path, sections)
    print_report(found.report, sections, output_format, output_path)
