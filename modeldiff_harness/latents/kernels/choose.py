"""Which backend a training uses, and whether its scoring product runs in bfloat16."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from typing import cast

import torch

from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.latents.kernels import StepKernels

__all__ = ["BACKENDS", "SCORING", "backend_for", "low_precision_pays"]

log = logging.getLogger(__name__)

BACKENDS = ("auto", "reference", "numba", "triton")
"""`auto` is `numba` on a CPU; on a CUDA device `triton`, without that package `reference`, as
everywhere else."""
SCORING = ("auto", "float32", "bfloat16")
"""Type of the dense product that looks for candidates; the result is the same under each."""

_MODULES = {"reference": "reference", "numba": "numba_cpu", "triton": "triton_cuda"}
_INSTALL = "pip install 'modeldiff-harness[triton]'"


def backend_for(name: str, device: str) -> StepKernels:
    """Return the backend module called `name`, or the best one for `device` under "auto".

    Raises UsageError for an unknown name and for a backend that cannot run on `device`.
    """
    if name not in BACKENDS:
        hint = did_you_mean(name, BACKENDS)
        raise UsageError(f"there are no kernels called {name!r}.", hint=hint)
    kind = torch.device(device).type
    if name == "auto":
        name = _best(kind)
    if name == "numba" and kind != "cpu":
        raise UsageError("the numba kernels run on a CPU only.", hint="Use kernels=auto.")
    if name == "triton":
        if kind != "cuda" and not (kind == "cpu" and _interpreted()):
            raise UsageError(
                f"the triton kernels run on a CUDA device only, not on {device!r}.",
                hint="Use kernels=auto, or --device cuda.",
            )
        if not _has_triton():
            raise UsageError("the triton kernels need the triton package.", hint=_INSTALL)
    module = importlib.import_module(f"modeldiff_harness.latents.kernels.{_MODULES[name]}")
    return cast(StepKernels, module)


def _best(kind: str) -> str:
    if kind == "cpu":
        return "numba"
    if kind == "cuda":
        if _has_triton():
            return "triton"
        log.warning(
            "the triton package is missing: training on %s with the plain torch kernels, which are "
            "slower and need more memory; %s",
            kind,
            _INSTALL,
        )
    return "reference"


def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _interpreted() -> bool:
    """Whether triton programs run statement by statement on the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def low_precision_pays(scoring: str, device: str) -> bool:
    """Say whether candidates are looked for in bfloat16.

    Under "auto": where the hardware multiplies bfloat16 matrices faster than float32 ones, which
    is a GPU, or a CPU with AMX.  Raises UsageError for an unknown name.
    """
    if scoring not in SCORING:
        hint = did_you_mean(scoring, SCORING)
        raise UsageError(f"there is no scoring type {scoring!r}.", hint=hint)
    if scoring != "auto":
        return scoring == "bfloat16"
    if torch.device(device).type == "cpu":
        return bool(torch.cpu._is_amx_tile_supported())
    return True
