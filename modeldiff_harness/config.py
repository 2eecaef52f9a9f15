"""RunConfig: everything a run depends on, frozen; presets, files, flags.

Order of precedence: preset, then `--config FILE`, then flags.  Unknown keys are errors with a
suggestion.  `as_passed` keeps what the user wrote; the resolved configuration is what is saved,
hashed and run.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import yaml

from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.presets import PRESETS
from modeldiff_harness.typed_json import Misfit, from_json

__all__ = [
    "BenchmarkConfig",
    "LatentConfig",
    "PreferenceConfig",
    "RunConfig",
    "RuntimeConfig",
    "load_config_file",
    "resolve_config",
]

T = TypeVar("T")


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


@dataclass(frozen=True)
class BenchmarkConfig:
    """The benchmark arm."""

    tasks: ListOrOne[str] = ()
    """lm-eval tasks, groups or tags, and ours; empty: the arm does not run."""
    num_fewshot: int | None = None
    limit: float | None = None
    """Items a task, or a fraction below 1; a limited run is "smoke, not gateable"."""
    gen_kwargs: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    """Task → its primary metric, where the default choice is not wanted."""
    include_path: ListOrOne[str] = ()
    allow_unmatched: bool = False
    """Go on when more than 1 % of the items of a task have no partner."""
    higher_is_better: dict[str, bool] = field(default_factory=dict)
    """Metric, or "task:metric" → its direction, where the task's own is wrong or missing."""
    clusters: dict[str, str] = field(default_factory=dict)
    """Task pattern → what makes its items one cluster: fields of the document such as `passage`,
    `idx.0` or `link+number`, or `none`; over the tasks' own keys and the presets."""
    reruns: int = 0
    """Reruns of the baseline under another batch size and, for sampled answers, seed: the noise
    floor beside every delta."""


@dataclass(frozen=True)
class PreferenceConfig:
    """The preference arm."""

    enabled: bool = True
    judge: str = "verifiable"
    judge_config: dict[str, Any] = field(default_factory=dict)
    prompts: str = "capability"
    """`capability` (the shipped prompts) or a JSONL file of prompts."""
    battles: str | None = None
    """A file of battles to import; nothing is generated or judged then."""
    battle_format: str = "auto"
    feature_set: str = "lmarena-v1"
    max_prompts: int | None = None
    max_new_tokens: int = 256


@dataclass(frozen=True)
class LatentConfig:
    """The latent arm."""

    enabled: bool = True
    design: str = "auto"
    """via-base, direct, or auto: via-base when a base is known, else direct."""
    sites: ListOrOne[str] = ()
    """`resid_post.i`; empty: the middle block."""
    source: str = "transformers"
    source_config: dict[str, Any] = field(default_factory=dict)
    corpus: str = "capability"
    corpus_config: dict[str, Any] = field(default_factory=dict)
    dtype: str = "auto"
    """Type of the forward passes that are harvested; bfloat16 moves single tokens by up to 25 %."""
    stored_dtype: str = "float32"
    """Type of the activations on disk: float32, or bfloat16 for half the space."""
    activations: str = "cached"
    """cached: harvest once and keep the activations on disk; stream: run the models while training
    and keep `buffer_tokens` tokens in memory, nothing on disk."""
    buffer_tokens: int = 1_000_000
    """Tokens the mixing buffer holds in stream mode; it is refilled when half empty."""
    buffer_dtype: str = "float32"
    """Type of the buffer: float32; bfloat16 or float16 for half the memory, values rounded."""
    sample_tokens: int = 500_000
    """Stream mode: kept tokens, in whole prompts, on which normalisers, the norm limit, difference
    energy and simple controls are measured; all when the corpus holds no more."""
    own_answers: bool = True
    """Add both models' answers to the shipped corpus prompts: without them little is found."""
    own_answer_tokens: int = 72
    """Longest of these answers."""
    splits: dict[str, float] = field(default_factory=dict)
    """Shares of the prompts for train, calibrate, score, label_test; empty: 0.6, 0.1, 0.2, 0.1."""
    max_tokens: int = 1_000_000
    context: int = 1024
    learner: str = "batchtopk"
    learner_config: dict[str, Any] = field(default_factory=dict)
    replicates: int = 1
    """Dictionaries with different seeds a design asks for."""
    scorers: ListOrOne[str] = ("delta_norm", "latent_scaling", "activity")
    rule: str = "calibrated"
    """The rule whose owners the profile uses; all rules are shown."""
    min_active_tokens: int = 100
    min_active_documents: int = 10
    null: str = "auto"
    """auto: train the null run when the baseline has a null twin; none: without."""
    labeler: str = "enrichment"
    labeler_config: dict[str, Any] = field(default_factory=dict)
    n_decoys: int = 20
    controls: bool = True


@dataclass(frozen=True)
class RuntimeConfig:
    """How the work is run; never hashed."""

    device: str = "auto"
    batch_size: int = 32
    batch_tokens: int = 4096
    threads: int | None = None
    offline: bool = False
    trust_remote_code: bool = False


@dataclass(frozen=True)
class RunConfig:
    """One run of `mdh evaluate`."""

    pair: tuple[str, str] = ("", "")
    """(baseline, candidate)."""
    base: str | None = None
    """Their common ancestor; None: the alias's own."""
    null_twin: str | None = None
    """A model trained like the baseline with another seed; None: the alias's own."""
    dtype: str = "auto"
    """Type of benchmarks and answers: float32, bfloat16, float16; auto: float32 on a CPU, else
    bfloat16."""
    chat_template: str | None = None
    """Model or file whose template is used for all; None: they must be equal."""
    apply_chat_template: bool = False
    system_instruction: str | None = None
    seed: ListOrOne[int] = (0, 1234, 1234, 1234)
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


def resolve_config(
    *,
    preset: str | None = None,
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Merge preset, file and overrides (nested mappings) into a RunConfig.

    Raises UsageError for an unknown preset or key (with near names) or a value of a wrong type.
    """
    merged: dict[str, Any] = {}
    if preset is not None:
        if preset not in PRESETS:
            raise UsageError(f"unknown preset {preset!r}.", hint=did_you_mean(preset, PRESETS))
        merged = _merge(merged, PRESETS[preset])
    if file is not None:
        merged = _merge(merged, load_config_file(file))
    merged = _merge(merged, overrides or {})
    try:
        return from_json(RunConfig, json.dumps(merged), closed=True)
    except TypeError as error:
        raise UsageError(f"a configuration value cannot be kept: {error}.") from error
    except Misfit as misfit:
        if not misfit.unknown:
            raise UsageError(f"configuration key {misfit.path!r} {misfit.problem}.") from misfit
        section = functools.reduce(getattr, map(str, misfit.where[:-1]), RunConfig())
        known = (field.name for field in dataclasses.fields(section))
        raise UsageError(
            f"unknown configuration key {misfit.path!r}.",
            hint=did_you_mean(str(misfit.where[-1]), known),
        ) from misfit


def load_config_file(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON mapping; UsageError with the line when it is malformed."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the configuration {path}: {error}.") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise UsageError(f"malformed configuration {path}{where}: {problem}.") from error
    if not isinstance(content, dict):
        raise UsageError(f"the configuration {path} must be a mapping of keys to values.")
    return content


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged
