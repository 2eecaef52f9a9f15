"""The options of a run, shared by `evaluate` and the stage commands, with lm-eval's names.

Dashes are accepted for underscores; lists are given by comma or by space.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from modeldiff_harness.config import RunConfig, resolve_config
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.presets import PRESETS

__all__ = ["ListCommand", "build_config", "key_values", "run_options"]

F = TypeVar("F", bound=Callable[..., Any])

_LISTS = ("--pair", "--tasks", "--include_path", "--sites", "--scorers", "--seed")


class ListCommand(click.Command):
    """A command whose list options take values by comma or by space."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join the values after a list option with commas."""
        joined: list[str] = []
        at = 0
        while at < len(args):
            token = args[at]
            joined.append(token)
            at += 1
            if token.replace("-", "_").replace("__", "--", 1) in _LISTS:
                values = []
                while at < len(args) and not args[at].startswith("-"):
                    values.append(args[at].strip(","))
                    at += 1
                if values:
                    joined.append(",".join(values))
        return super().parse_args(ctx, joined)


_OPTIONS: tuple[Callable[[F], F], ...] = (
    click.option("--pair", metavar="BASELINE,CANDIDATE", help="The two models, in this order."),
    click.option("--base", help="Their common ancestor (default: the alias's own)."),
    click.option("--null_twin", help="A model trained like the baseline with another seed."),
    click.option("--preset", help=f"Starting point: {', '.join(PRESETS)}."),
    click.option("--config", "config_file", type=click.Path(path_type=Path),
                 help="YAML or JSON configuration; flags override it."),
    click.option("--tasks", help="lm-eval tasks, ours, and the words model_diff and "
                                 "style_preference; none: all three arms."),
    click.option("--model_args", help="For both models: dtype=…,trust_remote_code=True."),
    click.option("--num_fewshot", type=int),
    click.option("--limit", type=float, help="Items a task; the run is then not gateable."),
    click.option("--batch_size", type=int),
    click.option("--device", help="cpu, cuda, cuda:0 … (default: what is there)."),
    click.option("--dtype", help="float32, bfloat16 or float16."),
    click.option("--apply_chat_template", is_flag=True, default=None),
    click.option("--chat_template", metavar="MODEL|FILE", help="One template for all models."),
    click.option("--system_instruction"),
    click.option("--seed", help="lm-eval's four seeds, or one for all."),
    click.option("--gen_kwargs", help="key=value,… for generation tasks."),
    click.option("--include_path", help="Folders with more lm-eval tasks."),
    click.option("--log_samples", is_flag=True, help="Always on; accepted for familiarity."),
    click.option("--use_cache", "store", type=click.Path(path_type=Path),
                 help="The store (default: $MDH_STORE, else the platform's cache folder)."),
    click.option("--trust_remote_code", is_flag=True, default=None),
    click.option("--offline", is_flag=True, default=None, help="Never ask the network."),
    click.option("--design", help="via-base, direct, …"),
    click.option("--sites", help="resid_post.i, 0-based."),
    click.option("--source", help="Activation source."),
    click.option("--corpus", help="Corpus component, or a .jsonl, .parquet or .txt file."),
    click.option("--corpus_args", help="key=value,…"),
    click.option("--max_tokens", type=int, help="Tokens of the corpus."),
    click.option("--activations", type=click.Choice(["cached", "stream"]),
                 help="Keep activations on disk, or run the models while training."),
    click.option("--buffer_tokens", type=int, help="Tokens the stream's mixing buffer holds."),
    click.option("--learner", help="Dictionary learner."),
    click.option("--learner_args", help="key=value,… (n_latents, k, steps, …)."),
    click.option("--replicates", type=int, help="Dictionary seeds, and reruns of the baseline "
                                                "that give the benchmarks' noise floor."),
    click.option("--scorers", help="Latent scorers."),
    click.option("--rule", help="Rule of `classify` that the profile uses."),
    click.option("--null", "null_run", type=click.Choice(["auto", "none"]), help="The null run."),
    click.option("--labeler"),
    click.option("--judge"),
    click.option("--prompts", help="`capability` or a JSONL file of prompts."),
    click.option("--battles", help="Import battles from this file instead of judging."),
    click.option("--max_prompts", type=int),
    click.option("--max_new_tokens", type=int),
)  # fmt: skip


