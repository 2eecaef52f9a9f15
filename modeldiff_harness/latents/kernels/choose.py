"""Which backend a training uses, and whether its scoring product runs in bfloat16."""

from __future__ import annotations

import importlib
import importlib.util
from typing import cast

import torch

from modeldiff_harness.errors import UsageError, did_you_mean
from modeldiff_harness.latents.kernels import StepKernels

__all__ = ["BACKENDS", "SCORING", "backend_for", "low_precision_pays"]

BACKENDS = ("auto", "reference", "numba")
"""`auto` is `numba` on a CPU and `reference` elsewhere."""
SCORING = ("auto", "float32", "bfloat16")
"""Type of the dense product that looks for candidates; the result is the same under each."""

_MODULES = {"reference": "reference", "numba": "numba_cpu"}


def backend_for(name: str, device: str) -> StepKernels:
    """Return the backend module called `name`, or the best one for `device` under "auto".

    Raises UsageError for an unknown name and for a backend that cannot run on `device`.
    """
    if name not in BACKENDS:
        hint = did_you_mean(name, BACKENDS)
        raise UsageError(f"there are no kernels called {name!r}.", hint=hint)
    on_cpu = torch.device(device).type == "cpu"
    if name == "auto":
        name = "numba" if on_cpu else "reference"
    if name == "numba" and not on_cpu:
        raise UsageError("the numba kernels run on a CPU only.", hint="Use kernels=auto.")
    module = importlib.import_module(f"modeldiff_harness.latents.kernels.{_MODULES[name]}")
    return cast(StepKernels, module)


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
