"""Rows of several documents against each document by itself, in every architecture and way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from modeldiff_harness.models.blocks import capture, find_blocks
from modeldiff_harness.models.packing import (
    Rows,
    block_masks,
    capture_rows,
    pack_rows,
    packing_of,
)
from modeldiff_harness.testing.tiny_models import TINY_ARCHITECTURES, make_tiny_model

LENGTHS = (40, 9, 23, 1, 31, 18)
"""Longer than the tiny models' sliding window of 16, and a document of one token."""


@pytest.fixture(scope="module", params=TINY_ARCHITECTURES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    from transformers import AutoModelForCausalLM

    folder = make_tiny_model(tmp_path_factory.mktemp("m") / "tiny", request.param)
    given: dict[str, Any] = {"attn_implementation": "eager"} if request.param == "gemma2" else {}
    loaded: nn.Module = AutoModelForCausalLM.from_pretrained(folder, **given).eval()
    return loaded


def documents() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(4, 200, (n,), generator=generator) for n in LENGTHS]


@pytest.mark.parametrize("packing", ["positions", "mask"])
def test_packed_equals_alone_at_every_block(model: nn.Module, packing: str) -> None:
    ids, n_blocks = documents(), len(find_blocks(model))
    rows = Rows.of(ids, [[0, 3], [4, 2, 5, 1]])
    blocks = list(range(n_blocks))
    found = capture_rows(model, rows, blocks, packing)
    for block in blocks:
        expected = torch.cat([capture(model, d[None], [block])[block][0] for d in ids])
        packed = found[block].flatten(0, 1)[rows.place_N]
        scale = float(expected.abs().max())
        assert float((packed - expected).abs().max()) < 1e-5 * max(scale, 1.0)


def test_the_probe_takes_the_first_way_that_works(model: nn.Module) -> None:
    assert packing_of(model, 2) == "positions"


def test_blocks_equal_the_hidden_states_of_the_full_forward(model: nn.Module) -> None:
    ids = torch.stack([d[:9] for d in documents() if d.shape[0] >= 9])
    with torch.inference_mode():
        states = model(ids, output_hidden_states=True).hidden_states
    last = len(find_blocks(model)) - 1
    found = capture(model, ids, range(last + 1))
    for block in range(last):
        torch.testing.assert_close(found[block], states[block + 1], rtol=0, atol=0)
    norm = getattr(model.get_decoder(), "norm", None) or next(
        module
        for name, module in model.get_decoder().named_children()
        if name in ("ln_f", "final_layer_norm")
    )
    with torch.inference_mode():
        torch.testing.assert_close(norm(found[last]), states[-1], rtol=1e-6, atol=1e-6)


def test_the_pass_stops_at_the_last_block_asked_for(model: nn.Module) -> None:
    ran: list[int] = []
    handles = [
        block.register_forward_hook(lambda *_, n=n: ran.append(n))
        for n, block in enumerate(find_blocks(model))
    ]
    capture(model, documents()[0][None], [0, 1])
    for handle in handles:
        handle.remove()
    assert ran == [0, 1]


@pytest.mark.parametrize("kinds", [None, ["full_attention"] * 2, ["sliding_attention"] * 2])
def test_masks_equal_their_definition(kinds: list[str] | None) -> None:
    class Config:
        layer_types = kinds
        sliding_window = None if kinds == ["full_attention"] * 2 else 2

    document_BT = torch.tensor([[0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 1, 1]])
    mask = block_masks(Config(), document_BT, torch.float32)
    assert isinstance(mask, Tensor)
    for b in range(2):
        for q in range(6):
            for k in range(6):
                seen = k <= q and document_BT[b, q] == document_BT[b, k]
                seen = seen and (Config.sliding_window is None or q - k < 2)
                assert (float(mask[b, 0, q, k]) == 0.0) == bool(seen)


def test_unknown_kinds_of_layer_are_refused() -> None:
    class Config:
        layer_types = ("full_attention", "linear_attention")

    with pytest.raises(ValueError, match="linear_attention"):
        block_masks(Config(), torch.zeros((1, 3), dtype=torch.long), torch.float32)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 1500), min_size=1, max_size=60),
    st.sampled_from([64, 576, 4096]),
    st.sampled_from([None, 700, 4096]),
)
def test_every_document_stands_in_one_row_and_no_layout_costs_more_than_padding(
    lengths: list[int], width: int, batch_tokens: int | None
) -> None:
    batches = pack_rows(lengths, width, batch_tokens=batch_tokens)
    assert sorted(d for rows in batches for row in rows for d in row) == list(range(len(lengths)))
    cost = 0.0
    for rows in batches:
        used = max(sum(lengths[d] for d in row) for row in rows)
        cost += len(rows) * used * (1 + used / (6 * width))
    longest = max(lengths)
    assert cost <= len(lengths) * longest * (1 + longest / (6 * width)) * (1 + 1e-9)
    apart = pack_rows(lengths, width, batch_tokens=batch_tokens, together=False)
    assert all(len(row) == 1 for rows in apart for row in rows)
