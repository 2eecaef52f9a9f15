"""The options of a run, shared by `evaluate` and the stage commands, with lm-eval's names.

Dashes are accepted for underscores; lists are given by comma or by space.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from modeldiff_harness.config import RunConfig, SettingError, resolve_config
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.presets import PRESETS

__all__ = [
    "RUN_OPTIONS",
    "ListCommand",
    "RunOption",
    "build_config",
    "flags_given",
    "key_values",
    "run_options",
    "split_list",
]

F = TypeVar("F", bound=Callable[..., Any])


# ── from what is typed to the values of keys ─────────────────────────────────────────────────


def split_list(text: str) -> list[str]:
    """Return the parts of a list by comma; empty ones are left out."""
    return [part.strip() for part in text.split(",") if part.strip()]


def key_values(text: str) -> dict[str, Any]:
    """Parse `key=value,…`; values are read as JSON where they are JSON, else as text."""
    values: dict[str, Any] = {}
    for part in split_list(text):
        key, equals, raw = part.partition("=")
        if not equals:
            raise UsageError(f"expected key=value, got {part!r}.")
        if key.strip() in values:
            raise UsageError(f"{key.strip()!r} is given twice in {text!r}.")
        try:
            values[key.strip()] = json.loads(
                raw.strip().replace("True", "true").replace("False", "false")
            )
        except (ValueError, RecursionError):
            values[key.strip()] = raw.strip()
    return values


def _pair(text: str) -> list[str]:
    names = split_list(text)
    if len(names) != 2:
        raise UsageError(
            f"--pair needs two models, got {len(names)}.", hint="Write --pair BASELINE,CANDIDATE."
        )
    return names


def _seeds(text: str) -> list[int]:
    try:
        seeds = [int(part) for part in split_list(text)]
    except ValueError:
        raise UsageError(f"--seed takes whole numbers, not {text!r}.") from None
    if len(seeds) == 1:
        return seeds * 4
    if len(seeds) != 4:
        raise UsageError("--seed takes one number or lm-eval's four.")
    return seeds


_ARM_WORDS = {
    "model_diff": "latents.enabled",
    "style_preference": "preferences.enabled",
}


def _tasks(text: str) -> dict[str, Any]:
    """Naming tasks selects arms: the two words switch the other arms on, anything else benches."""
    words = [(name, name.replace("-", "_")) for name in split_list(text)]
    return {
        "benchmarks.tasks": [name for name, word in words if word not in _ARM_WORDS],
        **{key: any(word == arm for _, word in words) for arm, key in _ARM_WORDS.items()},
    }


_MODEL_ARGS = {
    "dtype": "dtype",
    "trust_remote_code": "runtime.trust_remote_code",
    "device": "runtime.device",
    "batch_size": "runtime.batch_size",
}


def _model_args(text: str) -> dict[str, Any]:
    given = key_values(text)
    for name in given:
        if name not in _MODEL_ARGS:
            raise UsageError(
                f"--model_args has no {name!r} for a pair.", hint=did_you_mean(name, _MODEL_ARGS)
            )
    return {_MODEL_ARGS[name]: value for name, value in given.items()}


# ── the table ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class RunOption:
    """One option of a run: how it is typed, and the keys of RunConfig that it sets.

    What was passed is kept under the flag's own name, so that the command line can be written again
    from it.
    """

    flag: str
    keys: tuple[str, ...] = ()
    """With dots; empty: no setting of the run."""
    help: str | None = None
    type: Any = str
    """As click takes it; bool is a flag without a value."""
    metavar: str | None = None
    parse: Callable[[Any], Any] | None = None
    """What was typed → the value of every key; None: as it is."""
    spread: Callable[[Any], dict[str, Any]] | None = None
    """What was typed → key → value, where one option sets several keys to different values."""
    many: bool = False
    """Takes values by comma or by space."""
    parameter: str = ""
    """Name of the command's parameter, where it is not the flag's."""

    @property
    def name(self) -> str:
        """Name of the command's parameter."""
        return self.parameter or self.flag.removeprefix("--")

    def decorate(self, function: F) -> F:
        """Add this option to a command."""
        typed = {"is_flag": True, "default": None} if self.type is bool else {"type": self.type}
        return click.option(self.flag, self.name, help=self.help, metavar=self.metavar, **typed)(
            function
        )

    def settings(self, typed: Any) -> dict[str, Any]:
        """Return key → value for what was typed; UsageError when it cannot be read."""
        if self.many and not split_list(typed):
            raise UsageError(f"{self.flag} names nothing.", hint="Give it values, or leave it out.")
        if self.spread is not None:
            return self.spread(typed)
        return dict.fromkeys(self.keys, self.parse(typed) if self.parse else typed)


_FILE = click.Path(path_type=Path)

RUN_OPTIONS: tuple[RunOption, ...] = (
    RunOption("--pair", ("pair",), "The two models, in this order.",
              metavar="BASELINE,CANDIDATE", parse=_pair, many=True),
    RunOption("--base", ("base",), "Their common ancestor (default: the alias's own)."),
    RunOption("--null_twin", ("null_twin",),
              "A model trained like the baseline with another seed."),
    RunOption("--preset", (), f"Starting point: {', '.join(PRESETS)}."),
    RunOption("--config", (), "YAML or JSON configuration; flags override it.", type=_FILE),
    RunOption("--tasks", ("benchmarks.tasks", *_ARM_WORDS.values()),
              "lm-eval tasks, ours, and the words model_diff and style_preference; none: all "
              "three arms.", spread=_tasks, many=True),
    RunOption("--model_args", tuple(_MODEL_ARGS.values()),
              "For both models: dtype=…,trust_remote_code=True.", spread=_model_args),
    RunOption("--num_fewshot", ("benchmarks.num_fewshot",), type=int),
    RunOption("--limit", ("benchmarks.limit",), "Items a task; the run is then not gateable.",
              type=float),
    RunOption("--batch_size", ("runtime.batch_size",), type=int),
    RunOption("--device", ("runtime.device",), "cpu, cuda, cuda:0 … (default: what is there)."),
    RunOption("--dtype", ("dtype",), "float32, bfloat16 or float16."),
    RunOption("--apply_chat_template", ("apply_chat_template",), type=bool),
    RunOption("--chat_template", ("chat_template",), "One template for all models.",
              metavar="MODEL|FILE"),
    RunOption("--system_instruction", ("system_instruction",)),
    RunOption("--seed", ("seed",), "lm-eval's four seeds, or one for all.",
              parse=_seeds, many=True),
    RunOption("--gen_kwargs", ("benchmarks.gen_kwargs",), "key=value,… for generation tasks.",
              parse=key_values),
    RunOption("--include_path", ("benchmarks.include_path",), "Folders with more lm-eval tasks.",
              parse=split_list, many=True),
    RunOption("--log_samples", (), "Always on; accepted for familiarity.", type=bool),
    RunOption("--use_cache", (),
              "The store (default: $MDH_STORE, else the platform's cache folder).",
              type=_FILE, parameter="store"),
    RunOption("--trust_remote_code", ("runtime.trust_remote_code",), type=bool),
    RunOption("--offline", ("runtime.offline",), "Never ask the network.", type=bool),
    RunOption("--design", ("latents.design",), "via-base, direct, …"),
    RunOption("--sites", ("latents.sites",), "resid_post.i, 0-based.",
              parse=split_list, many=True),
    RunOption("--source", ("latents.source",), "Activation source."),
    RunOption("--corpus", ("latents.corpus",),
              "Corpus component, or a .jsonl, .parquet or .txt file."),
    RunOption("--corpus_args", ("latents.corpus_config",), "key=value,…", parse=key_values),
    RunOption("--max_tokens", ("latents.max_tokens",), "Tokens of the corpus.", type=int),
    RunOption("--activations", ("latents.activations",),
              "Keep activations on disk, or run the models while training.",
              type=click.Choice(["cached", "stream"])),
    RunOption("--buffer_tokens", ("latents.buffer_tokens",),
              "Tokens the stream's mixing buffer holds.", type=int),
    RunOption("--learner", ("latents.learner",), "Dictionary learner."),
    RunOption("--learner_args", ("latents.learner_config",),
              "key=value,… (n_latents, k, steps, …).", parse=key_values),
    RunOption("--replicates", ("latents.replicates",), "Dictionary seeds.", type=int),
    RunOption("--reruns", ("benchmarks.reruns",),
              "Reruns of the baseline, which give the benchmarks' noise floor.", type=int),
    RunOption("--scorers", ("latents.scorers",), "Latent scorers.", parse=split_list, many=True),
    RunOption("--rule", ("latents.rule",), "Rule of `classify` that the profile uses."),
    RunOption("--null", ("latents.null",), "The null run.", type=click.Choice(["auto", "none"])),
    RunOption("--labeler", ("latents.labeler",)),
    RunOption("--judge", ("preferences.judge",)),
    RunOption("--prompts", ("preferences.prompts",), "`capability` or a JSONL file of prompts."),
    RunOption("--battles", ("preferences.battles",),
              "Import battles from this file instead of judging."),
    RunOption("--max_prompts", ("preferences.max_prompts",), type=int),
    RunOption("--max_new_tokens", ("preferences.max_new_tokens",), type=int),
)  # fmt: skip
"""In the order of the help; of two that set one key, the first wins."""