def run_options(function: F) -> F:
    """Decorate a command with every option that makes a RunConfig."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def build_config(given: Mapping[str, Any]) -> tuple[RunConfig, dict[str, Any]]:
    """Return the resolved configuration, and what was passed, from the options' values."""
    passed = {k: v for k, v in given.items() if v is not None and v is not False}
    overrides: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {
        "benchmarks": {}, "preferences": {}, "latents": {}, "runtime": {},
    }  # fmt: skip
    for name, value in passed.items():
        section, key = _PLACES.get(name, (None, None))
        if key is None:
            continue
        value = _PARSERS[name](value) if name in _PARSERS else value
        (overrides if section is None else nested[section])[key] = value
    if "model_args" in passed:
        _apply_model_args(passed["model_args"], overrides, nested)
    if "replicates" in passed:
        nested["benchmarks"]["replicates"] = passed["replicates"]
    if "tasks" in passed:
        _apply_tasks(_split(passed["tasks"]), nested)
    for section, values in nested.items():
        if values:
            overrides[section] = values
    config = resolve_config(
        preset=passed.get("preset"), file=passed.get("config_file"), overrides=overrides
    )
    return config, {k: str(v) if isinstance(v, Path) else v for k, v in passed.items()}


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _pair(text: str) -> list[str]:
    names = _split(text)
    if len(names) != 2:
        raise UsageError(
            f"--pair needs two models, got {len(names)}.", hint="Write --pair BASELINE,CANDIDATE."
        )
    return names


def _seeds(text: str) -> list[int]:
    try:
        seeds = [int(part) for part in _split(text)]
    except ValueError:
        raise UsageError(f"--seed takes whole numbers, not {text!r}.") from None
    if len(seeds) == 1:
        return seeds * 4
    if len(seeds) != 4:
        raise UsageError("--seed takes one number or lm-eval's four.")
    return seeds


def key_values(text: str) -> dict[str, Any]:
    """Parse `key=value,…`; values are read as JSON where they are JSON, else as text."""
    values: dict[str, Any] = {}
    for part in _split(text):
        key, equals, raw = part.partition("=")
        if not equals:
            raise UsageError(f"expected key=value, got {part!r}.")
        try:
            values[key.strip()] = json.loads(
                raw.strip().replace("True", "true").replace("False", "false")
            )
        except ValueError:
            values[key.strip()] = raw.strip()
    return values


def _apply_model_args(
    text: str, overrides: dict[str, Any], nested: dict[str, dict[str, Any]]
) -> None:
    known = {"dtype", "trust_remote_code", "device", "batch_size"}
    for key, value in key_values(text).items():
        if key not in known:
            raise UsageError(
                f"--model_args has no {key!r} for a pair.", hint=did_you_mean(key, known)
            )
        if key == "dtype":
            overrides["dtype"] = value
        else:
            nested["runtime"][key] = value


def _apply_tasks(names: list[str], nested: dict[str, dict[str, Any]]) -> None:
    """Naming tasks selects arms: the two words switch the other arms on, anything else benches."""
    names = [n.replace("-", "_") if n.replace("-", "_") in _ARM_WORDS else n for n in names]
    nested["benchmarks"]["tasks"] = [n for n in names if n not in _ARM_WORDS]
    for word, section in _ARM_WORDS.items():
        nested[section]["enabled"] = word in names


_ARM_WORDS = {"model_diff": "latents", "style_preference": "preferences"}

_PLACES: Mapping[str, tuple[str | None, str]] = {
    "pair": (None, "pair"),
    "base": (None, "base"),
    "null_twin": (None, "null_twin"),
    "dtype": (None, "dtype"),
    "apply_chat_template": (None, "apply_chat_template"),
    "chat_template": (None, "chat_template"),
    "system_instruction": (None, "system_instruction"),
    "seed": (None, "seed"),
    "num_fewshot": ("benchmarks", "num_fewshot"),
    "limit": ("benchmarks", "limit"),
    "gen_kwargs": ("benchmarks", "gen_kwargs"),
    "include_path": ("benchmarks", "include_path"),
    "batch_size": ("runtime", "batch_size"),
    "device": ("runtime", "device"),
    "trust_remote_code": ("runtime", "trust_remote_code"),
    "offline": ("runtime", "offline"),
    "design": ("latents", "design"),
    "sites": ("latents", "sites"),
    "source": ("latents", "source"),
    "corpus": ("latents", "corpus"),
    "corpus_args": ("latents", "corpus_config"),
    "max_tokens": ("latents", "max_tokens"),
    "activations": ("latents", "activations"),
    "buffer_tokens": ("latents", "buffer_tokens"),
    "learner": ("latents", "learner"),
    "learner_args": ("latents", "learner_config"),
    "replicates": ("latents", "replicates"),
    "scorers": ("latents", "scorers"),
    "rule": ("latents", "rule"),
    "null_run": ("latents", "null"),
    "labeler": ("latents", "labeler"),
    "judge": ("preferences", "judge"),
    "prompts": ("preferences", "prompts"),
    "battles": ("preferences", "battles"),
    "max_prompts": ("preferences", "max_prompts"),
    "max_new_tokens": ("preferences", "max_new_tokens"),
}

_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "pair": _pair,
    "seed": _seeds,
    "gen_kwargs": key_values,
    "include_path": _split,
    "sites": _split,
    "scorers": _split,
    "corpus_args": key_values,
    "learner_args": key_values,
}
