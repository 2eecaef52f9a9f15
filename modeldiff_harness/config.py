"""RunConfig: everything a run depends on, frozen; presets, files, flags.

Order of precedence: preset, then `--config FILE`, then flags.  What names another component drops
the options that were given to the old one.  Unknown keys are errors with a suggestion, and every
type says its range.  `as_passed` keeps what the user wrote; the resolved configuration is what is
saved, hashed and run.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from modeldiff_harness.artifacts import SPLITS
from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.presets import PRESETS
from modeldiff_harness.ranges import DISTINCT, NAME, Entries, Rule, is_whole, within
from modeldiff_harness.typed_json import Misfit, from_json
from modeldiff_harness.untrusted import read_yaml

__all__ = [
    "BenchmarkConfig",
    "LatentConfig",
    "PreferenceConfig",
    "RunConfig",
    "RuntimeConfig",
    "SettingError",
    "checked_config",
    "load_config_file",
    "resolve_config",
]

T = TypeVar("T")


# ── types that say their ranges ──────────────────────────────────────────────────────────────


class _OneIsAList:
    """Lets one value stand for a list of it: `tasks: ifeval`."""

    @staticmethod
    def __get_pydantic_core_schema__(source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(_listed, handler(source))


def _listed(given: Any) -> Any:
    if isinstance(given, str | int):
        return (given,)
    return tuple(given) if isinstance(given, list) else given


ListOrOne = Annotated[tuple[T, ...], _OneIsAList]

Name = Annotated[str, NAME]
_SOME = Rule("at least one", lambda values: len(values) > 0)
Count = Annotated[int, within(1, 10**12)]
AnswerTokens = Annotated[int, within(1, 2**20)]
Limit = Annotated[
    float,
    Rule(
        "a share between 0 and 1, or whole items from 1 to 1,000,000,000",
        lambda limit: 0 < limit < 1 or (1 <= limit <= 1e9 and is_whole(limit)),
    ),
]
Device = Annotated[
    str,
    Rule(
        "auto, cpu, mps, cuda or cuda:N",
        re.compile(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]{0,3}))?", re.ASCII).fullmatch,
    ),
]
RunType = Literal["auto", "float32", "bfloat16", "float16"]
Splits = Annotated[
    dict[str, float],
    Rule(
        f"shares of {', '.join(SPLITS)} that add up to 1, of which only label_test may be 0",
        lambda splits: not splits or _are_splits(splits),
    ),
]


def _are_splits(splits: Mapping[str, float]) -> bool:
    shares = [*splits.values()]
    complete = set(splits) == set(SPLITS) and all(0 <= share <= 1 for share in shares)
    needed = all(splits.get(name, 0) > 0 for name in SPLITS if name != "label_test")
    return complete and needed and abs(sum(shares) - 1) <= 1e-6


class _OneIsFour:
    """Lets one seed stand for lm-eval's four."""

    @staticmethod
    def __get_pydantic_core_schema__(source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        def four(given: Any) -> Any:
            return (given,) * 4 if type(given) is int else _listed(given)

        return core_schema.no_info_before_validator_function(four, handler(source))


Seeds = Annotated[
    tuple[Annotated[int, within(0, 2**32 - 1)], ...],
    Rule("one seed, or lm-eval's four", lambda seeds: len(seeds) == 4),
    _OneIsFour,
]


def _are_texts(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(isinstance(text, str) and text for text in values)


GenKwargs = Annotated[
    dict[str, Any],
    Entries(
        {
            "temperature": Annotated[float, within(0, 100)],
            "top_p": Annotated[float, within(0, 1, above=True)],
            "min_p": Annotated[float, within(0, 1)],
            "top_k": Annotated[int, within(0, 10**9)],
            "repetition_penalty": Annotated[float, within(0, 100, above=True)],
            "num_beams": Annotated[int, within(1, 1000)],
            "max_gen_toks": AnswerTokens,
            "max_new_tokens": AnswerTokens,
            "do_sample": bool,
            "until": Annotated[Any, Rule("text, or a list of texts", _are_texts)],
        }
    ),
]
"""Settings of generation whose range is known are checked; others go to the model as they are."""


# ── the settings ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class BenchmarkConfig:
    """The benchmark arm."""

    tasks: ListOrOne[Name] = ()
    """lm-eval tasks, groups or tags, and ours; empty: the arm does not run."""
    num_fewshot: Annotated[int, within(0, 1000)] | None = None
    limit: Limit | None = None
    """Items a task, or a fraction below 1; a limited run is "smoke, not gateable"."""
    gen_kwargs: GenKwargs = field(default_factory=dict)
    metrics: dict[Name, Name] = field(default_factory=dict)
    """Task → its primary metric, where the default choice is not wanted."""
    include_path: ListOrOne[Name] = ()
    allow_unmatched: bool = False
    """Go on when more than 1 % of the items of a task have no partner."""
    higher_is_better: dict[str, bool] = field(default_factory=dict)
    """Metric, or "task:metric" → its direction, where the task's own is wrong or missing."""
    clusters: dict[Name, Name] = field(default_factory=dict)
    """Task pattern → what makes its items one cluster: fields of the document such as `passage`,
    `idx.0` or `link+number`, or `none`; over the tasks' own keys and the presets."""
    reruns: Annotated[int, within(0, 100)] = 0
    """Reruns of the baseline under another batch size and, for sampled answers, seed: the noise
    floor beside every delta."""


@dataclass(frozen=True)
class PreferenceConfig:
    """The preference arm."""

    enabled: bool = True
    judge: Name = "verifiable"
    judge_config: dict[str, Any] = field(default_factory=dict)
    prompts: Name = "capability"
    """`capability` (the shipped prompts) or a JSONL file of prompts."""
    battles: Name | None = None
    """A file of battles to import; nothing is generated or judged then."""
    battle_format: Name = "auto"
    feature_set: Name = "lmarena-v1"
    max_prompts: Annotated[int, within(1, 10**6)] | None = None
    max_new_tokens: AnswerTokens = 256


@dataclass(frozen=True)
class LatentConfig:
    """The latent arm."""

    enabled: bool = True
    design: Name = "auto"
    """via-base, direct, or auto: via-base when a base is known, else direct."""
    sites: Annotated[ListOrOne[Name], DISTINCT] = ()
    """`resid_post.i`; empty: the middle block."""
    source: Name = "transformers"
    source_config: dict[str, Any] = field(default_factory=dict)
    corpus: Name = "capability"
    corpus_config: dict[str, Any] = field(default_factory=dict)
    dtype: RunType = "auto"
    """Type of the forward passes that are harvested; bfloat16 moves single tokens by up to 25 %."""
    stored_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the activations on disk: float32, or bfloat16 for half the space."""
    activations: Literal["cached", "stream"] = "cached"
    """cached: harvest once and keep the activations on disk; stream: run the models while training
    and keep `buffer_tokens` tokens in memory, nothing on disk."""
    buffer_tokens: Count = 1_000_000
    """Tokens the mixing buffer holds in stream mode; it is refilled when half empty."""
    buffer_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the buffer: float32; bfloat16 or float16 for half the memory, values rounded."""
    sample_tokens: Count = 500_000
    """Stream mode: kept tokens, in whole prompts, on which normalisers, the norm limit, difference
    energy and simple controls are measured; all when the corpus holds no more."""
    own_answers: bool = True
    """Add both models' answers to the shipped corpus prompts: without them little is found."""
    own_answer_tokens: AnswerTokens = 72
    """Longest of these answers."""
    splits: Splits = field(default_factory=dict)
    """Shares of the prompts for train, calibrate, score, label_test; empty: 0.6, 0.1, 0.2, 0.1."""
    max_tokens: Count = 1_000_000
    context: Annotated[int, within(2, 2**20)] = 1024
    learner: Name = "batchtopk"
    learner_config: dict[str, Any] = field(default_factory=dict)
    replicates: Annotated[int, within(1, 100)] = 1
    """Dictionaries with different seeds a design asks for."""
    scorers: Annotated[ListOrOne[Name], DISTINCT, _SOME] = (
        "delta_norm",
        "latent_scaling",
        "activity",
    )
    rule: Name = "calibrated"
    """The rule whose owners the profile uses; all rules are shown."""
    min_active_tokens: Annotated[int, within(0, 10**12)] = 100
    min_active_documents: Annotated[int, within(0, 10**12)] = 10
    null: Literal["auto", "none"] = "auto"
    """auto: train the null run when the baseline has a null twin; none: without."""
    labeler: Name = "enrichment"
    labeler_config: dict[str, Any] = field(default_factory=dict)
    n_decoys: Annotated[int, within(0, 10**5)] = 20
    controls: bool = True


@dataclass(frozen=True)
class RuntimeConfig:
    """How the work is run; never hashed."""

    device: Device = "auto"
    batch_size: Annotated[int, within(1, 2**16)] = 32
    batch_tokens: Annotated[int, within(1, 10**9)] = 4096
    threads: Annotated[int, within(1, 1024)] | None = None
    offline: bool = False
    trust_remote_code: bool = False


@dataclass(frozen=True)
class RunConfig:
    """One run of `mdh evaluate`."""

    pair: tuple[str, str] = ("", "")
    """(baseline, candidate)."""
    base: Name | None = None
    """Their common ancestor; None: the alias's own."""
    null_twin: Name | None = None
    """A model trained like the baseline with another seed; None: the alias's own."""
    dtype: RunType = "auto"
    """Type of benchmarks and answers: float32, bfloat16, float16; auto: float32 on a CPU, else
    bfloat16."""
    chat_template: Name | None = None
    """Model or file whose template is used for all; None: they must be equal."""
    apply_chat_template: bool = False
    system_instruction: str | None = None
    seed: Seeds = (0, 1234, 1234, 1234)
    """lm-eval's four: python, numpy, torch, few-shot."""
    benchmarks: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    preferences: PreferenceConfig = field(default_factory=PreferenceConfig)
    latents: LatentConfig = field(default_factory=LatentConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def recipe(self) -> dict[str, Any]:
        """Return the configuration without `runtime`, as plain JSON values."""
        plain = dataclasses.asdict(self)
        del plain["runtime"]
        return cast(dict[str, Any], json.loads(json.dumps(plain)))


class SettingError(UsageError):
    """A setting that is unknown, of a wrong type or out of its range; `key` with dots."""

    def __init__(self, key: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.key = key


def resolve_config(
    *,
    preset: str | None = None,
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Merge preset, file and overrides (nested mappings) into a RunConfig.

    Raises UsageError for an unknown preset, and SettingError for an unknown key (with near names)
    or a value of a wrong type or out of its range.
    """
    merged: dict[str, Any] = {}
    if preset is not None:
        if preset not in PRESETS:
            raise UsageError(f"unknown preset {preset!r}.", hint=did_you_mean(preset, PRESETS))
        merged = _laid_over(merged, PRESETS[preset])
    if file is not None:
        merged = _laid_over(merged, load_config_file(file))
    return _read(_laid_over(merged, overrides or {}))


def checked_config(config: RunConfig) -> RunConfig:
    """Return a configuration that was made in Python, checked as a file's would be."""
    return _read(dataclasses.asdict(config))


def load_config_file(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON mapping; UsageError with the line when it is malformed."""
    content = read_yaml(path, "the configuration")
    if not isinstance(content, dict):
        raise UsageError(f"the configuration {path} must be a mapping of keys to values.")
    return content


def _read(merged: Mapping[str, Any]) -> RunConfig:
    for key, problem in _unspeakable(merged, ""):
        raise SettingError(key, f"configuration key {key!r} {problem}.")
    try:
        return from_json(RunConfig, json.dumps(merged), closed=True)
    except (TypeError, ValueError, RecursionError) as error:
        if not isinstance(error, Misfit):
            raise UsageError(f"a configuration value cannot be kept: {error}.") from error
        raise _setting_error(error) from error


def _setting_error(misfit: Misfit) -> SettingError:
    if not misfit.unknown:
        return SettingError(misfit.path, f"configuration key {misfit.path!r} {misfit.problem}.")
    section = functools.reduce(getattr, map(str, misfit.where[:-1]), RunConfig())
    known = (field.name for field in dataclasses.fields(section))
    return SettingError(
        misfit.path,
        f"unknown configuration key {misfit.path!r}.",
        hint=did_you_mean(str(misfit.where[-1]), known),
    )


def _unspeakable(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield (key, problem) for what no file can hold and what no recipe can: NaN, half characters.

    Numbers in settings with a range are left to it.
    """
    if isinstance(value, Mapping):
        for name, held in value.items():
            yield from _unspeakable(str(name), key or "of the configuration")
            yield from _unspeakable(held, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for held in value:
            yield from _unspeakable(held, key)
    elif isinstance(value, str):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            yield key, f"holds a NUL or half a character: {value[:40]!a}"
    elif isinstance(value, float) and not math.isfinite(value) and "_config." in key:
        yield key, f"is {value}; it takes a finite number"


# ── layers ───────────────────────────────────────────────────────────────────────────────────

_OPTIONS = {
    ("preferences", "judge"): "judge_config",
    ("latents", "source"): "source_config",
    ("latents", "corpus"): "corpus_config",
    ("latents", "learner"): "learner_config",
    ("latents", "labeler"): "labeler_config",
}
"""Section and key that name a component → the key of its options."""


def _laid_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge a layer over another; a component that it changes loses what the old one was told."""
    kept = dict(under)
    for (section, key), options in _OPTIONS.items():
        new, old = over.get(section), kept.get(section, {})
        if not isinstance(new, Mapping) or not isinstance(old, Mapping) or key not in new:
            continue
        default = getattr(getattr(RunConfig(), section), key)
        if new[key] != old.get(key, default):
            kept[section] = {name: value for name, value in old.items() if name != options}
    return _merge(kept, over)


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged
