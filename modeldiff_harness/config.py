"""RunConfig: everything a run depends on, frozen; presets, files, flags.

Order of precedence: preset, then `--config FILE`, then flags.  Unknown keys are errors with a
suggestion.  `as_passed` keeps what the user wrote; the resolved configuration is what is saved,
hashed and run.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from modeldiff_harness.errors import UsageError, did_you_mean

__all__ = [
    "PRESETS",
    "BenchmarkConfig",
    "LatentConfig",
    "PreferenceConfig",
    "RunConfig",
    "RuntimeConfig",
    "load_config_file",
    "resolve_config",
]


@dataclass(frozen=True)
class BenchmarkConfig:
    """The benchmark arm."""

    tasks: tuple[str, ...] = ()
    """lm-eval tasks, groups or tags, and ours; empty: the arm does not run."""
    num_fewshot: int | None = None
    limit: float | None = None
    """Items a task, or a fraction below 1; a limited run is "smoke, not gateable"."""
    gen_kwargs: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    """Task → its primary metric, where the default choice is not wanted."""
    include_path: tuple[str, ...] = ()
    allow_unmatched: bool = False
    """Go on when more than 1 % of the items of a task have no partner."""
    higher_is_better: dict[str, bool] = field(default_factory=dict)
    """Metric, or "task:metric" → its direction, where the task's own is wrong or missing."""
    clusters: dict[str, str] = field(default_factory=dict)
    """Task pattern → what makes its items one cluster: fields of the document such as `passage`,
    `idx.0` or `link+number`, or `none`; over the tasks' own keys and the presets."""
    replicates: int = 0
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
    sites: tuple[str, ...] = ()
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
    scorers: tuple[str, ...] = ("delta_norm", "latent_scaling", "activity")
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
    seed: tuple[int, ...] = (0, 1234, 1234, 1234)
    """lm-eval's four: python, numpy, torch, few-shot."""
    benchmarks: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    preferences: PreferenceConfig = field(default_factory=PreferenceConfig)
    latents: LatentConfig = field(default_factory=LatentConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def recipe(self) -> dict[str, Any]:
        """Return the configuration without `runtime`, as plain JSON values."""
        plain = dataclasses.asdict(self)
        del plain["runtime"]
        return typing.cast(dict[str, Any], json.loads(json.dumps(plain)))


_PROBES = ("mdh_template", "mdh_structured", "mdh_refusal", "mdh_multilingual",
           "mdh_self_reference", "mdh_math", "mdh_extraction")  # fmt: skip
_REAL = ("arc_easy_offline", "piqa_offline", "csqa_offline", "mmlu_high_school_geography_offline")
_TESTABLE = {"train": 0.5, "calibrate": 0.06, "score": 0.22, "label_test": 0.22}
"""Splits of a small corpus: without enough held-out prompts no label can be confirmed."""
_SMALL_LEARNER = {
    "n_latents": 2304, "k": 32, "steps": 400, "batch_tokens": 1024, "lr": 8e-3, "delta_weight": 3.0,
}  # fmt: skip
"""On 26,000 train tokens this rate explains more in 400 steps (FVE 0.763) than 0.004 does in 600
(0.745); beyond 0.012 less again."""

_EMBEDDED: Mapping[str, Any] = {
    "dtype": "float32",
    "apply_chat_template": True,
    "benchmarks": {"tasks": [*_PROBES, *_REAL], "limit": 25},
    "preferences": {"max_prompts": 120, "max_new_tokens": 72},
    "latents": {
        "dtype": "float32",
        "design": "direct",
        "sites": ["resid_post.15"],
        "corpus_config": {"share": 0.2},
        "max_tokens": 52_000,
        "splits": _TESTABLE,
        "context": 256,
        "learner_config": _SMALL_LEARNER,
        "rule": "above_null",
        "min_active_tokens": 40,
        "min_active_documents": 5,
    },
    "runtime": {"batch_size": 48},
}  # fmt: skip
"""The embedded pair on two cores: one design and one seed of the showcase's three."""
_DEMO: Mapping[str, Any] = {
    **_EMBEDDED,
    "benchmarks": {"tasks": [*_PROBES, "arc_easy_offline", "piqa_offline"], "limit": 20},
    "preferences": {"max_prompts": 96, "max_new_tokens": 64},
}
"""The same latents; fewer items and prompts: minutes instead of a quarter of an hour."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "benchmarks": {"tasks": ["mdh_template"], "limit": 8},
        "preferences": {"max_prompts": 16, "max_new_tokens": 24},
        "latents": {
            "max_tokens": 6000,
            "context": 128,
            "learner_config": {"n_latents": 256, "k": 16, "steps": 60, "batch_tokens": 256,
                               "lr": 4e-3},
            "min_active_tokens": 20,
            "min_active_documents": 4,
            "n_decoys": 5,
        },
    },
    "demo": _DEMO,
    "showcase": {**_EMBEDDED, "latents": {**_EMBEDDED["latents"], "replicates": 3}},
    "standard": {
        "apply_chat_template": True,
        "benchmarks": {"tasks": ["mdh_probes", "ifeval", "gsm8k", "arc_challenge", "mmlu"]},
        "latents": {
            "max_tokens": 20_000_000,
            "activations": "stream",
            "buffer_dtype": "bfloat16",
            "learner_config": {"n_latents": 32768, "k": 100, "steps": 10_000, "batch_tokens": 2048,
                               "lr": 1e-4},
        },
    },
    "paper": {
        "base": "gemma-pt",
        "apply_chat_template": True,
        "benchmarks": {"tasks": ["mdh_probes", "ifeval", "gsm8k", "arc_challenge", "mmlu"]},
        "latents": {
            "design": "via-base",
            "sites": ["resid_post.20"],
            "max_tokens": 200_000_000,
            "activations": "stream",
            "buffer_dtype": "bfloat16",
            "learner_config": {"n_latents": 114_688, "k": 100, "steps": 97_656,
                               "batch_tokens": 2048, "lr": 1e-4},
            "rule": "published",
        },
    },
}  # fmt: skip
"""Named starting points.  smoke: minutes of plumbing; demo: the embedded pair, quickly;
showcase: the embedded pair with three seeds; standard: one GPU; paper: arXiv 2509.18792."""


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
    config: RunConfig = _build(RunConfig, merged, "")
    return config


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


def _build(kind: Any, given: Any, where: str) -> Any:
    """Build the dataclass `kind` from a mapping, checking keys and types."""
    if not isinstance(given, Mapping):
        raise UsageError(f"configuration key {where!r} must be a mapping, not {given!r}.")
    hints = typing.get_type_hints(kind)
    known = [f.name for f in dataclasses.fields(kind)]
    values = {}
    for key, value in given.items():
        path = f"{where}.{key}".lstrip(".")
        if key not in known:
            raise UsageError(
                f"unknown configuration key {path!r}.", hint=did_you_mean(str(key), known)
            )
        values[key] = _coerce(hints[key], value, path)
    return kind(**values)


def _coerce(kind: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, where)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _coerce(next(a for a in args if a is not type(None)), value, where)
    if origin is tuple:
        items = [value] if isinstance(value, (str, int)) else value
        if not isinstance(items, (list, tuple)):
            raise UsageError(f"configuration key {where!r} must be a list, not {value!r}.")
        if args[-1] is not Ellipsis and len(items) != len(args):
            raise UsageError(f"configuration key {where!r} needs {len(args)} values.")
        return tuple(_coerce(args[0], item, where) for item in items)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UsageError(f"configuration key {where!r} must be a mapping, not {value!r}.")
        return dict(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UsageError(f"configuration key {where!r} must be {kind.__name__}, not {value!r}.")
    return value
