"""How the work is run: nothing here may change a result, so nothing here enters a key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modeldiff_harness.events import TrainStepEvent
from modeldiff_harness.progress import Progress, SilentProgress

__all__ = ["Runtime"]


def _ignore(_event: Any) -> None:
    return None


@dataclass(frozen=True)
class Runtime:
    """How the work is run; nothing here may change a result, so nothing here enters a key."""

    device: str = "cpu"
    batch_tokens: int = 4096
    """Tokens a forward pass when harvesting."""
    batch_size: int = 32
    """Sequences a batch when generating or running benchmarks."""
    workdir: Path = field(default_factory=Path)
    """Folder of the object under construction: survives kill −9, checkpoints go here."""
    progress: Progress = field(default_factory=SilentProgress)
    trust_remote_code: bool = False
    """Run code that comes with a checkpoint; only on the user's word."""
    offline: bool = False
    on_train_step: Callable[[TrainStepEvent], None] = _ignore
