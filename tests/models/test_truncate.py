"""What lies after a site is counted and freed, and what lies before it runs as it did."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from modeldiff_harness.artifacts import ModelRef
from modeldiff_harness.models.blocks import capture, find_blocks
from modeldiff_harness.models.loading import ModelPool
from modeldiff_harness.models.truncate import size_of
from modeldiff_harness.testing.tiny_models import (
    TINY_ARCHITECTURES,
    make_tiny_adapter,
    make_tiny_model,
)


@pytest.mark.parametrize("architecture", TINY_ARCHITECTURES)
def test_sizes_are_those_of_the_loaded_model(architecture: str, tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "m", architecture)
    pool = ModelPool({"m": ModelRef("m", str(folder))}, cache_dir=tmp_path)
    size = size_of(AutoConfig.from_pretrained(folder), 1)
    model, _ = pool.activate("m")
    assert size.n_parameters == sum(p.numel() for p in model.parameters())
    later = sum(p.numel() for block in find_blocks(model)[2:] for p in block.parameters())
    assert 0 < later <= size.n_parameters - size.n_up_to_site
    ids = torch.arange(12)[None]
    whole = capture(model, ids, [0, 1])
    pool.truncate(["m"], 1)
    left = sum(p.numel() for p in model.parameters() if p.device.type != "meta")
    assert left == size.n_up_to_site
    again = capture(pool.activate("m")[0], ids, [0, 1])
    assert all(torch.equal(again[b], whole[b]) for b in whole)


def test_adapters_toggle_over_a_truncated_base(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "m")
    refs = {
        name: ModelRef(
            name, str(base), adapter=str(make_tiny_adapter(base, tmp_path / name, seed=n))
        )
        for n, name in enumerate(("a", "b"))
    } | {"base": ModelRef("base", str(base))}
    ids = torch.arange(12)[None]
    whole, short = (ModelPool(refs, cache_dir=tmp_path) for _ in range(2))
    short.truncate(tuple(refs), 2)
    outputs = []
    for name in ("a", "base", "b", "a"):
        expected = capture(whole.activate(name)[0], ids, [2])[2]
        found = capture(short.activate(name)[0], ids, [2])[2]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        outputs.append(found)
    assert not torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    short.release()
    assert all(p.device.type != "meta" for p in short.activate("a")[0].parameters())