# ── what commands do with it ─────────────────────────────────────────────────────────────────


class ListCommand(click.Command):
    """A command whose list options take values by comma or by space."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join the values after a list option with commas."""
        lists = {option.flag for option in RUN_OPTIONS if option.many}
        joined: list[str] = []
        at = 0
        while at < len(args):
            token = args[at]
            joined.append(token)
            at += 1
            if token.replace("-", "_").replace("__", "--", 1) in lists:
                values = []
                while at < len(args) and not args[at].startswith("-"):
                    values.append(args[at].strip(","))
                    at += 1
                if values:
                    joined.append(",".join(values))
        return super().parse_args(ctx, joined)


def run_options(function: F) -> F:
    """Decorate a command with every option that makes a RunConfig."""
    for option in reversed(RUN_OPTIONS):
        function = option.decorate(function)
    return function


def flags_given(context: click.Context) -> dict[str, str]:
    """Return parameter → flag of the options that stand on the command line."""
    return {
        param.name: param.opts[0]
        for param in context.command.params
        if isinstance(param, click.Option)
        and param.name is not None
        and context.get_parameter_source(param.name) is click.core.ParameterSource.COMMANDLINE
    }


def build_config(given: Mapping[str, Any]) -> tuple[RunConfig, dict[str, Any]]:
    """Return the resolved configuration, and what was passed, from the options' values."""
    passed = {k: v for k, v in given.items() if v is not None and v is not False}
    settings: dict[str, Any] = {}
    for option in RUN_OPTIONS:
        if option.name in passed:
            settings = option.settings(passed[option.name]) | settings
    try:
        config = resolve_config(
            preset=passed.get("preset"), file=passed.get("config"), overrides=_nested(settings)
        )
    except SettingError as error:
        for option in RUN_OPTIONS:
            if option.name in passed and any(_is_in(error.key, key) for key in option.keys):
                raise UsageError(f"{option.flag}: {error.message}", hint=error.hint) from error
        raise
    return config, {k: str(v) if isinstance(v, Path) else v for k, v in passed.items()}


def _is_in(key: str, outer: str) -> bool:
    return key == outer or key.startswith(f"{outer}.")


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return {"a": {"b": …}} of {"a.b": …}."""
    nested: dict[str, Any] = {}
    for key, value in settings.items():
        *outer, last = key.split(".")
        place = nested
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = value
    return nested
