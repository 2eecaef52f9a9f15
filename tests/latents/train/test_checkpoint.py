"""Checkpoints survive kills and damage."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from modeldiff_harness.errors import RunError
from modeldiff_harness.latents.train.checkpoint import Checkpoint, Checkpoints


def _checkpoint(step: int) -> Checkpoint:
    tensors = {"w": torch.full((3,), float(step)), "count": torch.tensor([step])}
    return Checkpoint(step, tensors, {"loss": 0.1 + step, "history": {"x": [1.5, step]}})


def test_the_newest_is_found_and_two_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, {"a": 1})
    assert checkpoints.latest() is None
    for step in (1, 2, 10, 3_000):
        checkpoints.save(_checkpoint(step))
    assert len(list(tmp_path.iterdir())) == 4
    found = checkpoints.latest()
    assert found is not None
    assert found.step == 3_000
    assert torch.equal(found.tensors["w"], torch.full((3,), 3_000.0))
    assert found.state == {"loss": 3_000.1, "history": {"x": [1.5, 3_000]}}
    checkpoints.clear()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["truncate tensors", "drop tensors", "drop json", "cut json"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, damage: str) -> None:
    checkpoints = Checkpoints(tmp_path, {})
    checkpoints.save(_checkpoint(1))
    checkpoints.save(_checkpoint(2))
    tensors = tmp_path / "checkpoint-000000002.safetensors"
    manifest = tensors.with_suffix(".json")
    if damage == "truncate tensors":
        tensors.write_bytes(tensors.read_bytes()[:-1])
    elif damage == "drop tensors":
        tensors.unlink()
    elif damage == "drop json":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text()[:-5])
    found = checkpoints.latest()
    assert found is not None
    assert found.step == 1


def test_leftovers_of_a_killed_save_do_no_harm(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, {})
    (tmp_path / "checkpoint-000000007.safetensors.part").write_bytes(b"half")
    assert checkpoints.latest() is None
    checkpoints.save(_checkpoint(7))
    found = checkpoints.latest()
    assert found is not None
    assert found.step == 7
    (tmp_path / "checkpoint-000000008.safetensors.part").write_bytes(b"half")
    checkpoints.clear()
    assert list(tmp_path.iterdir()) == []


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    Checkpoints(tmp_path, {"lr": 1}).save(_checkpoint(1))
    with pytest.raises(RunError, match="other settings"):
        Checkpoints(tmp_path, {"lr": 2}).latest()
