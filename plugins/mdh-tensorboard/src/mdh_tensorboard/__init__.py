"""An observer: the training steps of dictionaries as scalars of TensorBoard."""

from __future__ import annotations

import os

from mdh_tensorboard.curves import Curves
from modeldiff_harness import StageEvent, TrainStepEvent, hookimpl

FOLDER = "MDH_TENSORBOARD_DIR"
"""Environment variable that names the folder; unset: nothing is written."""

_open: dict[str, Curves] = {}


@hookimpl
def mdh_train_step(event: TrainStepEvent) -> None:
    """Add the terms of a logged step to the dictionary's curves."""
    if root := os.environ.get(FOLDER):
        if root not in _open:
            _open[root] = Curves(root)
        _open[root].add(event)


@hookimpl
def mdh_stage_event(event: StageEvent) -> None:
    """Close the files when a training ends, however it ends."""
    if event.verb == "train" and event.state in ("finished", "failed"):
        for curves in _open.values():
            curves.close()
        _open.clear()
