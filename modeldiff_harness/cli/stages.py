"""A command a stage: `mdh train …` runs the pipeline of `mdh evaluate …` up to that verb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modeldiff_harness.cli.options import ListCommand, build_config, run_options
from modeldiff_harness.cli.printing import print_stages
from modeldiff_harness.cli.progress import console_progress

__all__ = ["run_stage", "stage_commands"]

_SUMMARIES = {
    "harvest": "Run the models over the corpus and keep their activations.",
    "train": "Train the dictionaries.",
    "score": "Measure every latent in one pass over held-out tokens.",
    "classify": "Say which model each latent belongs to, under each rule.",
    "label": "Name the model-specific latents and test the names.",
    "profile": "Compare the shares of capabilities among the models' latents.",
    "bench": "Run the benchmark tasks for both models and pair the items.",
    "battle": "Answer the prompts and judge the answers.",
    "rank": "Split the preference delta into style and substance.",
}


def stage_commands() -> list[click.Command]:
    """Return one command a verb, all with the options of `evaluate`.

    `rank` also takes a file: its command stands in `cli/rank.py`.
    """
    return [_stage_command(verb, text) for verb, text in _SUMMARIES.items() if verb != "rank"]


def run_stage(verb: str, store: Path | None, given: dict[str, Any]) -> None:
    """Run the pipeline up to `verb` and say where its objects lie."""
    from modeldiff_harness import pipeline
    from modeldiff_harness.plugins import others_code

    config, as_passed = build_config(given)
    with others_code():
        session = pipeline.open_session(
            config, as_passed=as_passed, store_folder=store, progress=console_progress()
        )
        stages = session.run_until(verb)
    print_stages(stages)


def _stage_command(verb: str, summary: str) -> click.Command:
    @click.command(name=verb, cls=ListCommand, help=f"{summary}  Options are those of `evaluate`.")
    @run_options
    def command(store: Path | None, **given: Any) -> None:
        run_stage(verb, store, given)

    return command
