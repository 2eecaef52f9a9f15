"""A model as lm-eval runs it: one in memory, or a backend of lm-eval's own."""

from __future__ import annotations

import copy
from typing import Any

from lm_eval.api import registry

from modeldiff_harness.benchmarks.lm_eval_adapter.names import model_names
from modeldiff_harness.benchmarks.records import BenchModel, BenchSettings
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import RunError, UsageError, did_you_mean, first_line

__all__ = ["open_model"]


def open_model(model: BenchModel, settings: BenchSettings, runtime: Runtime) -> Any:
    """Return lm-eval's handle of `model`; raises UsageError and RunError as `run_task`."""
    if model.load is not None:
        from modeldiff_harness.benchmarks.lm_eval_adapter.scored_model import ScoredModel

        loaded, tokenizer = model.load()
        if tokenizer.pad_token is None:
            tokenizer = copy.deepcopy(tokenizer)  # HFLM sets one on what it is given
        return ScoredModel(
            pretrained=loaded,
            tokenizer=tokenizer,
            backend="causal",
            batch_size=runtime.batch_size,
            max_length=settings.max_length,
            trust_remote_code=runtime.trust_remote_code,
        )
    if "lm" not in model.opened:
        if model.backend not in registry.model_registry:
            raise UsageError(
                f"unknown model type {model.backend!r}.",
                hint=did_you_mean(model.backend, model_names()),
            )
        model.opened["lm"] = _open_backend(model, settings, runtime)
    return model.opened["lm"]


def _open_backend(model: BenchModel, settings: BenchSettings, runtime: Runtime) -> Any:
    extra: dict[str, Any] = {"batch_size": runtime.batch_size, "device": runtime.device}
    if settings.max_length is not None:
        extra["max_length"] = settings.max_length
    try:
        kind = registry.get_model(model.backend)
        if isinstance(model.model_args, dict):
            return kind.create_from_arg_obj(model.model_args, extra)
        return kind.create_from_arg_string(model.model_args, extra)
    except Exception as error:  # whatever a backend raises, the next move is the same
        raise RunError(
            f"model {model.name!r} cannot be opened with lm-eval's {model.backend!r}: "
            f"{type(error).__name__}: {first_line(error)}.",
            hint="Check --model_args.",
        ) from error
