"""The one table of a run's options: each lands at the keys it names, and nowhere else."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

import click
import pytest

from modeldiff_harness.cli import cli
from modeldiff_harness.cli.options import RUN_OPTIONS, RunOption, build_config
from modeldiff_harness.config import RunConfig

SETTINGS = [option for option in RUN_OPTIONS if option.keys]
TYPED: dict[str, tuple[str, Any]] = {
    "--pair": ("x,y", ("x", "y")),
    "--seed": ("7", (7, 7, 7, 7)),
    "--gen_kwargs": ("a=1", {"a": 1}),
    "--include_path": ("p,q", ("p", "q")),
    "--sites": ("resid_post.1,resid_post.2", ("resid_post.1", "resid_post.2")),
    "--corpus_args": ("share=0.5", {"share": 0.5}),
    "--learner_args": ("k=3", {"k": 3}),
    "--scorers": ("one,two", ("one", "two")),
    "--null": ("none", "none"),
    "--activations": ("stream", "stream"),
    "--device": ("cuda:1", "cuda:1"),
    "--dtype": ("float16", "float16"),
}
"""What is typed, and what the key then holds, where its type does not say it."""
SEVERAL: dict[str, tuple[str, dict[str, Any]]] = {
    "--tasks": ("t,style-preference", {"benchmarks.tasks": ("t",), "latents.enabled": False}),
    "--model_args": (
        "dtype=float16,device=cpu,batch_size=3,trust_remote_code=True",
        {"dtype": "float16", "runtime.device": "cpu", "runtime.batch_size": 3,
         "runtime.trust_remote_code": True},
    ),
}  # fmt: skip


def words_and_keys(option: RunOption) -> tuple[list[str], dict[str, Any]]:
    """What is typed for an option, and the keys that then differ from their defaults."""
    if option.flag in SEVERAL:
        typed, keys = SEVERAL[option.flag]
        return [option.flag, typed], keys
    (key,) = option.keys
    if option.type is bool:
        return [option.flag], {key: True}
    by_type = {int: ("7", 7), float: ("0.5", 0.5)}.get(option.type, ("other", "other"))
    typed, held = TYPED.get(option.flag, by_type)
    return [option.flag, typed], {key: held}


def flat(config: RunConfig) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in dataclasses.asdict(config).items():
        if key in ("benchmarks", "preferences", "latents", "runtime"):
            found |= {f"{key}.{inner}": held for inner, held in value.items()}
        else:
            found[key] = value
    return found


def given(words: list[str]) -> dict[str, Any]:
    """What click makes of the words after `mdh train`."""
    command = cli.commands["train"]
    values = dict(command.make_context("train", list(words)).params)
    del values["store"]
    return values


@pytest.mark.parametrize("option", SETTINGS, ids=lambda option: option.flag)
def test_a_flag_lands_at_the_keys_it_names_and_nowhere_else(option):
    words, keys = words_and_keys(option)
    before, after = flat(RunConfig()), flat(build_config(given(words))[0])
    assert {key: after[key] for key in after if after[key] != before[key]} == keys
    assert keys.keys() <= set(option.keys) <= after.keys()


@pytest.mark.parametrize("option", SETTINGS, ids=lambda option: option.flag)
def test_a_command_line_written_again_from_what_was_passed_means_the_same(option):
    words, _ = words_and_keys(option)
    config, passed = build_config(given(words))
    again = []
    for name, value in passed.items():
        again += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    assert again == words == shlex.split(shlex.join(again))
    assert build_config(given(again))[0] == config


def test_of_two_options_for_one_key_the_first_of_the_table_wins():
    config, _ = build_config(given(["--dtype", "float32", "--model_args", "dtype=bfloat16"]))
    assert config.dtype == "bfloat16"


def test_no_two_options_share_a_flag_or_a_parameter():
    assert len({option.flag for option in RUN_OPTIONS}) == len(RUN_OPTIONS)
    assert len({option.name for option in RUN_OPTIONS}) == len(RUN_OPTIONS)


@pytest.mark.parametrize("command", ["evaluate", "train", "rank"])
def test_a_command_of_a_run_has_every_option_of_the_table(command):
    flags = {f for p in cli.commands[command].params if isinstance(p, click.Option) for f in p.opts}
    assert {option.flag for option in RUN_OPTIONS} <= flags
