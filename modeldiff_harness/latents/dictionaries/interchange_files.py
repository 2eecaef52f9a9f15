"""The files of a published dictionary, read as what they may be: damaged, huge or hostile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from modeldiff_harness.errors import UsageError

__all__ = ["config_beside", "read_tensors", "weights_file"]

_GUIDE = "docs/how-to/use-public-crosscoders.md"
_MOST_CONFIG_BYTES = 2**20
_PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
_ENOUGH_NAMES = 6


def weights_file(path: Path) -> Path:
    """Return `path`, or the one .safetensors file in the folder `path`; UsageError otherwise."""
    if not path.exists():
        raise UsageError(f"there is no file or folder {path}.")
    if path.is_file():
        if path.suffix == ".safetensors":
            return path
        raise _not_safetensors(path)
    files = sorted(path.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    if files:
        names = ", ".join(f.name for f in files[:_ENOUGH_NAMES])
        raise UsageError(
            f"{path} holds {len(files)} .safetensors files: {names}.", hint="Name one of them."
        )
    pickled = [f for f in sorted(path.iterdir()) if f.suffix in _PICKLED]
    if pickled:
        raise _not_safetensors(pickled[0])
    raise UsageError(f"{path} holds no .safetensors file.")


def _not_safetensors(file: Path) -> UsageError:
    if file.suffix in _PICKLED:
        return UsageError(
            f"{file.name} is a pickled file, which can run code when it is opened; only "
            "safetensors are read.",
            hint=f"Convert it with torch.load(…, weights_only=True); {_GUIDE} has the lines.",
        )
    return UsageError(f"{file.name} is not a .safetensors file.")


def config_beside(file: Path) -> Mapping[str, Any]:
    """Return the settings beside a weights' file, {} without any; UsageError for a bad one."""
    for name in ("config.json", "cfg.json", f"{file.stem}_cfg.json"):
        beside = file.with_name(name)
        if not beside.is_file():
            continue
        try:
            if beside.stat().st_size > _MOST_CONFIG_BYTES:
                raise ValueError("it is larger than 1 MiB")
            content = json.loads(beside.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"cannot read {beside}: {error}.") from error
        if not isinstance(content, dict):
            raise UsageError(f"{beside} is not a mapping of settings.")
        return content
    return {}


def read_tensors(file: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors as float32 (whole numbers stay), after a look at their sizes."""
    import torch
    from safetensors import safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            shapes = {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118
            n_bytes = sum(4 * int(np.prod(shape, dtype=np.float64)) for shape in shapes.values())
            if n_bytes > psutil.virtual_memory().available:
                raise UsageError(
                    f"{file.name} holds {n_bytes / 2**30:,.1f} GiB in float32, more than the "
                    "memory that is free."
                )
            found = {}
            for name in shapes:
                tensor = opened.get_tensor(name)
                if tensor.is_floating_point():
                    tensor = tensor.to(torch.float32)
                found[name.removeprefix("_orig_mod.")] = tensor.numpy()
    except UsageError:
        raise
    except Exception as error:  # whatever the reader says, the file is the problem
        text = " ".join(str(error).split())
        raise UsageError(f"{file.name} is not a readable safetensors file: {text}.") from error
    return found
