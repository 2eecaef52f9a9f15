"""Where the time of a latent arm goes: seconds of every stage of one whole run.

    python perf/end_to_end.py [--quick] [--preset demo] [--max_tokens N] [--steps N] [--json PATH]

Runs the embedded pair through corpus, harvest, training, scoring, classifying and labelling, null
run included, in an empty store.  A kernel that is ten times faster matters as much as its stage's
share here.  Once is enough for shares; --rounds repeats the run and takes medians.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from measure import Gates, arguments, console, describe, print_machine, write_json

PAIR = "smollm2-sft,smollm2-simpo"


def one_run(quick: bool, settings: Mapping[str, Any], preset: str) -> dict[str, Any]:
    """Run the latent arm once; return seconds by verb, in all, and what was found."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if quick:
            return tiny_run(folder)
        converted = Path(".mdh") / "models"
        if converted.exists():  # unpacking the packaged weights is no part of an arm
            shutil.copytree(converted, folder / "models")
        return timed(PAIR, preset=preset, store=folder, **settings)


def tiny_run(folder: Path) -> dict[str, Any]:
    """The same stages on tiny random models: a smoke test."""
    from modeldiff_harness.testing.workspaces import make_tiny_workspace

    workspace = make_tiny_workspace(folder)
    os.environ.update(workspace.environment)
    return timed("tiny-sft,tiny-simpo", config=workspace.config, store=workspace.store, **OFF)


OFF: dict[str, Any] = {"benchmarks": {"tasks": []}, "preferences": {"enabled": False}}


def timed(pair: str, **given: Any) -> dict[str, Any]:
    from modeldiff_harness import evaluate

    started = time.perf_counter()
    report = evaluate(pair, **given)
    total = time.perf_counter() - started
    stages: dict[str, float] = {}
    for stage in report.provenance.stages:
        stages[stage.verb] = stages.get(stage.verb, 0.0) + stage.seconds
    return {"total": total, "stages": stages, "report": report}


def quality_of(report: Any) -> dict[str, dict[str, float]]:
    """FVE of each dictionary: speed that costs quality is none."""
    return {d.dictionary_id: dict(d.quality.fve) for d in report.latents.dictionaries}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--max_tokens", type=int, default=None, help="of the corpus")
    parser.add_argument("--steps", type=int, default=None, help="of training")
    options = parser.parse_args()
    latents: dict[str, Any] = {}
    if options.max_tokens is not None:
        latents["max_tokens"] = options.max_tokens
    if options.steps is not None:
        latents["learner_config"] = {"steps": options.steps}
    settings = {**OFF, "latents": latents, "runtime": {"offline": True}}
    runs = [one_run(options.quick, settings, options.preset) for _ in range(options.rounds or 1)]

    gates = Gates()
    for run in runs:
        for name, fve in quality_of(run["report"]).items():
            worst = min(fve.values())
            gates.at_most(
                f"{name}: variance left unexplained", 1.0 - worst, 1.0 if options.quick else 0.6
            )
    gates.require(options.json)
    verbs = list(dict.fromkeys(verb for run in runs for verb in run["stages"]))
    seconds = {verb: [run["stages"].get(verb, 0.0) for run in runs] for verb in verbs}
    seconds["outside the stages"] = [run["total"] - sum(run["stages"].values()) for run in runs]
    total = statistics.median(run["total"] for run in runs)
    show(seconds, total)
    machine = describe()
    print_machine(machine)
    if options.json is not None:
        arms = [
            {
                "name": verb,
                "seconds": times,
                "median": statistics.median(times),
                "ratio_vs_dense": None,
                "ratio_vs_strengthened": None,
                "share": statistics.median(times) / total,
            }
            for verb, times in seconds.items()
        ]
        write_json(
            options.json,
            {
                **machine,
                "correctness": gates.as_json(),
                "arms": arms,
                "total_seconds": [run["total"] for run in runs],
                "settings": settings,
                "preset": None if options.quick else options.preset,
                "quick": options.quick,
                "fve": quality_of(runs[-1]["report"]),
            },
        )


def show(seconds: Mapping[str, list[float]], total: float) -> None:
    from rich.table import Table

    table = Table(title=f"Latent arm end to end: {total:,.1f} s", title_justify="left")
    for column in ("stage", "seconds", "share"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for verb, times in seconds.items():
        median = statistics.median(times)
        table.add_row(verb, f"{median:,.2f}", f"{median / total:.1%}")
    console().print(table)


if __name__ == "__main__":
    main()
