"""Atomic checkpoints of a training: tensors in safetensors, the rest in JSON, at most two kept.

A checkpoint counts once its JSON is there and names the digest of the tensors' file: the JSON is
written last, and both files are written beside, flushed to disk and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from modeldiff_harness.digests import file_digest
from modeldiff_harness.errors import RunError

__all__ = ["Checkpoint", "Checkpoints"]

_KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """Everything a training needs to continue from `step` bit by bit."""

    step: int
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]
    """JSON-safe: counters, history, what the training is of."""


class Checkpoints:
    """The checkpoints in one folder; `recipe` says what they belong to.

    `backend` names the kernels that made them.  Two backends agree within rounding, not bit by
    bit, so a training never changes its backend on the way.
    """

    def __init__(
        self, folder: Path, recipe: Mapping[str, Any], *, backend: str = "reference"
    ) -> None:
        self._folder = folder
        text = json.dumps(recipe, sort_keys=True, default=str)
        self._recipe = hashlib.sha256(text.encode()).hexdigest()
        self._backend = backend

    def save(self, checkpoint: Checkpoint) -> None:
        """Write `checkpoint`, then delete all but the two latest."""
        from safetensors.torch import save_file

        stem = f"checkpoint-{checkpoint.step:09d}"
        tensors = self._folder / f"{stem}.safetensors"
        beside = self._folder / f"{stem}.safetensors.part"
        save_file({k: v.detach().contiguous() for k, v in checkpoint.tensors.items()}, beside)
        digest = _publish(beside, tensors)
        document = {
            "step": checkpoint.step,
            "recipe": self._recipe,
            "backend": self._backend,
            "sha256": digest,
            "state": dict(checkpoint.state),
        }
        beside = self._folder / f"{stem}.json.part"
        beside.write_text(json.dumps(document), encoding="utf-8")
        _publish(beside, self._folder / f"{stem}.json")
        for old in self._manifests()[:-_KEPT]:
            self._delete(old)

    def latest(self) -> Checkpoint | None:
        """Return the newest readable checkpoint, or None; damaged ones are passed over.

        Raises RunError when the folder holds a checkpoint of another training or backend.
        """
        from safetensors.torch import load_file

        for manifest in reversed(self._manifests()):
            try:
                document = json.loads(manifest.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if document.get("recipe") != self._recipe:
                raise RunError(
                    f"{manifest.name} belongs to a training with other settings.",
                    hint="Delete the checkpoint files in this folder to train anew.",
                )
            self._refuse_backend(document.get("backend", "reference"))
            tensors = manifest.with_suffix(".safetensors")
            if tensors.exists() and file_digest(tensors) == document["sha256"]:
                return Checkpoint(document["step"], load_file(tensors), document["state"])
        return None

    def clear(self) -> None:
        """Delete all checkpoints and what a killed save left behind."""
        for manifest in self._manifests():
            self._delete(manifest)
        for leftover in self._folder.glob("checkpoint-*"):
            leftover.unlink()

    def _refuse_backend(self, found: str) -> None:
        if found != self._backend:
            raise RunError(
                f"this training was begun with the {found} kernels and cannot go on with the "
                f"{self._backend} ones: the result would be that of neither.",
                hint=f"Continue with the {found} kernels, or delete {self._folder} to train anew.",
            )

    def _manifests(self) -> list[Path]:
        return sorted(self._folder.glob("checkpoint-*.json"))

    def _delete(self, manifest: Path) -> None:
        # the manifest first: without it the tensors are only a leftover, never a half checkpoint
        manifest.unlink()
        manifest.with_suffix(".safetensors").unlink(missing_ok=True)


def _publish(beside: Path, final: Path) -> str:
    """Flush `beside` to disk, rename it to `final`, return its sha256."""
    digest = file_digest(beside)
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.replace(final)
    return digest
